"""Annotation files are read in little more memory than they have bytes, part by part, with the same findings."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linting.cases_formats import HEIGHT, WIDTH, ndjson, whole_coco
from linting.tiny_set import TinySet

from yolo_nanfix.dataset import bounded, formats
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.runner import run

BOW = [10, 10, 60, 60, 60, 10, 12.5, 60, 8, 30]


def _many(corners: int = 0) -> dict[str, Any]:
    """Annotations of 40 images, out of order, with defects of many kinds."""
    whole = whole_coco()
    whole["categories"][0] = {"id": 1, "name": "kätzchen"}
    whole["images"] = [
        {"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": 0 if i == 7 else HEIGHT} for i in range(40)
    ]
    outline = np.column_stack([10 + np.arange(corners) % 13 + 0.25, 10 + np.arange(corners) % 17]).ravel().tolist()
    whole["annotations"] = [
        {
            "id": 1 if i == 90 else i,
            "image_id": i * 7 % 41,
            "category_id": 3 if i == 50 else 1 + i % 2,
            "bbox": [5, 8, -3 if i == 60 else 60, 70],
            "segmentation": [outline] if corners else [BOW[: 10 if i % 9 else 5], [1, 1, 4, 1, 4, 4, 1, 4, 2.5, 0]],
            "iscrowd": int(i == 70),
        }
        for i in range(400)
    ]
    return whole


@pytest.mark.parametrize("task", ["detect", "segment"])
@pytest.mark.parametrize("alias", ["bbox", "box"])
@pytest.mark.parametrize("plain", [True, False])
def test_windows_and_pieces_change_no_finding(task: str, alias: str, plain: bool, tmp_path: Path, monkeypatch):
    file, text = tmp_path / "instances.json", json.dumps(_many(), ensure_ascii=plain, indent=None if plain else 1)
    file.write_bytes(text.replace('"bbox"', f'"{alias}"').encode())
    whole = run(file, options=LintOptions(task))
    with monkeypatch.context() as patch:
        patch.setattr("yolo_nanfix.dataset.formats.json_walk.ENTRY_BYTES", 1500)
        patch.setattr("yolo_nanfix.dataset.formats.json_walk._PART", 7)
        patch.setattr("yolo_nanfix.dataset.whole_set.SIZE", 100)
        patch.setattr("yolo_nanfix.dataset.formats.build.POINTS", 9)
        small = run(file, options=LintOptions(task))
    assert dataclasses.asdict(small) == dataclasses.asdict(whole)
    assert {"AN005", "AN006"} & whole.by_code().keys() and len(whole.by_code()) > 4
    assert ("SG004" in whole.by_code()) is (task == "segment")


def test_annotations_take_little_more_memory_than_their_text(tmp_path: Path):
    """As Python objects they took ten times as much."""
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(whole_coco()))
    formats.read(file, LintOptions())  # imports what it needs
    file.write_text(json.dumps(_many(400)))
    tracemalloc.start()
    try:
        assert formats.read(file, LintOptions()) is not None
        assert tracemalloc.get_traced_memory()[1] < 5 * file.stat().st_size
    finally:
        tracemalloc.stop()


def test_a_value_of_absurd_size_is_named_and_not_made(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("yolo_nanfix.dataset.formats.json_walk.ENTRY_BYTES", 2000)
    file, long = tmp_path / "instances.json", [1.25] * 1000
    whole = whole_coco()
    whole["annotations"][1]["segmentation"] = [long]
    for text in (json.dumps(whole, indent=1), json.dumps({"info": {"of": long}} | whole_coco(), indent=1)):
        file.write_text(text)
        (finding,) = [f for f in run(file).findings if f.code == "AN001"]
        assert "value of more than 0 MB" in finding.message
        place = text.splitlines()[(finding.place.line or 0) - 1]
        assert place.strip() == "{" or place.endswith("{")
    file.write_text(json.dumps({"extra": long} | whole_coco()))
    assert "AN001" not in run(file).by_code()  # the entries of a list are looked at one by one


def test_more_corners_than_memory_bears_are_refused(tmp_path: Path, monkeypatch):
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(_many()))
    for name in ("ANNOTATION_OBJECTS", "ANNOTATION_CORNERS", "OF_ONE"):
        with monkeypatch.context() as patch:
            patch.setattr(f"yolo_nanfix.dataset.formats.build.{name}", 20)
            with pytest.raises(DataError, match=r"instances\.json: .*more than .*20 "):
                run(file, options=LintOptions("segment"))
            patch.setenv(bounded.ANNOTATIONS, "204800")
            assert run(file, options=LintOptions("segment")).exit_code == 1


def test_ndjson_is_read_line_by_line(tmp_path: Path, monkeypatch):
    tiny = TinySet(tmp_path)
    ndjson()(tiny)
    (file,) = tiny.root.glob("*.ndjson")
    lines = file.read_text().rstrip("\n").split("\n")
    assert "AN001" not in run(file).by_code()
    long = json.dumps(json.loads(lines[-1]) | {"file": "long.jpg", "more": "ä" * 1000}, ensure_ascii=False)
    file.write_text("\n".join([*lines, long]))
    assert "AN001" not in run(file).by_code()
    monkeypatch.setattr("yolo_nanfix.dataset.formats.ndjson.ENTRY_BYTES", 1500)
    (finding,) = [f for f in run(file).findings if f.code == "AN001"]
    assert finding.place.line == len(lines) + 1 and "more than 0 MB" in finding.message
    monkeypatch.setattr("yolo_nanfix.dataset.formats.ndjson.ANNOTATION_ENTRIES", len(lines))
    (finding,) = [f for f in run(file).findings if f.code == "AN001"]
    assert f"more than {len(lines)} lines" in finding.message
