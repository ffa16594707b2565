"""The zoo: its specs are sound and complete, wrong ones are refused, and the quick cases are as they must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
import zoo
import zoo_faults
import zoo_score
import zoo_specs

from yolo_nanfix.errors import UsageError

CASES = zoo_specs.read_all()
SCRIPT = Path(zoo.__file__)
GOOD = {
    "name": "x",
    "says": "One NaN.",
    "rows": ["A2"],
    "fault": {"kind": "pixels"},
    "stock": {"outcome": "raises"},
    "ours": {"outcome": "survives", "lost": 1},
}


def not_in_the_zoo() -> set[str]:
    """The rows that the README lists with a reason."""
    lines = (zoo_specs.FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0] for row in cells if row[0] in zoo_specs.ROWS and row[-1]}


def test_there_are_enough_cases_and_each_name_is_its_own():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 60


def test_every_row_of_the_catalogue_is_reproduced_or_listed_with_a_reason():
    covered = {row for case in CASES for row in case.rows}
    assert covered | not_in_the_zoo() == set(zoo_specs.ROWS)
    assert not covered & not_in_the_zoo()


def test_every_combination_that_occurs_has_a_healthy_twin():
    combinations = {case.recipe for case in CASES}
    assert {case.recipe for case in CASES if case.healthy} == combinations
    assert all(case.ours.lost == 0 and case.stock.outcome == "survives" for case in CASES if case.healthy)


def test_tasks_precisions_optimizers_and_positions_all_occur():
    assert {case.task for case in CASES} == set(zoo_specs.TASKS)
    assert {case.precision for case in CASES} == set(zoo_specs.PRECISIONS)
    assert {case.optimizer for case in CASES} >= {"SGD", "AdamW", "MuSGD"}
    places = [at for case in CASES for at in case.fault.get("at", ())]
    assert {at["batch"] for at in places} >= {"first", "middle", "last", "each"}
    assert {at["epoch"] for at in places} >= {"first", "last"}
    assert {case.fault["kind"] for case in CASES} == set(zoo_faults.KINDS)


def test_arguments_are_those_of_ultralytics():
    from ultralytics.cfg import get_cfg

    for case in CASES:
        get_cfg(overrides=dict(case.args))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taks": "detect"}, "unknown key 'taks'; did you mean 'task'?"),
        ({"name": "y"}, "the file is called 'x'"),
        ({"task": "track"}, "task: 'track' is not one of detect"),
        ({"precision": "fp8"}, "precision: 'fp8' is not one of"),
        ({"rows": ["Z9"]}, "rows: 'Z9'"),
        ({"fault": {"kind": "pixel"}}, "fault: no kind 'pixel'; did you mean 'pixels'?"),
        ({"fault": {"kind": "pixels", "valeu": 1}}, "fault pixels: unknown key 'valeu'; did you mean 'value'?"),
        ({"fault": {"kind": "pixels", "at": {"epoch": 0, "batch": 1}}}, "epoch is 0"),
        ({"fault": {"kind": "pixels", "at": "last"}}, "at must be"),
        ({"stock": {"outcome": "dies"}}, "stock.outcome: 'dies'"),
        ({"ours": {"lost": 1}}, "ours: outcome missing"),
        ({"ours": {"outcome": "survives", "verdict": {"cause": "bad luck"}}}, "ours.verdict.cause: 'bad luck'"),
        ({"args": [1]}, "args must be a mapping"),
    ],
)
def test_a_wrong_spec_is_refused_by_the_name_of_its_file(change, message, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **change}))
    with pytest.raises(UsageError) as error:
        zoo_specs.read(path)
    assert str(path) in str(error.value) and message in str(error.value)


def test_a_case_without_a_healthy_twin_is_refused():
    with pytest.raises(UsageError, match=r"x: no healthy twin: .* detect, yolov8n.yaml, float32, SGD, trained"):
        zoo_specs.twin(zoo_specs.parse(GOOD, "x"), [])


def test_an_unknown_case_ends_with_exit_code_2(capsys):
    assert zoo.main(["--case", "healthy-detect-float32-sdg"]) == 2
    assert "did you mean 'healthy-detect-float32-sgd'?" in capsys.readouterr().err


def facts(**changes):
    """A run that ended well, but for the changes."""
    row = {"train/box_loss": "1.0", "val/box_loss": "1.0"}
    good = {"error": "", "stopped": False, "rows": [row], "map_last": 0.99, "map_best": 0.99, "planted": ["a/3.jpg"]}
    good |= {"model_not_finite": 0, "checkpoints": {"last": "good", "best": "good"}, "images": 8, "files": 8}
    return {**good, "report": {"guard": {"dropped_micro_batches": 1, "events": []}}, **changes}


@pytest.mark.parametrize(
    ("outcome", "changes"),
    [
        ("survives", {}),
        ("raises", {"error": "RuntimeError: NaN persisted"}),
        ("map-zero", {"map_last": 0.0}),
        ("map-zero", {"map_best": 0.01}),
        ("map-zero", {"model_not_finite": 3}),
        ("map-zero", {"checkpoints": {"last": "zeroed", "best": "good"}}),
        ("nan-loss", {"rows": [{"val/box_loss": "nan"}]}),
        ("nan-loss", {"rows": [{"val/box_loss": "inf"}, {"val/box_loss": "1"}]}),
        ("garbage", {"map_last": 0.8}),
        ("garbage", {"rows": [{"val/cls_loss": "1.96e15"}]}),
        ("garbage", {"rows": [{"train/box_loss": "0", "train/cls_loss": "0"}]}),
        ("silent-drop", {"images": 7}),
        ("broken", {"broken": "no answer"}),
    ],
)
def test_how_a_run_ended_is_told_from_its_facts(outcome, changes):
    assert zoo_score.outcome(facts(**changes), facts()) == outcome


@pytest.mark.parametrize(
    ("ours", "miss"),
    [
        (facts(), None),
        (facts(report={"guard": {"dropped_micro_batches": 2}}), "lost 2, not 1"),
        (facts(map_last=0.96), "mAP50 0.960 against 0.990"),
        (facts(error="GuardStop: x", stopped=True), "ours stops, not survives"),
    ],
)
def test_a_case_is_right_only_if_everything_is_as_its_spec_says(ours, miss):
    case = zoo_specs.parse(GOOD, "x")
    misses = zoo_score.score(case, facts(error="RuntimeError"), ours, facts()).misses
    assert (misses == []) if miss is None else (miss in misses)


def test_a_stock_half_that_does_not_fail_as_it_must_is_a_miss():
    case = zoo_specs.parse(GOOD, "x")
    assert zoo_score.score(case, facts(), facts(), facts()).misses == ["stock survives, not raises"]


@pytest.mark.parametrize(
    ("verdict", "misses"),
    [
        ({"cause": "data", "images": ["b/3.jpg"]}, []),
        ({"cause": "label", "images": ["b/3.jpg"]}, ["verdict: cause label"]),
        ({"cause": "data", "images": ["b/4.jpg"]}, ["verdict: images 4.jpg"]),
        (None, ["no verdict, not data"]),
    ],
)
def test_a_verdict_must_name_the_cause_and_the_planted_image(verdict, misses):
    asked = {"outcome": "survives", "lost": 1, "verdict": {"cause": "data", "images": "planted"}}
    case = zoo_specs.parse({**GOOD, "ours": asked}, "x")
    guard = {"dropped_micro_batches": 1, "verdicts": [verdict] if verdict else []}
    line = zoo_score.score(case, facts(error="RuntimeError"), facts(report={"guard": guard}), facts())
    assert line.misses == misses


def test_the_quick_cases_are_as_they_must_be(tmp_path):
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(SCRIPT), "--fast", "--json", str(tmp_path / "scores.json"), "--logs", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert {line["name"] for line in scores} == {case.name for case in CASES if case.fast} and len(scores) >= 2
    assert {line["name"]: line["misses"] for line in scores if line["misses"]} == {}, done.stdout
    assert done.returncode == 0
    hurt = [line for line in scores if line["stock"] != "survives"]
    assert hurt and {line["ours"] for line in hurt} == {"survives"}
