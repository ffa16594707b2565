"""What exporters really write, linted: each case of `docs/exporters.yaml`, by the exporter itself where it is light."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from exporters import stock
from exporters.cases_predictions import predicted
from exporters.facts import Fact, facts, recorded
from exporters.inputs import HEIGHT, WIDTH
from exporters.readers import healthy, rows

from yolo_nanfix.api import fix
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.runner import run

FACTS = facts()
CONSTRAINTS = Path(__file__).parents[2] / "scripts" / "constraints.txt"

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporters


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr("ultralytics.data.utils.check_font", lambda *_a, **_k: None)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
def test_lint_says_of_an_export_what_is_known_of_it_and_ultralytics_does_what_is_told(fact: Fact, tmp_path: Path):
    data = fact.make(tmp_path)
    if "error" in fact.says:
        with pytest.raises(DataError, match=re.escape(fact.says["error"])):
            run(data)
    else:
        report = run(data)
        assert report.task == fact.says.get("guess", fact.says["task"])
        if "guess" in fact.says:
            report = run(data, options=LintOptions(fact.says["task"]))
        said = [(f.code, f.message) for f in report.findings]
        assert sorted({code for code, _ in said}) == fact.says["codes"], said
    if "kept" in fact.says:
        assert stock.kept(data, fact.says["task"]) == fact.says["kept"]


def test_each_fact_is_whole_and_names_rules_that_exist():
    codes = {rule.code for rule in all_rules()}
    assert len(FACTS) >= 60 and len({fact.name for fact in FACTS}) == len(FACTS)
    for fact in FACTS:
        keys = set(fact.says) - {"kept", "lost", "guess"}
        assert keys in ({"case", "task", "given", "written", "stock", key} for key in ("codes", "error")), fact.name
        assert set(fact.says.get("codes", [])) <= codes, fact.name


def test_the_releases_of_the_facts_are_those_that_are_installed_pinned_and_recorded():
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE))
    for tool in {fact.tool["exporter"]: fact.tool for fact in FACTS}.values():
        exporter, version = tool["exporter"], tool["version"]
        if tool["run"] == "recorded":
            held = recorded(tool["module"])
            assert (held["exporter"], held["version"]) == (exporter, version)
            assert {case["case"] for case in tool["cases"]} == set(held["cases"])
        else:
            assert (pins[exporter], importlib.metadata.version(exporter)) == (version, version), exporter


def _made(name: str, root: Path) -> tuple[Path, list[tuple[str, str, int | None]]]:
    """A case, and code, file and line of each finding."""
    fact = next(fact for fact in FACTS if fact.name == name)
    data = fact.make(root)
    findings = run(data, options=LintOptions(fact.says["task"])).findings
    return data, [(f.code, os.path.relpath(f.place.file, data.parent), f.place.line) for f in findings]


BOX_OF = {(60, 60): "nut", (90, 50): "bolt"}
"""Width and height in pixels of the two ordinary objects."""
HEALTHY = [
    fact
    for fact in FACTS
    if "kept" in fact.says and fact.says.get("codes") in ([], ["CF018"]) and fact.says["task"] in ("detect", "segment")
    if "lost" not in fact.says
]


@pytest.mark.parametrize("fact", HEALTHY, ids=lambda fact: fact.name)
def test_what_is_called_healthy_has_every_ordinary_object_with_its_class(fact: Fact, tmp_path: Path):
    data, task = fact.make(tmp_path), fact.says["task"]
    found = Counter()
    for split in ("train", "val"):
        made = stock.dataset(data, task, split)
        for label in made.labels:
            names = [made.data["names"][int(number)] for number in label["cls"].ravel()]
            sizes = np.round(label["bboxes"][:, 2:] * (WIDTH, HEIGHT)).astype(int).tolist()
            found.update(zip(names, map(tuple, sizes), strict=True))
    ordinary = {(name, size) for size, name in BOX_OF.items()}
    wrong = {(name, size) for name, size in found if size in BOX_OF and BOX_OF[size] != name}
    assert not wrong and all(found[key] >= 5 for key in ordinary), found


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("labelme2yolo-line", ("TX006", "labels/train/odd_f850297f.txt", 3)),
        ("labelme2yolo-point", ("SG005", "labels/train/odd_f850297f.txt", 3)),
        ("labelme2yolo-outside", ("BX006", "labels/train/odd_f850297f.txt", 2)),
        ("supervision-thin", ("TX006", "labels/val/5.txt", 2)),
        ("label_studio-triangle-obb", ("OB006", "labels/train/1.txt", 3)),
        ("label_studio-polygons-among-boxes", ("TX006", "labels/train/1.txt", 1)),
        ("label_studio-pose-one-left-out", ("KP006", "labels/train/1.txt", 1)),
        ("datumaro-outside", ("BX006", "labels/train/1.txt", 3)),
        ("coco_tools-sahi_suffix_in_name", ("FS005", "train/scan.txt_1.txt", None)),
        ("coco_tools-globox_names", ("TX014", "labels/train/0.txt", 1)),
        ("ultralytics-coco_default_mapping", ("CL003", "labels/train/0.txt", 3)),
        ("ultralytics-coco_ids_from_zero", ("CL002", "labels/train/0.txt", 1)),
        ("ultralytics-dota_outside", ("OB001", "labels/train/0.txt", 3)),
        ("ultralytics-coco_same_stem", ("FS007", "images/train/0.png", None)),
    ],
)
def test_the_place_of_a_finding_is_where_the_exporter_wrote_it(name: str, place, tmp_path: Path):
    assert place in _made(name, tmp_path)[1]


@pytest.mark.parametrize("case", ["masks_with_confidence", "turned_with_confidence", "pose_with_confidence"])
def test_a_column_too_many_is_told_as_what_it_may_be(case: str, tmp_path: Path):
    fact = next(fact for fact in FACTS if fact.name == f"predictions-{case}")
    findings = run(fact.make(tmp_path)).findings
    told = [f for f in findings if f.code == "TX005"]
    assert len(told) == 12 and all(f.values["predicted"] for f in told)
    assert {f.because for f in findings if f.code == "TX005"} == {"TX027"}


@pytest.mark.parametrize("task", ["masks", "turned", "pose"])
@pytest.mark.parametrize("more", ["confidence", "both"])
def test_what_predictions_have_behind_is_cut_exactly(task: str, more: str, tmp_path: Path):
    plain = {"masks": "masks", "turned": "turned_boxes", "pose": "pose"}[task]
    cases = {name: tmp_path / name for name in (plain, f"{task}_with_{more}")}
    for case, folder in cases.items():
        folder.mkdir()
        fact = next((fact for fact in FACTS if fact.name == f"predictions-{case}"), None)
        data = fact.make(folder) if fact else predicted(folder, "pose", conf=True, ids=True)
        if case != plain:
            report = run(data)
            assert report.task == {"masks": "segment", "turned": "obb", "pose": "pose"}[task]
            assert {f.code for f in fix(report, unsafe=True).done} == {"TX027"}
    texts = [{p.name: p.read_text() for p in folder.glob("yolo/labels/*/*.txt")} for folder in cases.values()]
    assert texts[0] == texts[1] and len(texts[0]) == 6


@pytest.mark.parametrize(
    ("task", "row"), [("segment", "0 0.1 0.1 0.3"), ("pose", "0 0.5 0.5 0.2 0.2 0.5 0.5 2 0.6 0.6")]
)
def test_a_column_too_few_is_not(task: str, row: str, tmp_path: Path):
    data = healthy(tmp_path, task)
    rows(f"{row}\n")(tmp_path)
    (told,) = [f for f in run(data, options=LintOptions(task)).findings if f.code == "TX005"]
    assert not told.values["predicted"]
