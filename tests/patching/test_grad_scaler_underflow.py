"""The loss scale of a GradScaler after many bad steps, and after a resume with a scale of 0."""

from __future__ import annotations

import pytest
from steps import finite, same, state, step, trainer

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "grad-scaler-underflow"
NAN = float("nan")
FLOOR = 2.0**-14


def after_bad_steps(number):
    made = trainer(scaler=True)
    for seed in range(number):
        step(made, seed, spoil=NAN)
    return made


def test_165_bad_steps_end_in_nan_weights_in_stock_and_in_a_good_step_in_ours():
    stock = after_bad_steps(170)
    assert stock.scaler.get_scale() == 0
    step(stock, 200)
    assert not finite(stock)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours = after_bad_steps(170)
        assert ours.scaler.get_scale() == FLOOR
        before = state(ours)
        step(ours, 200)
    assert finite(ours) and not same(state(ours), before)
    assert tally.read() == {NAME: 140}  # 30 halvings lead from 65536 to the floor, each step after that is lifted


def test_a_resumed_scale_of_zero_ruins_stock_but_not_ours():
    saved = after_bad_steps(170).scaler.state_dict()
    stock = trainer(scaler=True)
    stock.scaler.load_state_dict(saved)
    step(stock, 0)
    assert not finite(stock)
    with yolo_nanfix.patched(NAME):
        ours = trainer(scaler=True)
        ours.scaler.load_state_dict(saved)
        step(ours, 0)
        assert finite(ours) and ours.scaler.get_scale() == FLOOR


def test_the_floor_is_a_parameter_and_a_small_resumed_scale_still_unscales_its_own_losses():
    small = {**after_bad_steps(20).scaler.state_dict(), "scale": 2.0**-20}
    stock = trainer(scaler=True)
    stock.scaler.load_state_dict(small)
    step(stock, 0)
    with yolo_nanfix.patched(NAME, min_loss_scale=0.5):
        ours = trainer(scaler=True)
        ours.scaler.load_state_dict(small)
        step(ours, 0)
        assert ours.scaler.get_scale() == 0.5
    assert same(state(ours), state(stock))


@pytest.mark.parametrize("scaler", (False, True), ids=("no-scaler", "scaler"))
def test_healthy_steps_and_single_skips_are_bit_identical(scaler):
    def course():
        made = trainer(scaler=scaler)
        for seed in range(6):
            step(made, seed, spoil=NAN if scaler and seed == 3 else None)
        return [*state(made), made.scaler.get_scale()]

    tally.clear()
    stock = course()
    with yolo_nanfix.patched(NAME):
        ours = course()
    assert same(ours[:-1], stock[:-1]) and ours[-1] == stock[-1]
    assert tally.read() == {}
