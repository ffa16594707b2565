"""The decisions, as a table: readings and counts in, a decision out."""

from __future__ import annotations

import pytest

from yolo_nanfix.errors import UsageError
from yolo_nanfix.guard.policy import Decision, judge_gradient, judge_micro_batch, judge_scaler
from yolo_nanfix.guard.settings import GuardSettings

THREE = GuardSettings(max_bad_in_a_row=3)


@pytest.mark.parametrize(
    ("flags", "bad_before", "decision"),
    [
        ((True, True, True), 0, Decision.KEEP),
        ((True, True, True), 99, Decision.KEEP),
        ((False, True, True), 0, Decision.DROP),
        ((True, False, True), 1, Decision.DROP),
        ((True, True, False), 1, Decision.DROP),
        ((False, True, True), 2, Decision.STOP),
    ],
)
def test_micro_batches(flags, bad_before, decision):
    readings = dict(zip(("loss", "batchnorm", "targets"), flags, strict=True))
    assert judge_micro_batch(readings, bad_before, THREE) is decision


@pytest.mark.parametrize(
    ("bad_before", "window", "decision"),
    [(0, 1, Decision.DROP), (1, 1, Decision.DROP), (2, 1, Decision.STOP), (0, 4, Decision.STOP)],
)
def test_gradients(bad_before, window, decision):
    assert judge_gradient(bad_before, window, THREE) is decision


def test_a_scaler_may_look_for_its_scale_but_not_for_ever():
    assert judge_scaler(31) is Decision.KEEP
    assert judge_scaler(32) is Decision.STOP
    assert 65536 / 2**32 > 0


def test_unknown_settings_are_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'max_bad_in_a_row'"):
        GuardSettings.from_mapping({"max_bad_in_row": 3})
    assert GuardSettings.from_mapping({"max_bad_in_a_row": 3}) == THREE
