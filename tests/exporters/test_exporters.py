"""What exporters really write, linted: each case of `docs/exporters.yaml`, by the exporter itself where it is light."""

from __future__ import annotations

import importlib.metadata
import os
import re
from pathlib import Path

import pytest
from exporters import stock
from exporters.facts import FILE, Fact, facts, recorded

from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.options import LintOptions
from yolo_nanfix.linting.rule import all_rules
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
    options = LintOptions(fact.says["task"])
    if "error" in fact.says:
        with pytest.raises(DataError, match=re.escape(fact.says["error"])):
            run(data, options=options)
    else:
        findings = run(data, options=options).findings
        assert sorted({f.code for f in findings}) == fact.says["codes"], [(f.code, f.message) for f in findings]
    if "kept" in fact.says:
        assert stock.kept(data, fact.says["task"]) == fact.says["kept"]


def test_each_fact_is_whole_and_names_rules_that_exist():
    codes = {rule.code for rule in all_rules()}
    assert len(FACTS) >= 60 and len({fact.name for fact in FACTS}) == len(FACTS)
    for fact in FACTS:
        keys = set(fact.says) - {"kept", "lost"}
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


def test_every_rule_that_a_fact_names_is_on_the_page_of_the_tools():
    text = FILE.read_text(encoding="utf-8")
    named = {code for fact in FACTS for code in fact.says.get("codes", [])}
    assert len(named) >= 20 and all(code in text for code in named)
