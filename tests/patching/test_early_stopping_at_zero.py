"""A run that stays at fitness 0 ends; one that leaves it is stopped, or not, exactly as in stock."""

from __future__ import annotations

import lab
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_datasets import make_dataset
from ultralytics.utils.torch_utils import EarlyStopping

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "early-stopping-at-zero"
NAN = float("nan")


def course(fitness, patience):
    """The answer and `possible_stop` after each epoch, 1-based as the trainer counts, up to the stop."""
    stopper, seen = EarlyStopping(patience), []
    for epoch, value in enumerate(fitness, 1):
        seen.append((stopper(epoch, value), stopper.possible_stop))
        if seen[-1][0]:
            break
    return seen


def stops_after(fitness, patience):
    seen = course(fitness, patience)
    return len(seen) if seen[-1][0] else None


@pytest.mark.parametrize(("patience", "epochs"), [(2, 51), (50, 51), (100, 101)])
def test_zero_from_the_start_never_stops_in_stock_and_after_the_longer_of_both_limits_in_ours(patience, epochs):
    assert stops_after([0.0] * 300, patience) is None
    tally.clear()
    with yolo_nanfix.patched(NAME):
        assert stops_after([0.0] * 300, patience) == epochs
        assert course([0.0] * 300, patience)[-2:] == [(False, True), (True, True)]
    assert tally.read() == {NAME: 2}


def test_a_fitness_that_leaves_zero_in_time_goes_on():
    with yolo_nanfix.patched(NAME):
        assert stops_after([0.0] * 50 + [0.001] + [0.002] * 20, 100) is None
        assert stops_after([0.0] * 10 + [0.1] + [0.0] * 300, 5) == 16


@pytest.mark.parametrize("patience", (0, None))
def test_without_patience_nothing_stops(patience):
    with yolo_nanfix.patched(NAME):
        assert stops_after([0.0] * 300, patience) is None


def test_nan_is_never_beaten_in_stock_and_counts_as_zero_in_ours():
    improving = [NAN, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert stops_after(improving, 3) == 4
    with yolo_nanfix.patched(NAME, min_zero_epochs=5):
        assert stops_after(improving, 3) is None
        assert stops_after([NAN] * 20, 3) == 6


def test_epochs_without_validation_are_no_evidence():
    with yolo_nanfix.patched(NAME, min_zero_epochs=3):
        assert course([None] * 20, 2) == [(False, False)] * 20


FITNESS = st.one_of(st.none(), st.floats(0.0, 1.0))


@settings(max_examples=40, deadline=None)
@given(st.lists(FITNESS, max_size=40), st.floats(0.001, 1.0), st.integers(0, 12))
def test_what_has_left_zero_is_judged_as_in_stock(fitness, first, patience):
    stock = course([first, *fitness], patience)
    with yolo_nanfix.patched(NAME):
        assert course([first, *fitness], patience) == stock


def test_a_real_run_at_map_zero_ends(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, size=(64, 64), seed=1)
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", epochs=5, patience=1, lr0=0.0)
        with yolo_nanfix.patched(NAME, guard=False, min_zero_epochs=2):
            ours = lab.train(data, tmp_path / "ours", epochs=5, patience=1, lr0=0.0)
    assert stock.error is None and ours.error is None
    assert {float(row["metrics/mAP50(B)"]) for row in stock.rows()} == {0.0}
    assert (len(stock.rows()), len(ours.rows())) == (5, 3)
    assert ours.losses == stock.losses[: len(ours.losses)]
