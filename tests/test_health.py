"""How a run ended, from its figures: healthy, degraded or failed, and what was lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from yolo_nanfix.health import Figures, LossKind, State, judge, state_of
from yolo_nanfix.report import health_text

GOOD = Figures(micro_batches=24, images=24, steps_taken=24, epochs=4, metric=0.6, last_metric=0.5, best_metric=0.6)
HEALTHY, DEGRADED, FAILED = State
CASES = {
    "nothing lost": ({}, HEALTHY, []),
    "one of eight micro-batches": ({"micro_batches": 8, "dropped": 1}, HEALTHY, ["1 of 8 micro-batches dropped"]),
    "2 of 36": ({"micro_batches": 36, "dropped": 2}, HEALTHY, ["2 of 36 micro-batches dropped"]),
    "4 of 24": ({"dropped": 4}, DEGRADED, ["4 of 24 micro-batches dropped"]),
    "20 of 24": ({"dropped": 20}, FAILED, ["20 of 24 micro-batches dropped"]),
    "7 of 24 images": ({"left_out": 7}, DEGRADED, ["7 of 24 images left out"]),
    "all images but one": ({"left_out": 23}, DEGRADED, ["23 of 24 images left out"]),
    "unreadable": ({"samples": 10}, DEGRADED, ["10 of 96 samples left out alone"]),
    "unreadable, once": ({"samples": 1}, HEALTHY, ["1 of 96 samples left out alone"]),
    "held back": ({"steps_taken": 18, "steps_refused": 6}, DEGRADED, ["6 of 24 optimizer steps held back"]),
    "one step undone": ({"steps_undone": 1}, HEALTHY, ["1 of 24 optimizer steps undone by rollbacks"]),
    "6 undone": ({"steps_undone": 6}, DEGRADED, ["6 of 24 optimizer steps undone by rollbacks"]),
    "an epoch without a step": ({"epochs_without_step": (2,)}, DEGRADED, ["no optimizer step in epoch 2"]),
    "an epoch with nan losses": ({"epochs_without_loss": (2, 3)}, DEGRADED, ["train losses of epochs 2, 3 not finite"]),
    "nan losses in all": ({"epochs_without_loss": (1, 2, 3, 4)}, FAILED, ["epochs 1, 2, 3, 4 not finite"]),
    "a checkpoint": ({"checkpoints_refused": 1}, DEGRADED, ["once no checkpoint was written"]),
    "the last one": ({"checkpoints_refused": 2, "last_refused": True}, FAILED, ["nor in the last epoch"]),
    "val losses": ({"val_loss_finite": False}, FAILED, ["validation losses of the last epoch not finite"]),
    "metrics": ({"metric": float("nan")}, FAILED, ["metrics of the final model not finite"]),
    "collapsed": ({"last_metric": 0.0}, DEGRADED, ["fell from 0.6 to 0 by the last epoch"]),
    "a poor model that flickers": ({"metric": 0.02, "best_metric": 0.02, "last_metric": 0.0}, HEALTHY, []),
    "no step asked for": ({"steps_taken": 0}, DEGRADED, ["nothing was learnt"]),
    "no step for faults": ({"steps_taken": 0, "steps_refused": 1, "dropped": 1}, FAILED, ["nothing was learnt"]),
    "start weights": ({"start_weights": True}, DEGRADED, ["the weights that the run started with"]),
    "start weights for faults": ({"start_weights": True, "dropped": 1}, FAILED, ["the weights that the run started"]),
    "from scratch, early": ({"metric": 0.0}, HEALTHY, ["the model finds nothing yet"]),
    "from trained weights": ({"metric": 0.0, "pretrained": True}, DEGRADED, ["finds nothing in validation (metric 0)"]),
    "from scratch, late": ({"metric": 0.0, "steps_taken": 100}, DEGRADED, ["after 100 optimizer steps"]),
    "not finished": ({"finished": False, "metric": 0.0, "dropped": 1}, FAILED, ["1 of 24 micro-batches dropped"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_state_follows_from_the_figures(name: str):
    changed, state, said = CASES[name]
    health = judge(replace(GOOD, **changed))
    assert health.state is state and health.healthy is (state is HEALTHY)
    told = health_text.phrases(health_text.losses({"lost": [lost.as_dict() for lost in health.lost]}))
    for line in said:
        assert any(line in phrase for phrase in told), told


def test_all_undone_is_no_training_and_the_worst_comes_first():
    health = judge(replace(GOOD, steps_undone=24, dropped=1, left_out=7))
    assert health.state is FAILED
    assert [lost.state for lost in health.lost] == [FAILED, FAILED, DEGRADED, HEALTHY]
    assert {lost.kind for lost in health.lost} == {
        LossKind.STEPS_UNDONE, LossKind.NO_STEP, LossKind.IMAGES, LossKind.MICRO_BATCHES
    }  # fmt: skip


def test_reports_of_earlier_versions_have_a_state_too():
    assert [state_of(told) for told in ({"healthy": True}, {"healthy": False}, {}, {"state": "degraded"})] == [
        HEALTHY, FAILED, FAILED, DEGRADED
    ]  # fmt: skip


def test_damaged_losses_are_left_out():
    lost = [None, 3, {}, {"kind": "?"}, {"kind": ["images"]}, {"kind": "images", "count": "x", "of": None, "epochs": 2}]
    good = {"kind": "images", "state": "healthy", "count": 1, "of": 9}
    assert health_text.phrases(health_text.losses({"lost": [*lost, good]})) == ["1 of 9 images left out"]
    assert health_text.losses({"lost": "all"}) == []
