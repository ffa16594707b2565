"""An incident from a file, in another process: the same verdict, from the same bits. And files that are none."""

from __future__ import annotations

import json
import os

import injections
import pytest
import torch
import warm_python
from safetensors.torch import save_file
from surroundings import LIMIT

import yolo_nanfix
from yolo_nanfix.cli.main import main
from yolo_nanfix.diagnosis.examine import examine
from yolo_nanfix.errors import DataError
from yolo_nanfix.incident import Incident, load_incident

SAME = ("cause", "op", "module", "code", "phase", "tensor", "images", "labels", "dtype", "confidence")


EACH = "import sys; from yolo_nanfix.cli.main import main; sys.exit(max(main(w.split()) for w in sys.argv[1:]))"


def in_another_process(folder, *commands):
    """What several command lines print as JSON, one after another in one new process."""
    done = warm_python.run(EACH, commands, os.environ, str(folder), LIMIT)
    assert done.returncode == 0, done.stderr
    decoder, rest, found = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


KINDS = (("yolov8n-pose", "pixels-huge"), ("yolo26n", "head-overflow"), ("yolov8n-seg", "weight"))


def test_another_process_names_the_same_from_the_same_bits(bench, tmp_path):
    cases = {name: injections.inject(kind, bench(name), 31) for name, kind in KINDS}
    inside = {name: examine(case.incident, case.model) for name, case in cases.items()}
    for name, case in cases.items():
        facts = {**case.incident.facts, "patches": ["torchvision-operators-missing"]}
        Incident(facts, case.incident.tensors).save(tmp_path / name / "incidents" / "a.safetensors")
    told = in_another_process(tmp_path, *(f"diagnose {name} --json" for name in cases))
    for (name, case), outside in zip(cases.items(), told, strict=True):
        wanted = json.loads(json.dumps(inside[name].as_dict()))
        assert {k: outside[k] for k in SAME} == {k: wanted[k] for k in SAME}, name
        assert case.truth.exact(inside[name]) and inside[name].replays == outside["replays"]
        assert outside["evidence"] == wanted["evidence"] and outside["reproduced"] is True


@pytest.fixture
def incident(bench):
    return injections.inject("batchnorm", bench("yolov8n"), 5).incident


def test_a_class_of_the_users_own_needs_its_module(incident, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from ultralytics.nn.tasks import DetectionModel\n\n\nclass Mine(DetectionModel):\n    pass\n"
    )
    model = {**incident.facts["model"], "class": "mine:Mine"}
    Incident({**incident.facts, "model": model}, incident.tensors).save(tmp_path / "a.safetensors")
    assert main(["diagnose", str(tmp_path / "a.safetensors")]) == 2
    assert (
        capsys.readouterr()
        .err.rstrip()
        .endswith("the model's class is mine:Mine; import its module with --import mine")
    )
    (verdict,) = in_another_process(tmp_path, "diagnose a.safetensors --import mine --json")
    assert verdict["cause"] == "state"


def spoil(incident, **changes):
    facts, tensors = dict(incident.facts), dict(incident.tensors)
    for key, value in changes.pop("facts", {}).items():
        facts[key] = value
    return Incident(facts, {**tensors, **changes.pop("tensors", {})})


FAULTY = {
    "weight shape": ({"tensors": {"model.model.0.conv.weight": torch.zeros(1, 3, 3, 3)}}, "has the shape (1, 3, 3, 3)"),
    "extra weight": ({"tensors": {"model.odd": torch.zeros(1)}}, "'odd' has no place"),
    "image shape": ({"tensors": {"batch.img": torch.zeros(3, 8)}}, "batch.img must be a float tensor"),
    "image type": ({"tensors": {"batch.img": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}}, "batch.img must be"),
    "row owners": ({"tensors": {"batch.batch_idx": torch.full((1,), 99.0)}}, "points outside"),
    "row count": ({"tensors": {"batch.bboxes": torch.zeros(1, 4)}}, "batch.bboxes is float32 of shape (1, 4)"),
    "sources": ({"facts": {"sources": "all"}}, "'sources' must be a list, not 'all'"),
    "history": ({"facts": {"history": [1.0]}}, "'history.0' must be a mapping, not 1.0"),
    "foreign class": ({"facts": {"model": {"class": "os:system", "yaml": {}}}}, "--import os"),
    "unknown class": ({"facts": {"model": {"class": "ultralytics.nn.tasks:No", "yaml": {}}}}, "No"),
    "no class": ({"facts": {"model": {"class": "ultralytics.nn.tasks:yaml_model_load", "yaml": {}}}}, "not a model"),
    "empty yaml": (
        {"facts": {"model": {"class": "ultralytics.nn.tasks:DetectionModel", "yaml": {}}}},
        "has no layers",
    ),
    "no model": ({"facts": {"model": None}}, "does not say how its model is built"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_an_incident_that_does_not_fit_is_refused_in_one_line(name, incident, tmp_path, capsys):
    changes, said = FAULTY[name]
    spoil(incident, **{k: dict(v) for k, v in changes.items()}).save(tmp_path / "a.safetensors")
    assert main(["diagnose", str(tmp_path / "a.safetensors")]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("yolo-nanfix: error: ") and error.count("\n") == 1
    assert str(tmp_path / "a.safetensors") in error


def test_files_that_are_no_incidents_are_refused(tmp_path, incident, capsys):
    whole = tmp_path / "whole.safetensors"
    incident.save(whole)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "old.safetensors", metadata={"yolo-nanfix": '{"format": 0}'})
    (tmp_path / "empty").mkdir()
    for name in ("cut", "text", "foreign", "old", "missing"):
        assert main(["diagnose", str(tmp_path / f"{name}.safetensors")]) == 2
        error = capsys.readouterr().err
        assert f"{name}.safetensors" in error and error.count("\n") == 1
    assert main(["diagnose", str(tmp_path / "empty")]) == 2
    assert "holds no incident" in capsys.readouterr().err


def test_without_weights_it_says_so(incident, tmp_path):
    tensors = {k: v for k, v in incident.tensors.items() if not k.startswith("model.")}
    with pytest.raises(DataError, match="holds no weights"):
        examine(Incident(incident.facts, tensors))


def test_the_text_is_for_people_and_escapes_what_it_was_given(incident, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    args = {**incident.facts["args"], "model": "a\x1b[31m[bold]b.pt"}
    path = tmp_path / "a.safetensors"
    Incident({**incident.facts, "args": args}, incident.tensors).save(path)
    before = [p.name for p in yolo_nanfix.status().patches if p.state == "on"]
    assert main(["diagnose", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("state (confidence 0.95): ") and "aten.native_batch_norm" in out
    assert "\x1b" not in out and "a\\x1b[31m[bold]b.pt" in out
    assert [p.name for p in yolo_nanfix.status().patches if p.state == "on"] == before
    assert load_incident(path).facts["checks"] == ["batchnorm"]
