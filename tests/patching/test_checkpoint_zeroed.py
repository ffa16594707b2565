"""A poisoned model, EMA or optimizer at the moment of saving: stock writes over the good file, ours does not."""

from __future__ import annotations

import json
from copy import deepcopy

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix
from releases import run

import yolo_nanfix
from yolo_nanfix.errors import PoisonedState
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "checkpoint-zeroed"
NAN = float("nan")
BATCHES = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=4, size=(64, 64), seed=1)


def nan_gradient_at(step):
    """A user's trainer in which one backward pass gives NaN gradients although the loss is finite."""

    class Faulty(lab.trainer_class("detect")):
        backwards = 0

        def optimizer_step(self):
            self.backwards += 1
            if self.backwards == step:
                next(p for p in self.model.parameters() if p.grad is not None).grad[0] = NAN
            super().optimizer_step()

    return Faulty


def test_a_poisoned_epoch_costs_stock_all_checkpoints_and_ours_one_epoch(data, tmp_path):
    """The last step of epoch 2 of 3 makes all weights NaN; epoch 3 is NaN and upstream reloads last.pt."""
    faulty = nan_gradient_at(2 * BATCHES)
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=faulty, epochs=3)
        assert lab.is_zeroed(lab.checkpoint(stock.trainer.last))
        tally.clear()
        with yolo_nanfix.patched(NAME, guard=False):
            ours = lab.train(data, tmp_path / "ours", trainer=faulty, epochs=3)
    assert ours.error is None and tally.read() == {NAME: 1}
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0
    for path in (ours.trainer.last, ours.trainer.best):
        assert lab.not_finite(lab.checkpoint(path).values()) == 0 and not lab.is_zeroed(lab.checkpoint(path))


def test_a_run_poisoned_before_its_first_checkpoint_says_so_in_place_of_saving_zeros(data, tmp_path):
    faulty = nan_gradient_at(BATCHES)
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=faulty, epochs=1)
        assert stock.error is None and lab.is_zeroed(lab.checkpoint(stock.trainer.best))
        with yolo_nanfix.patched(NAME, guard=False):
            ours = lab.train(data, tmp_path / "ours", trainer=faulty, epochs=1)
    assert isinstance(ours.error, PoisonedState) and "training ends without a model" in str(ours.error)
    assert not list(ours.trainer.wdir.iterdir())


def spoilt_from_the_first_step(spoil):
    """A user's trainer whose state is spoilt after its first step, in a place that training does not read."""

    class Spoilt(lab.trainer_class("detect")):
        def optimizer_step(self):
            super().optimizer_step()
            spoil(self)

    return Spoilt


def statistic(trainer):
    """Read by validation alone; training renews it, and NaN stays NaN."""
    trainer.model.model[0].bn.running_var[0] = NAN


def unused(trainer):
    """A weight that no layer reads, as that of a head for another task: the loss stays finite."""
    trainer.model.model[1].register_parameter("spare", torch.nn.Parameter(torch.full((4,), NAN)))
    trainer.ema.ema.model[1].register_parameter("spare", torch.nn.Parameter(torch.full((4,), NAN)))


@pytest.mark.parametrize(("spoil", "zeros"), [(statistic, 0), (unused, 4)])
def test_a_few_values_that_are_not_finite_from_the_first_epoch_on_cost_no_checkpoint(spoil, zeros, data, tmp_path):
    with lab.bare(), yolo_nanfix.patched(NAME, guard=False), lab.said() as messages:
        tally.clear()
        ours = lab.train(data, tmp_path / "ours", trainer=spoilt_from_the_first_step(spoil), epochs=3)
    assert ours.error is None and tally.read() == {NAME: 3}
    saved = lab.checkpoint(ours.trainer.last)
    assert lab.not_finite(saved.values()) == 0 and not lab.is_zeroed(saved)
    assert lab.not_finite(ours.trainer.model.state_dict().values()), "the model itself is left as it is"
    told = [m for m in messages if "one with replaced values is written" in m]
    assert len(told) == 3 and all(f"{zeros} of " in m for m in told)
    trained = ours.trainer.ema.ema.state_dict()["model.7.cv3.0.2.weight"].half()
    assert torch.equal(saved["model.7.cv3.0.2.weight"].half(), trained), "the last epoch's, not the first's"
    assert saved["model.0.bn.running_var"].isfinite().all()


def test_a_checkpoint_of_an_earlier_run_in_the_folder_is_not_taken_for_one_of_this(data, tmp_path):
    import os

    with lab.bare(), yolo_nanfix.patched(NAME, guard=False):
        old = lab.train(data, tmp_path / "run", epochs=1).trainer.last
        os.utime(old, (1e9, 1e9))
        ours = lab.train(data, tmp_path / "run", trainer=spoilt_from_the_first_step(statistic), epochs=1)
    assert ours.error is None and ours.trainer.last == old and old.stat().st_mtime > 1e9


def test_what_is_replaced_for_writing_is_put_back_bit_for_bit(trained):
    trained.last.unlink()
    poison_model(trained)
    poison_optimizer(trained)
    before = lab.state(trained)
    with yolo_nanfix.patched(NAME):
        assert trained.save_model() is True
    after = lab.state(trained)
    assert all(torch.equal(before[k], after[k]) or (before[k].isnan() == after[k].isnan()).all() for k in before)
    saved = torch.load(trained.last, weights_only=False)
    assert lab.not_finite(saved["ema"].state_dict().values()) == 0
    held = saved["optimizer"]["state"].values()
    assert lab.not_finite([v for state in held for v in state.values()]) == 0


@pytest.fixture(scope="module")
def trainer(data, tmp_path_factory):
    with lab.bare():
        trainer = lab.train(data, tmp_path_factory.mktemp("run") / "run", epochs=1, optimizer="AdamW").trainer
    trainer.kept = [deepcopy(x.state_dict()) for x in (trainer.model, trainer.ema.ema, trainer.optimizer)]
    return trainer


@pytest.fixture
def trained(trainer):
    """A healthy trainer that has saved, as it stands when it is about to save once more."""
    for part, state in zip((trainer.model, trainer.ema.ema, trainer.optimizer), trainer.kept, strict=True):
        part.load_state_dict(deepcopy(state))
    trainer.save_model()
    return trainer


def test_a_healthy_save_writes_what_stock_writes(trained):
    stock = torch.load(trained.last, weights_only=False)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        assert trained.save_model() is True
    ours = torch.load(trained.last, weights_only=False)
    a, b = stock["ema"].state_dict(), ours["ema"].state_dict()
    assert a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)
    assert str(stock["optimizer"]) == str(ours["optimizer"]) and stock.keys() == ours.keys()
    assert tally.read() == {}


def poison_model(trainer):
    trainer.model.model[0].bn.running_mean[0] = NAN


def poison_optimizer(trainer):
    next(iter(trainer.optimizer.state.values()))["exp_avg"].view(-1)[0] = NAN


@pytest.mark.parametrize("poison", (poison_model, poison_optimizer))
def test_what_is_not_finite_is_not_written(trained, poison):
    good = trained.last.read_bytes()
    poison(trained)
    with yolo_nanfix.patched(NAME):
        assert trained.save_model() is False
    assert trained.last.read_bytes() == good
    assert trained.save_model() is True
    assert trained.last.read_bytes() != good


def test_an_ema_that_alone_is_poisoned_is_resynced_and_written(trained):
    trained.ema.ema.model[0].conv.weight.data.view(-1)[0] = NAN
    with yolo_nanfix.patched(NAME):
        assert trained.save_model() is True
    assert torch.equal(trained.ema.ema.model[0].conv.weight, trained.model.model[0].conv.weight)
    assert lab.not_finite(lab.checkpoint(trained.last).values()) == 0


OLD = """
import json, sys, pathlib, tempfile
import numpy as np; np.trapz = getattr(np, "trapz", None) or np.trapezoid
import lab, torch, yolo_nanfix
from make_datasets import make_dataset
root = pathlib.Path(tempfile.mkdtemp(dir="."))
out = {}
with lab.bare():
    data = make_dataset(root / "set", n_train=4, n_val=2, size=(64, 64), seed=1)
    result = lab.train(data, root / "run", epochs=1)
    trainer = result.trainer
    trainer.save_model()
    trainer.ema.ema.model[0].conv.weight.data.view(-1)[0] = float("nan")
    stock = trainer.save_model()
    out["stock, EMA"] = [stock, lab.not_finite(lab.checkpoint(trainer.last).values())]
    with yolo_nanfix.patched("checkpoint-zeroed", guard=False):
        ours = trainer.save_model()
        out["ours, EMA"] = [ours, lab.not_finite(lab.checkpoint(trainer.last).values())]
        trainer.model.model[0].conv.weight.data.view(-1)[0] = float("nan")
        trainer.ema.ema.model[0].conv.weight.data.view(-1)[0] = float("nan")
        ours = trainer.save_model()
        out["ours, both"] = [ours, lab.not_finite(lab.checkpoint(trainer.last).values())]
    trainer.save_model()
    out["stock, both"] = lab.not_finite(lab.checkpoint(trainer.last).values())
print("\\n" + json.dumps(out))
"""


@pytest.mark.parametrize(("release", "stock"), matrix(("8.3.0", [None, 1]), ("8.4.60", [False, 0])))
def test_older_releases_write_nan_or_nothing_and_ours_writes_what_is_healthy(release, stock):
    out = json.loads(run(release, OLD).splitlines()[-1])
    assert out["stock, EMA"] == stock
    assert out["ours, EMA"] == [None if stock[0] is None else True, 0]
    assert out["ours, both"] == [False, 0]
    assert out["stock, both"] == stock[1]
