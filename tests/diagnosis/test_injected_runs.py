"""A few of scripts/bench_runs.py: faults planted in whole runs are named by the first verdict; and how it is judged."""

from __future__ import annotations

import bench_runs
import injected_runs
import pytest
from marks import matrix

from yolo_nanfix.verdicts import Cause, Verdict

CASES = (("parameter-hook", 101), ("projection", 106), ("float-attribute", 109), ("instance-masks", 305))


@pytest.mark.parametrize(("kind", "seed"), [*CASES[:2], *matrix(*CASES[2:])])
def test_a_fault_in_a_run_is_named_exactly(kind, seed, tmp_path, unpatched):
    bench_runs.alone(kind, seed, str(tmp_path))
    cause, wrong = bench_runs.judge(kind, seed, tmp_path)
    assert wrong == []
    assert cause in [right.value for right in injected_runs.inject(kind, seed).answer.causes]


def guard(verdict=None, left_out=()):
    return {"quarantined": list(left_out), "verdicts": [verdict.as_dict()] if verdict else []}


def test_all_that_is_wrong_in_a_verdict_is_said():
    answer = injected_runs.Answer(
        (Cause.STATE,), ("proj|projection",), frozenset({"aten.mm"}), "loss", ("0003",), ("report ",)
    )
    images = ("/set/images/train/0003.png",)
    right = Verdict(
        Cause.STATE, "criterion.proj", op="aten.mm", module="loss", images=images, evidence={"data": "report it"}
    )
    assert answer.wrong(guard(right, images)) == []
    other = Verdict(Cause.DATA, "pixels", op="aten.mul_", module="model.0", images=("/a/7.png",), advice=("report it",))
    assert answer.wrong(guard(other, ("/a/7.png",))) == [
        "innocent images left out: 7",
        "cause data, not state",
        "not named: proj|projection",
        "says: report ",
        "op aten.mul_, not aten.mm",
        "module model.0, not loss",
        "images ('7',), not ('0003',)",
    ]
    assert answer.wrong(guard()) == ["no verdict"]


def test_a_sample_that_no_step_sees_is_judged_by_the_events_that_name_it():
    answer = injected_runs.Answer((Cause.LABEL,), ("class",), images=("0003",), left_out=True)
    source = {"file": "/set/0003.png", "suspect": "class 9"}
    event = {
        "checks": ["samples"],
        "detail": "row 1: class 9",
        "sources": [source, {"file": "/a/7.png", "suspect": ""}],
    }
    assert answer.wrong({**guard(), "events": [event]}) == []
    silent = {**event, "detail": "row 1", "sources": []}
    assert answer.wrong({**guard(), "events": [silent]}) == ["not named: class", "images (), not ('0003',)"]


def test_a_run_without_a_result_is_wrong(tmp_path):
    cause, (said,) = bench_runs.judge("projection", 0, tmp_path)
    assert cause == "none" and said.startswith("the run left no result")


def test_the_confusion_matrix_counts_by_what_was_planted():
    rows = bench_runs.confusion([("state", "state"), ("state", "state"), ("label", "none")]).splitlines()
    assert [row.split() for row in rows[1:]] == [
        ["label", ".", ".", "1"],
        ["state", ".", "2", "."],
        ["none", ".", ".", "."],
    ]


def test_every_kind_is_drawn_again_from_its_seed():
    assert len(injected_runs.KINDS) >= 30
    for kind in injected_runs.KINDS:
        one, again = (injected_runs.inject(kind, 5) for _ in range(2))
        assert one.answer == again.answer and one.spec.args == again.spec.args
        assert one.answer.causes and (one.answer.names or one.answer.images is not None)
