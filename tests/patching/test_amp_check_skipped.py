"""The AMP check of the very model that will train. It runs on CUDA; here the CPU's float16 autocast stands in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import checks

import yolo_nanfix
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fixes import half_precision

pytestmark = pytest.mark.usefixtures("unpatched")


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    made.args = get_cfg(overrides={"imgsz": 64, "batch": 2})
    return made


@pytest.fixture
def on_cpu(monkeypatch):
    monkeypatch.setattr(half_precision, "CHECKED", ("cpu",))


def overflow(model):
    """The same function in float32, past float16 inside one block."""
    block = model.model[4].cv1
    with torch.no_grad():
        block.conv.weight.mul_(1e7)
        block.bn.running_var.mul_(1e14)
    return model


def check(model, upstream=True):
    """What the patch makes of upstream's answer."""
    return half_precision.FIXES["amp-check-skipped"].wrapper({})(lambda model: upstream, None, (model,), {})


def test_offline_stock_skips_its_check_and_allows_amp_for_any_model(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA Unknown")
    on_cuda = SimpleNamespace(parameters=lambda: iter([SimpleNamespace(device=torch.device("cuda", 0))]))
    assert checks.check_amp(on_cuda) is True


def test_a_model_that_overflows_in_float16_turns_amp_off_and_is_named(model, on_cpu, monkeypatch):
    lines = []
    monkeypatch.setattr(half_precision.upstream, "log", lines.append)
    assert overflow(model).eval()(torch.rand(1, 3, 64, 64))[0].isfinite().all()
    tally.clear()
    assert check(model) is False
    assert tally.read() == {"amp-check-skipped": 1}
    assert len(lines) == 1 and "model.4.cv1.conv" in lines[0]


def test_a_healthy_model_keeps_amp(model, on_cpu):
    tally.clear()
    random = torch.get_rng_state()
    assert check(model) is True
    assert check(model, upstream=False) is False
    assert tally.read() == {} and torch.equal(torch.get_rng_state(), random)


def test_a_model_that_cannot_be_run_so_leaves_the_word_to_upstream(model, on_cpu, monkeypatch):
    lines = []
    monkeypatch.setattr(half_precision.upstream, "log", lines.append)
    model.forward = lambda *args: model.missing
    assert check(model) is True
    assert "could not run (AttributeError" in lines[0]


def test_it_runs_on_cuda_only(model):
    assert half_precision.CHECKED == ("cuda",)
    assert check(overflow(model)) is True


def test_the_image_has_the_trained_size_rounded_to_the_stride(model):
    model.args = get_cfg(overrides={"imgsz": 100, "batch": -1})
    assert half_precision.image_batch(model) == (8, 3, 128, 128)
    model.args = get_cfg(overrides={"imgsz": 64, "batch": 2})
    assert half_precision.image_batch(model) == (2, 3, 64, 64)


def test_the_answer_on_the_cpu_is_that_of_stock(model):
    from ultralytics.engine import trainer

    stock = trainer.check_amp(model)
    with yolo_nanfix.patched("amp-check-skipped"):
        assert trainer.check_amp is checks.check_amp
        assert trainer.check_amp(model) is stock is False
