"""Copies in memory and the way back, on real trainers: every bit, in place, for every optimizer."""

from __future__ import annotations

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

from yolo_nanfix.guard import remedies
from yolo_nanfix.guard.snapshots import Snapshots
from yolo_nanfix.numerics.finite import unwrapped


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=4, size=(64, 64), seed=1)


@pytest.mark.parametrize(
    ("optimizer", "scaler"), [("AdamW", True), *matrix(("SGD", False), ("MuSGD", False), ("RMSProp", False))]
)
def test_a_rollback_restores_every_bit_in_place(optimizer, scaler, data, tmp_path, unpatched):
    seen = {}

    def at_step(trainer):
        seen.setdefault("snapshots", Snapshots(trainer, unwrapped(trainer.model)))
        number = seen["step"] = seen.get("step", 0) + 1
        if number == 1:
            seen["snapshots"].take(1)
            seen["then"] = lab.state(trainer)
            seen["places"] = [id(t) for t in trainer.ema.ema.state_dict(keep_vars=True).values()]
        if number == 5:
            now = lab.state(trainer)
            assert any(not torch.equal(now[k], v) for k, v in seen["then"].items())
            assert seen["snapshots"].moved()[0] > 0
            assert remedies.roll_back(seen["snapshots"]) == 1
            seen["after"] = lab.state(trainer)
            assert seen["places"] == [id(t) for t in trainer.ema.ema.state_dict(keep_vars=True).values()]
            assert seen["snapshots"].moved()[0] == 0

    with lab.bare():
        result = lab.train(
            data,
            tmp_path / "run",
            optimizer=optimizer,
            scaler=scaler,
            epochs=4,
            val=False,
            callbacks={"on_train_batch_end": at_step},
        )
    assert result.error is None and seen["step"] == 8
    assert seen["then"].keys() == seen["after"].keys()
    assert [k for k, v in seen["then"].items() if not torch.equal(seen["after"][k], v)] == []


def test_two_copies_are_kept_and_the_older_one_gives_its_memory_to_a_third(data, tmp_path, unpatched):
    kept = {}

    def at_step(trainer):
        snapshots = kept.setdefault("snapshots", Snapshots(trainer, unwrapped(trainer.model)))
        kept["step"] = kept.get("step", 0) + 1
        snapshots.take(kept["step"])
        if kept["step"] == 2:
            kept["first"] = next(iter(snapshots.copies[0].tensors.values())).data_ptr()
        if kept["step"] == 3:
            assert [c.step for c in snapshots.copies] == [2, 3]
            assert next(iter(snapshots.copies[1].tensors.values())).data_ptr() == kept["first"]
            assert remedies.roll_back(snapshots, older=True) == 2 and len(snapshots) == 1

    with lab.bare():
        result = lab.train(data, tmp_path / "run", val=False, callbacks={"on_train_batch_end": at_step})
    assert result.error is None and kept["step"] == 4


def test_state_that_an_optimizer_began_after_the_copy_is_forgotten(data, tmp_path, unpatched):
    kept = {}

    def start(trainer):
        kept["snapshots"] = Snapshots(trainer, unwrapped(trainer.model))
        kept["snapshots"].take(0)

    def at_step(trainer):
        if "done" not in kept:
            assert trainer.optimizer.state
            remedies.roll_back(kept["snapshots"])
            kept["done"] = len(trainer.optimizer.state)

    callbacks = {"on_train_start": start, "on_train_batch_end": at_step}
    with lab.bare():
        result = lab.train(data, tmp_path / "run", optimizer="AdamW", val=False, callbacks=callbacks)
    assert result.error is None and kept["done"] == 0
