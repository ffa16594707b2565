"""The bfloat16 patch in real trainings with amp="bf16".

Upstream refuses bfloat16 off CUDA, so its two names for `autocast` are let through to torch's on the CPU, and the
validator's precision follows the trainer as it does on a GPU.
"""

from __future__ import annotations

import math

import lab
import pytest
import torch
from make_datasets import make_dataset
from ultralytics.engine import trainer as trainer_module
from ultralytics.engine import validator as validator_module
from ultralytics.models.yolo.detect import DetectionTrainer

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")
NAME, OPERATORS = "bf16-validated-in-fp16", "torchvision-operators-missing"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=4, size=(64, 64), seed=1)


def autocast(enabled, device="cuda"):
    """Upstream's `autocast` on CUDA, on the CPU."""
    dtype = enabled if isinstance(enabled, torch.dtype) else torch.float16
    return torch.autocast("cpu", dtype=dtype, enabled=bool(enabled))


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(trainer_module, "autocast", autocast)
    monkeypatch.setattr(validator_module, "autocast", autocast)
    yield
    assert validator_module.autocast is autocast


class Trainer(DetectionTrainer):
    """A trainer whose validator takes its precision from `trainer.amp` as on a GPU; without the last validation."""

    def get_validator(self):
        validator = super().get_validator()
        quantize = property(lambda args: 16 if self.amp else None, lambda args, value: None)
        validator.args.__class__ = type("Arguments", (type(validator.args),), {"quantize": quantize})
        return validator

    def final_eval(self):
        pass


SEEN = set()


def look(module, inputs, output):
    """Notes the dtype that a layer computes in."""
    SEEN.add(output.dtype)


def train(data, path, amp="bf16", gain=1.0):
    """The val losses and the dtype of the first layer in validation; `gain` scales its activations there."""
    SEEN.clear()

    def prepare(trainer):
        first = trainer.ema.ema.model[0]
        first.bn.weight.data *= gain
        first.conv.register_forward_hook(look)

    done = lab.train(data, path, trainer=Trainer, epochs=1, amp=amp, callbacks={"on_train_epoch_end": prepare})
    assert done.error is None
    assert done.trainer.amp is (amp == "bf16")
    row = done.rows()[-1]
    return [float(row[f"val/{name}_loss"]) for name in ("box", "cls", "dfl")], set(SEEN), done.losses


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("stock", torch.float16)]
)
def test_activations_beyond_float16_are_finite_in_the_chosen_precision(data, tmp_path, precision, dtype):
    with yolo_nanfix.patched(NAME, OPERATORS, bf16_validation=precision):
        losses, dtypes, _ = train(data, tmp_path / "run", gain=1e6)
    assert dtypes == {dtype}
    assert all(map(math.isfinite, losses)) == (precision != "stock")


def test_stock_validates_a_bfloat16_run_in_float16(data, tmp_path):
    with lab.bare():
        losses, dtypes, _ = train(data, tmp_path / "run", gain=1e6)
    assert dtypes == {torch.float16}
    assert not all(map(math.isfinite, losses))


def test_training_losses_do_not_change_and_healthy_val_losses_by_the_rounding_alone(data, tmp_path):
    with lab.bare():
        stock, _, stock_training = train(data, tmp_path / "stock")
    with yolo_nanfix.patched(NAME, OPERATORS):
        ours, _, training = train(data, tmp_path / "ours")
    assert training == stock_training
    assert ours == pytest.approx(stock, rel=1e-2)


def test_float32_runs_are_left_alone(data, tmp_path):
    with lab.bare():
        stock = train(data, tmp_path / "stock", amp=False)
    with yolo_nanfix.patched(NAME, OPERATORS, bf16_validation="bfloat16"):
        assert train(data, tmp_path / "ours", amp=False) == stock
