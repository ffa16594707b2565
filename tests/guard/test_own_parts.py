"""Optimizers, validators and metrics of the user's own that lack what Ultralytics' have: healthy runs stay stock's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


class Lookahead(torch.optim.Optimizer):
    """Wraps an optimizer, as most such classes do: without torch's own set up."""

    def __init__(self, inner):
        self.inner, self.param_groups, self.state, self.defaults = (
            inner,
            inner.param_groups,
            inner.state,
            inner.defaults,
        )

    def zero_grad(self, set_to_none=True):
        self.inner.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.inner.step(closure)

    def state_dict(self):
        return self.inner.state_dict()


class WithLookahead(lab.trainer_class("detect")):
    def build_optimizer(self, *args, **kwargs):
        return Lookahead(super().build_optimizer(*args, **kwargs))


class Faulty(WithLookahead):
    """... in which one backward pass gives a NaN gradient although the loss is finite."""

    backwards = 0

    def optimizer_step(self):
        self.backwards += 1
        if self.backwards == 2:
            next(p for p in self.model.parameters() if p.grad is not None).grad[0] = float("nan")
        super().optimizer_step()


class Careful(Faulty):
    """... and whose step bears any exception."""

    def optimizer_step(self):
        try:
            super().optimizer_step()
        except Exception:
            self.optimizer.zero_grad()


class Preview(lab.trainer_class("detect")):
    """A trainer that looks at a batch before the first epoch."""

    def run_callbacks(self, event):
        super().run_callbacks(event)
        if event == "on_train_start":
            self.preprocess_batch(self.train_loader.dataset.collate_fn([self.train_loader.dataset[0]]))


class Score:
    """A validator that is a function with the few attributes that the trainer asks for."""

    def __init__(self, args):
        self.args, self.metrics, self.loss = args, SimpleNamespace(keys=["score"]), None

    def __call__(self, trainer=None, model=None):
        return {"score": 0.5, "fitness": 0.5}


class OwnValidator(lab.trainer_class("detect")):
    def get_validator(self):
        self.loss_names = "box_loss", "cls_loss", "dfl_loss"
        return Score(self.args)


class Texts(lab.trainer_class("detect")):
    """A trainer whose metrics hold a text and a matrix beside numbers."""

    def validate(self):
        metrics, fitness = super().validate()
        return {**metrics, "note": "fine", "matrix": [[1, 0], [0, 1]]}, fitness

    def save_metrics(self, metrics):
        super().save_metrics({k: v for k, v in metrics.items() if k not in ("note", "matrix")})


@pytest.mark.parametrize("trainer", (WithLookahead, *matrix(OwnValidator, Texts, Preview)))
def test_a_healthy_run_with_own_parts_is_stock_s(trainer, data, tmp_path):
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=trainer)
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", trainer=trainer)
    assert (stock.error, ours.error) == (None, None) and ours.losses == stock.losses
    theirs = stock.trainer.model.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in ours.trainer.model.state_dict().items())


@pytest.mark.parametrize("trainer", (Careful, *matrix(Faulty)))
def test_a_step_of_an_optimizer_without_hooks_is_held_back_too(trainer, data, tmp_path):
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", trainer=trainer, epochs=1, val=False)
    assert ours.error is None and lab.not_finite(ours.trainer.model.parameters()) == 0
    guard = json.loads((Path(ours.trainer.save_dir) / "yolo-nanfix.json").read_text())["guard"]
    assert guard["dropped_micro_batches"] == 1
