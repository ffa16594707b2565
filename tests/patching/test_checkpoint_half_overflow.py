"""A checkpoint holds the model that was validated, also where float16 cannot hold it: saved, loaded, resumed."""

from __future__ import annotations

import json

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix
from releases import run
from ultralytics import YOLO
from ultralytics.utils.torch_utils import strip_optimizer

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "checkpoint-half-overflow"
FACTOR = 4096.0
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    data = make_dataset(root / "set", n_train=4, n_val=2, size=(64, 64), seed=1)
    with lab.bare():
        trainer = lab.train(data, root / "run", epochs=1).trainer
    trainer.kept = {k: v.clone() for k, v in trainer.ema.ema.state_dict().items()}
    return trainer


@pytest.fixture
def trained(trainer):
    """A trainer at its end, about to save once more."""
    trainer.ema.ema.load_state_dict(trainer.kept)
    return trainer


def widen(model):
    """The same function of the image, with BatchNorm variances past float16: what raw pixel values lead to."""
    block = model.model[1]
    with torch.no_grad():
        block.conv.weight.mul_(FACTOR)
        block.bn.running_mean.mul_(FACTOR)
        block.bn.running_var.mul_(FACTOR**2)
    assert block.bn.running_var.max() > 65504


@torch.no_grad()
def error(loaded, exact):
    """How far the features of a loaded model are from those of the model that was saved, relative to the largest."""
    a, b = (m.float().eval().model[:2](IMAGE) for m in (loaded, exact))
    return float((a - b).abs().max() / b.abs().max())


def error_of_last(trainer):
    with lab.bare():
        return error(YOLO(trainer.last).model, trainer.ema.ema)


def test_the_saved_and_stripped_model_is_the_validated_one(trained):
    trained.save_model()
    rounding = error_of_last(trained)
    widen(trained.ema.ema)
    trained.save_model()
    stock = error_of_last(trained)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        assert trained.save_model() is True
        ours = error_of_last(trained)
        strip_optimizer(trained.last)
        stripped = error_of_last(trained)
    assert stock > 1
    assert ours < 0.01 and ours <= 2 * rounding and stripped == ours
    weights = lab.checkpoint(trained.last)
    assert {k for k, v in weights.items() if v.dtype == torch.float32} == {"model.1.bn.running_var"}
    assert torch.equal(weights["model.1.bn.running_var"], trained.ema.ema.model[1].bn.running_var)
    assert tally.read() == {NAME: 2}


def test_strip_optimizer_of_stock_ruins_a_file_that_was_saved_well(trained):
    widen(trained.ema.ema)
    with yolo_nanfix.patched(NAME):
        trained.save_model()
    strip_optimizer(trained.last)
    assert not lab.checkpoint(trained.last)["model.1.bn.running_var"].isfinite().all()


def test_save_of_the_model_class_is_covered(trained, tmp_path):
    trained.save_model()
    with lab.bare():
        model = YOLO(trained.last)
        widen(model.model)
        with yolo_nanfix.patched(NAME):
            model.save(tmp_path / "saved.pt")
        assert error(YOLO(tmp_path / "saved.pt").model, model.model) < 0.01


def test_a_healthy_checkpoint_has_the_tensors_of_stock(trained):
    def saved():
        trained.save_model()
        whole = torch.load(trained.last, weights_only=False)
        strip_optimizer(trained.last)
        return {**whole["ema"].state_dict(), **{f"stripped.{k}": v for k, v in lab.checkpoint(trained.last).items()}}

    stock = saved()
    half = torch.nn.Module.half
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours = saved()
    assert torch.nn.Module.half is half
    assert stock.keys() == ours.keys()
    assert all(stock[k].dtype == ours[k].dtype and torch.equal(stock[k], ours[k]) for k in stock)
    assert tally.read() == {}


RUN = """
import contextlib, io, json, pathlib, sys, tempfile
import numpy as np; np.trapz = getattr(np, "trapz", None) or np.trapezoid
import lab, torch, yolo_nanfix
from make_datasets import make_dataset

root = pathlib.Path(tempfile.mkdtemp(dir="."))
data = make_dataset(root / "set", n_train=4, n_val=2, size=(64, 64), seed=1)

def widen(trainer):
    for model in (trainer.model, trainer.ema.ema):
        block = model.model[1]
        with torch.no_grad():
            block.conv.weight.mul_(4096); block.bn.running_mean.mul_(4096); block.bn.running_var.mul_(4096.0**2)

class Leave(Exception): pass
def leave(trainer): raise Leave

with lab.bare(), yolo_nanfix.patched("checkpoint-half-overflow", guard=False):
    from ultralytics import YOLO
    first = lab.train(data, root / "run", epochs=2, callbacks={"on_train_epoch_end": widen, "on_model_save": leave})
    assert isinstance(first.error, Leave), first.error
    last = first.trainer.last
    out = {"wide": [k for k, v in lab.checkpoint(last).items() if v.dtype == torch.float32]}
    result = lab.Result()
    model = YOLO(last)
    model.add_callback("on_train_end", lambda t: setattr(result, "trainer", t))
    with contextlib.redirect_stdout(io.StringIO()):
        model.train(resume=True)
        out["epochs"] = len(result.rows())
        out["finite"] = lab.not_finite(result.trainer.ema.ema.state_dict().values()) == 0
        out["final"] = [str(v.dtype) for k, v in lab.checkpoint(result.trainer.best).items() if "running_var" in k][1]
        metrics = YOLO(result.trainer.best).val(data=str(data), imgsz=64, batch=2, plots=False, workers=0)
        out["map"] = float(metrics.box.map)
print("\\n" + json.dumps(out))
"""


@pytest.mark.parametrize("release", matrix("8.4.190", "8.4.60"))
def test_mixed_checkpoints_load_validate_and_resume(release):
    """In stock, 8.4.60 skips such a save: "EMA contains NaN/Inf"."""
    out = json.loads(run(release, RUN).splitlines()[-1])
    assert out["wide"] == ["model.1.bn.running_var"]
    assert (out["epochs"], out["finite"], out["final"]) == (2, True, "torch.float32")
    assert 0.0 <= out["map"] <= 1.0
