"""One bad gradient without a GradScaler: stock loses all weights, ours one step."""

from __future__ import annotations

import lab
import pytest
import torch
from make_datasets import make_dataset
from steps import OPTIMIZERS, finite, same, state, step, trainer

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "clip-spreads-nan"
NAN, INF = float("nan"), float("inf")


def warmed(optimizer):
    made = trainer(optimizer)
    for seed in range(3):
        step(made, seed)
    return made


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_nan_gradient_ruins_every_weight_in_stock_and_moves_no_bit_in_ours(optimizer):
    stock = warmed(optimizer)
    step(stock, 9, spoil=NAN)
    assert not any(p.isfinite().any() for p in stock.model.parameters())
    tally.clear()
    ours = warmed(optimizer)
    before = state(ours)
    with yolo_nanfix.patched(NAME):
        step(ours, 9, spoil=NAN)
        assert same(state(ours), before)
        step(ours, 10)
    assert finite(ours) and not same(state(ours), before)
    assert tally.read() == {NAME: 1}


def test_an_inf_gradient_poisons_one_entry_in_stock_and_nothing_in_ours():
    stock = warmed("SGD")
    step(stock, 9, spoil=INF)
    assert lab.not_finite(stock.model.parameters()) == 1
    ours = warmed("SGD")
    before = state(ours)
    with yolo_nanfix.patched(NAME):
        step(ours, 9, spoil=INF)
    assert same(state(ours), before)


def test_a_norm_that_overflows_is_dropped_too():
    ours = warmed("SGD")
    before = state(ours)
    with yolo_nanfix.patched(NAME):
        step(ours, 9, spoil=1e30)
    assert same(state(ours), before)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_healthy_steps_are_bit_identical(optimizer):
    tally.clear()
    stock = state(warmed(optimizer))
    with yolo_nanfix.patched(NAME):
        assert same(state(warmed(optimizer)), stock)
    assert tally.read() == {}


class Unread:
    """A norm that nobody may read."""

    def __float__(self):
        raise AssertionError("the norm was read")


def test_the_norm_is_not_read_where_a_grad_scaler_is_on(monkeypatch):
    with yolo_nanfix.patched(NAME):
        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *args, **kwargs: Unread())
        step(trainer(scaler=True), 0)
        with pytest.raises(AssertionError, match="the norm was read"):
            step(trainer(scaler=False), 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


class Faulty(lab.trainer_class("detect")):
    """A user's trainer whose second backward pass gives a NaN gradient although the loss is finite."""

    backwards = 0

    def optimizer_step(self):
        self.backwards += 1
        if self.backwards == 2:
            next(p for p in self.model.parameters() if p.grad is not None).grad[0] = NAN
        super().optimizer_step()


def test_a_run_survives_without_the_guard(data, tmp_path):
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=Faulty, epochs=1)
    assert lab.not_finite(stock.trainer.model.parameters())
    with lab.bare(), yolo_nanfix.patched(NAME, guard=False):
        ours = lab.train(data, tmp_path / "ours", trainer=Faulty, epochs=1)
    assert ours.error is None
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0


def test_with_the_guard_on_the_guard_decides_and_this_patch_does_not_look(data, tmp_path):
    tally.clear()
    seen = {}
    with lab.bare(), yolo_nanfix.patched(NAME, guard=True):
        ours = lab.train(
            data,
            tmp_path / "ours",
            trainer=Faulty,
            epochs=1,
            callbacks={"on_train_end": lambda t: seen.update(tally.read())},
        )
    assert ours.error is None and seen == {}
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0
