"""What Ultralytics' loop does by itself goes on under the guard: out of memory, NaN recovery, accumulation, threads."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix
from yolo_nanfix.guard import adapter
from yolo_nanfix.guard.guard_settings import GuardSettings

NAN = float("nan")
OUT_OF_MEMORY = "CUDA out of memory (simulated)"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


def guard_of(result: lab.Result) -> dict:
    return json.loads((Path(result.trainer.save_dir) / "yolo-nanfix.json").read_text())["guard"]


def same_state(one: lab.Result, other: lab.Result) -> bool:
    mine, theirs = lab.state(one.trainer), lab.state(other.trainer)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], v) for k, v in theirs.items())


class Full(lab.trainer_class("detect")):
    """A trainer whose memory runs out once: `where` the second micro-batch is, in an open accumulation window."""

    where, passes = "backward", 0

    def preprocess_batch(self, batch):
        self.passes += 1
        if self.passes == 2:
            parameter = [p for p in self.model.parameters() if p.requires_grad][-1]
            spot = parameter if self.where == "backward" else self.model
            register = spot.register_hook if self.where == "backward" else spot.register_forward_pre_hook
            self.hook = register(self.run_out)
        return super().preprocess_batch(batch)

    def run_out(self, *given):
        self.hook.remove()
        raise RuntimeError(OUT_OF_MEMORY)


class FullInForward(Full):
    where = "forward"


@pytest.mark.parametrize("trainer", (Full, *matrix(FullInForward)))
def test_a_batch_that_does_not_fit_is_halved_and_the_epoch_redone_as_in_stock(trainer, data, tmp_path, unpatched):
    options = {"trainer": trainer, "nbs": 16, "val": False}
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", **options)
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", **options)
    assert stock.error is None and ours.error is None
    assert stock.trainer.batch_size == ours.trainer.batch_size == 2
    assert same_state(ours, stock)
    guard = guard_of(ours)
    assert guard["epochs_redone"] == 1 and guard["events"] == [] and guard["dropped_micro_batches"] == 0


def test_ultralytics_own_nan_recovery_redoes_the_epoch_as_in_stock(data, tmp_path, unpatched):
    def spoil(trainer, done=None):
        if trainer.epoch == 1 and not hasattr(trainer, "spoilt"):
            trainer.spoilt, trainer.loss = True, torch.tensor(NAN)

    options = {"callbacks": {"on_train_epoch_end": spoil}, "nbs": 12, "epochs": 3}
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", **options)
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", **options)
    assert stock.error is None and ours.error is None
    assert stock.trainer.spoilt and same_state(ours, stock)
    assert guard_of(ours)["epochs_redone"] == 1


@pytest.mark.slow
def test_gradients_that_somebody_clears_are_cleared_where_they_are_kept_aside(data, tmp_path, unpatched):
    """A user's callback that throws an accumulation window away."""

    def clear(trainer):
        if trainer.epoch == 0:
            trainer.optimizer.zero_grad()

    options = {"callbacks": {"on_train_batch_start": clear}, "nbs": 16, "val": False}
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", **options)
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", **options)
    assert ours.error is None and same_state(ours, stock)


def clamp_gradients(trainer):
    for parameter in trainer.model.parameters():
        if parameter.grad is not None:
            parameter.grad.clamp_(-0.01, 0.01)


def replace_optimizer(trainer):
    if trainer.epoch == 1:
        trainer.optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=1e-3)
        for group in trainer.optimizer.param_groups:
            group["initial_lr"] = 1e-3
        trainer.scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, trainer.lf)


def widen(trainer):
    """A layer gets another kernel, as pruning and growing do."""
    if trainer.epoch == 1:
        torch.manual_seed(3)
        for model in (trainer.model, trainer.ema.ema):
            model.model[1].conv = torch.nn.Conv2d(8, 16, 5, 2, 2, bias=False)
        trainer.ema.ema.model[1].conv.load_state_dict(trainer.model.model[1].conv.state_dict())
        trainer.ema.ema.requires_grad_(False)
        trainer.ema._pairs = None
        trainer.optimizer.param_groups[1]["params"].append(trainer.model.model[1].conv.weight)


@pytest.mark.parametrize(
    ("event", "change", "nbs"),
    [
        ("on_train_batch_end", clamp_gradients, 16),
        ("on_train_epoch_start", replace_optimizer, 4),
        *matrix(("on_train_epoch_start", widen, 4)),
    ],
    ids=("gradients", "optimizer", "model"),
)
def test_what_callbacks_change_in_a_healthy_run_is_changed_as_in_stock(event, change, nbs, data, tmp_path, unpatched):
    options = {"callbacks": {event: change}, "nbs": nbs, "epochs": 3}
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", **options)
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", **options)
    assert (stock.error, ours.error) == (None, None) and same_state(ours, stock)
    assert guard_of(ours)["events"] == []


@pytest.mark.parametrize(
    ("where", "nbs"), [({(1, 0)}, 16), *matrix(({(1, 0)}, 4), ({(1, 0), (1, 1)}, 4), ({(1, 0), (1, 1)}, 16))]
)
def test_an_epoch_that_begins_with_a_bad_micro_batch_has_finite_train_losses(where, nbs, data, tmp_path, unpatched):
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", trainer=lab.poisoned("detect", where), nbs=nbs, val=False)
    assert ours.error is None and guard_of(ours)["dropped_micro_batches"] == len(where)
    losses = [float(v) for row in ours.rows() for k, v in row.items() if k.startswith("train/")]
    assert len(losses) == 6 and all(0 < loss < 1e3 for loss in losses)


def test_trainings_in_threads_are_each_clipped_by_their_own_guard(data, tmp_path, unpatched):
    original = torch.nn.utils.clip_grad_norm_
    yolo_nanfix.patch(guard=False)
    from ultralytics import YOLO  # in threads nothing can be redirected: `lab.train` would

    norms, errors = {0: [], 1: []}, []
    meet = threading.Barrier(2, timeout=300)

    def guarded(number):
        def start(trainer):
            guard = adapter.attach(trainer, GuardSettings())
            guard.run.ladder.clipped = lambda max_norm: 0.5 * (number + 1)

        return start

    def go(number):
        def measure(optimizer, *_):
            grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            norms[number].append(float(torch.stack(torch._foreach_norm(grads)).norm()))

        class Trainer(lab.trainer_class("detect")):
            def optimizer_step(self):
                if not norms[number]:
                    self.optimizer.register_step_pre_hook(measure)
                meet.wait()
                super().optimizer_step()

        try:
            model = YOLO(lab.TINY)
            model.add_callback("on_train_start", guarded(number))
            model.train(
                trainer=Trainer, data=str(data), epochs=1, imgsz=64, batch=8, nbs=8, workers=0, plots=False, val=False,
                project=str(tmp_path), name=f"run{number}", verbose=False, device="cpu", optimizer="SGD", seed=0,
            )  # fmt: skip
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=go, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for number in (0, 1):
        assert norms[number] and all(norm <= 0.5 * (number + 1) + 1e-3 for norm in norms[number])
    assert max(norms[1]) > 0.6
    assert torch.nn.utils.clip_grad_norm_ is original
