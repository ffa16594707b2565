"""The bad micro-batch, and only it, is lost; stock dies of it. Real training, tasks by GradScaler."""

from __future__ import annotations

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import combined

import yolo_nanfix

TASKS = ("detect", "segment", "pose", "obb")
SCALER = (False, True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One small dataset a task."""
    root = tmp_path_factory.mktemp("data")
    return {t: make_dataset(root / t, task=t, n_train=16, n_val=4, size=(64, 64), seed=1) for t in TASKS}


@pytest.mark.parametrize(("task", "scaler"), combined(TASKS, SCALER, quick=[("detect", False)]))
def test_one_nan_pixel_in_the_first_epoch(task, scaler, data, tmp_path, unpatched):
    trainer = lab.poisoned(task, {(0, 1)})
    with lab.bare():
        stock = lab.train(data[task], tmp_path / "stock", task=task, trainer=trainer, scaler=scaler)
    if scaler:  # no error, but BatchNorm is NaN for ever
        assert stock.error is None
        assert lab.not_finite(stock.trainer.ema.ema.buffers())
    else:
        assert lab.not_finite(stock.trainer.model.parameters())
        assert lab.is_zeroed(lab.checkpoint(stock.trainer.last))

    with yolo_nanfix.patched():
        ours = lab.train(data[task], tmp_path / "ours", task=task, trainer=trainer, scaler=scaler)
    assert ours.error is None
    report = _report(ours)
    assert report["guard"]["dropped_micro_batches"] == 1
    assert report["guard"]["micro_batches"] == 8
    (event,) = report["guard"]["events"]
    assert (event["epoch"], event["batch"]) == (1, 2)
    assert "batchnorm" in event["checks"]
    assert [s["suspect"] for s in event["sources"]] == ["1 pixel values not finite", "", "", ""]
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0
    for path in (ours.trainer.last, ours.trainer.best):
        assert lab.not_finite(lab.checkpoint(path).values()) == 0
        assert not lab.is_zeroed(lab.checkpoint(path))
    assert all(row[key] != "nan" for row in ours.rows() for key in row)


def _report(result):
    import json

    return json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())


@pytest.mark.parametrize(
    ("scaler", "optimizer"),
    combined(SCALER, ("SGD", "AdamW", "MuSGD"), quick=[]),  # the quick ones are in test_exactness.py
)
def test_dropping_leaves_every_bit_of_state_as_it_was(scaler, optimizer, data, tmp_path, unpatched):
    before, after = {}, {}

    class Watched(lab.poisoned("detect", {(1, 2)})):
        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            if self.seen == (1, 2):
                before.update(lab.state(self))
            return batch

    def compare(trainer):
        if trainer.seen == (1, 2) and not after:
            after.update(lab.state(trainer))

    with yolo_nanfix.patched():
        result = lab.train(
            data["detect"],
            tmp_path / "run",
            trainer=Watched,
            scaler=scaler,
            optimizer=optimizer,
            callbacks={"on_train_batch_end": compare},
        )
    assert result.error is None and before
    assert before.keys() == after.keys()
    assert [k for k in before if not torch.equal(before[k], after[k])] == []


def test_good_gradients_of_the_window_stay(data, tmp_path, unpatched):
    """With four micro-batches to a step and the third faulty, the step uses the other three."""
    grads = []

    class Watched(lab.poisoned("detect", {(0, 2)})):
        def optimizer_step(self):
            grads.append(max(float(p.grad.abs().max()) for p in self.model.parameters() if p.grad is not None))
            super().optimizer_step()

    with yolo_nanfix.patched():
        result = lab.train(data["detect"], tmp_path / "run", trainer=Watched, nbs=16, epochs=3)
    assert result.error is None
    assert result.losses[2] == 0.0 and all(loss > 0 for i, loss in enumerate(result.losses) if i != 2)
    assert len(grads) == 3 and all(0 < g < float("inf") for g in grads)


@pytest.mark.slow
def test_a_window_without_a_good_micro_batch_takes_no_step(data, tmp_path, unpatched):
    steps = []

    class Watched(lab.poisoned("detect", {(0, 1)})):
        def optimizer_step(self):
            steps.append(self.ema.updates)
            super().optimizer_step()

    with yolo_nanfix.patched():
        result = lab.train(data["detect"], tmp_path / "run", trainer=Watched, epochs=1)
    assert result.error is None
    assert result.trainer.ema.updates == 3  # four micro-batches, one of them dropped
    assert len(steps) == 3


@pytest.mark.parametrize(("task", "scaler"), combined(TASKS, SCALER, quick=[("detect", False)]))
def test_healthy_runs_are_bit_identical_to_stock(task, scaler, data, tmp_path, unpatched):
    with lab.bare():
        stock = lab.train(data[task], tmp_path / "stock", task=task, scaler=scaler, model=lab.YOLOV8[task])
    with yolo_nanfix.patched(rect="stock"):
        ours = lab.train(data[task], tmp_path / "ours", task=task, scaler=scaler, model=lab.YOLOV8[task])
    assert stock.error is None and ours.error is None
    assert ours.losses == stock.losses
    a, b = lab.state(stock.trainer), lab.state(ours.trainer)
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
    for row, other in zip(stock.rows(), ours.rows(), strict=True):
        assert {k: v for k, v in row.items() if k != "time"} == {k: v for k, v in other.items() if k != "time"}
    assert _report(ours)["guard"]["events"] == []
