"""Run folders that are half-written, of another version, or full of hostile names: always a page that says so."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import reading
from safetensors.numpy import save_file

from yolo_nanfix.cli.main import main
from yolo_nanfix.errors import DataError
from yolo_nanfix.report.html import comparison_page
from yolo_nanfix.report.html import run_page as page
from yolo_nanfix.run_folder.read import read_run

REPORT = "yolo-nanfix.json"
HOSTILE = [
    "<script>alert(1)</script>.jpg", "\"><img src=x onerror=alert(1)>.jpg", "' onmouseover='alert(1).jpg",
    "</title></script><script>alert(1)</script>", "{{ 7 * 7 }}{% raw %}.jpg", "javascript:alert(1)", "new\nline\r.jpg",
    "rtl \u202e gpj.jpg", "nul\x00\x1b[31m.jpg", "broken \ud800 surrogate.jpg", "日本語 😀 é.jpg",
    "<!-- <script>", "&lt;b&gt;",
    "]]><svg onload=alert(1)>", "a\u2028b\u2029c", "../../etc/passwd", "$(touch owned) `touch owned`; .jpg", "x" * 5000,
]  # fmt: skip


def built(folder) -> reading.Read:
    found = reading.read(page.page(read_run(folder)))
    assert found.wrong == []
    return found


def small(folder: Path) -> Path:
    """Make the incidents of a run small: without weights."""
    for path in (folder / "incidents").iterdir():
        write_incident(path, facts_of(path))
    return folder


def facts_of(path: Path) -> dict:
    with path.open("rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    return json.loads(header["__metadata__"]["yolo-nanfix"])


def write_incident(path: Path, facts: object, **tensors: np.ndarray) -> None:
    images = np.full((4, 3, 8, 8), 0.5, np.float32)
    images[0, 0, 3, 3] = np.nan
    batch = {
        "img": images,
        "bboxes": np.array([[0.5, 0.5, 0.2, 0.2], [np.nan, 0.5, 0.1, 0.1]], np.float32),
        "cls": np.array([[0.0], [1.0]], np.float32),
        "batch_idx": np.array([0.0, 0.0], np.float32),
        **tensors,
    }
    save_file({f"batch.{k}": v for k, v in batch.items()}, path, metadata={"yolo-nanfix": json.dumps(facts)})


def leaves(value, place=()):
    """The place of each value in a JSON document, mappings and lists too."""
    yield place
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*place, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value[:3]):
            yield from leaves(entry, (*place, index))


def replaced(document, place, value):
    """A copy of the document with another value at one place."""
    copy = json.loads(json.dumps(document))
    if not place:
        return value
    inside = copy
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    return copy


@pytest.mark.parametrize("name", [REPORT, "yolo-nanfix.csv", "results.csv", "args.yaml", "incidents"])
def test_a_file_that_breaks_off_anywhere_gives_a_page(name, faulty):
    files = sorted((small(faulty) / name).iterdir())[:1] if name == "incidents" else [faulty / name]
    for path in files:
        whole = path.read_bytes()
        for share in (0.0, 0.003, 0.5, 0.999):
            path.write_bytes(whole[: int(len(whole) * share)])
            found = built(faulty)
            assert share == 0.999 or "cannot be read" in found.text or "left out" in found.text or "empty" in found.text
        path.write_bytes(bytes(random.Random(0).randbytes(3000)))
        built(faulty)
        path.unlink()
        built(faulty)


def test_values_of_wrong_types_anywhere_in_the_report_give_a_page(faulty):
    small(faulty)
    document = json.loads((faulty / REPORT).read_text())
    places = list(leaves(document))
    wrong = [None, [], {}, True, -1, 1e308, "text", "1", [[[]]], {"a": {"b": 1}}, 10**40, "\x00<b>"]
    chosen = random.Random(1)
    for place in chosen.sample(places, 60):
        (faulty / REPORT).write_text(json.dumps(replaced(document, place, chosen.choice(wrong))))
        built(faulty)


@pytest.mark.parametrize(
    "text", ["[]", "null", "3", '"x"', "{}", "[" * 100_000, '{"yolo_nanfix": "9.9.9"}', "\ufeff{}", "NaN"]
)
def test_a_report_that_is_none_is_named(text, faulty):
    (faulty / REPORT).write_text(text, encoding="utf-8")
    found = built(faulty)
    assert "Missing or damaged" in found.text and REPORT in found.text


def test_a_report_of_another_version_is_shown_as_far_as_it_is_understood(faulty):
    document = json.loads((faulty / REPORT).read_text())
    (faulty / REPORT).write_text(json.dumps({**document, "yolo_nanfix": "9.9.9", "new": {"thing": 1}, "patches": 3}))
    text = built(faulty).text
    assert "was written by yolo-nanfix 9.9.9" in text and "'patches' in yolo-nanfix.json has a wrong type" in text
    assert "2 of 6 micro-batches dropped" in text


def test_incidents_of_wrong_types_give_a_page(faulty):
    path = sorted((small(faulty) / "incidents").iterdir())[0]
    facts = facts_of(path)
    chosen = random.Random(2)
    for place in chosen.sample(list(leaves(facts)), 30):
        write_incident(path, replaced(facts, place, chosen.choice([None, [], {}, -1, "x", 1e308, [{}], True])))
        built(faulty)


@pytest.mark.parametrize(
    "tensors",
    [
        {"img": np.zeros((4, 0, 8, 8), np.float32)},
        {"img": np.zeros((8, 8), np.float32)},
        {"img": np.zeros((4, 1, 8, 8), np.float64)},
        {"img": np.full((4, 3, 8, 8), np.inf, np.float16)},
        {"img": np.full((4, 5, 8, 8), 1e38, np.float32)},
        {"img": np.zeros((4, 3, 8, 8), np.uint8)},
        {"img": np.zeros((1, 3, 8, 8), np.float32)},
        {"bboxes": np.zeros((2, 7), np.float32)},
        {"bboxes": np.full((2, 5), 1e30, np.float32)},
        {"bboxes": np.zeros((3, 4), np.float32)},
        {"cls": np.full((2, 1), np.nan, np.float32)},
        {"batch_idx": np.full(2, np.nan, np.float32)},
    ],
    ids=str,
)
def test_tensors_of_other_shapes_give_a_page(tensors, faulty):
    path = sorted((small(faulty) / "incidents").iterdir())[0]
    write_incident(path, facts_of(path), **tensors)
    built(faulty)


def test_what_is_no_incident_is_named(faulty):
    first, second = sorted((faulty / "incidents").iterdir())
    save_file({"x": np.zeros(3, np.float32)}, first)
    write_incident(second, {**facts_of(second), "format": 7})
    text = built(faulty).text
    assert "This file cannot be read" in text and "This file is of format 7; the page understands 1" in text


def test_hostile_names_stay_text(faulty):
    small(faulty)
    before = built(faulty)
    document = json.loads((faulty / REPORT).read_text())
    event = document["guard"]["events"][0]
    sources = [{"file": name, "suspect": name, "parents": [name]} for name in HOSTILE]
    events = [
        {**event, "sources": [s], "detail": s["file"], "actions": [{"did": "quarantined", "images": [s["file"]]}]}
        for s in sources
    ]
    document["guard"]["events"] = events
    document["guard"]["quarantined"] = HOSTILE
    document["quarantined"] = {name: [{"code": name, "message": name}] for name in HOSTILE}
    document["reasons"] = HOSTILE
    document["environment"] = {name: name for name in HOSTILE}
    document["patches"] = {name: {"state": "refused", "reason": name, "params": {name: name}} for name in HOSTILE}
    document["guard"]["verdicts"] = [
        {"cause": name, "summary": name, "advice": [name, f"yolo-nanfix lint {name}"], "confidence": 1}
        for name in HOSTILE
    ]
    (faulty / REPORT).write_text(json.dumps(document))
    path = sorted((faulty / "incidents").iterdir())[0]
    facts = facts_of(path)
    facts["sources"] = [{**s, "labels": {"file": s["file"], "rows": [s["file"]]}} for s in sources]
    facts["model"]["names"] = dict(enumerate(HOSTILE))
    facts["verdict"] = {k: HOSTILE[:3] if isinstance(v, list) else HOSTILE[1] for k, v in facts["verdict"].items()}
    write_incident(path, facts)
    (faulty / "results.csv").write_text('epoch,metrics/<script>alert(1)</script>,val/"onload=\n1,0.5,2\n2,0.6,1\n')
    (faulty / "args.yaml").write_text('data: "<script>alert(1)</script>"\nmodel: "\'\\"><b>"\nepochs: 2\n')
    found = built(faulty)
    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in before.elements}
    assert len(found.of("script")) == len(before.of("script"))
    assert all(
        attributes.get("type") == "application/json" or "alert(1)" not in text for attributes, text in found.scripts
    )
    assert sum(text.startswith('"use strict"') for _, text in found.scripts) == len(
        [a for a in found.of("script") if a.get("type") != "application/json"]
    )
    assert "<script>alert(1)</script>.jpg" in found.text and "日本語 😀 é.jpg" in found.text
    assert "49" not in found.text.partition("{{ 7")[2][:10]


def test_a_folder_that_is_no_run_is_one_error(tmp_path, trained, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for words in (["empty"], ["none"], ["file"], ["."]):
        with pytest.raises(DataError):
            page.page(read_run(tmp_path / words[0]))
        assert main(["report", str(tmp_path / words[0])]) == 2
    error = capsys.readouterr().err
    assert error.count("yolo-nanfix: error:") == 4 and "Traceback" not in error
    assert main(["report", str(trained)]) == 2
    assert "runs inside it: faulty, healthy, stock" in capsys.readouterr().err


def test_compare_bears_damaged_runs(faulty, trained, tmp_path):
    (faulty / REPORT).write_text("{")
    (faulty / "results.csv").write_text("epoch,metrics/mAP50(B),val/box_loss\n1,nan,inf\n2,inf,-inf\n3")
    (faulty / "args.yaml").write_text("[1, 2")
    found = reading.read(comparison_page.page((read_run(faulty), read_run(trained / "healthy"))))
    assert found.wrong == [] and "cannot be read" in found.text
    shutil.rmtree(faulty / "incidents")
    (faulty / REPORT).unlink()
    assert reading.read(comparison_page.page((read_run(trained / "stock"), read_run(faulty)))).wrong == []
