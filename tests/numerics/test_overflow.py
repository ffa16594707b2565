"""A real model that overflows in float16 only, and one that does not. On the CPU, under its float16 autocast."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from yolo_nanfix.numerics.precision import overflow_in_half

SHAPE = (2, 3, 64, 64)


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    made.model[0].eval()  # as a frozen layer may be
    return made


def overflowing(model, name="4"):
    """Scale one convolution up and its BatchNorm's variance with it: the same function, past float16 in between."""
    block = model.model[int(name)].cv1
    with torch.no_grad():
        block.conv.weight.mul_(1e7)
        block.bn.running_var.mul_(1e14)
    return model


def test_a_healthy_model_passes(model):
    assert overflow_in_half(model, SHAPE, torch.float16) is None


def test_the_module_that_overflows_in_float16_only_is_named(model):
    faulty = overflowing(model)
    with torch.no_grad():
        exact = faulty.eval()(torch.rand(SHAPE))[0]
    assert exact.isfinite().all()
    assert overflow_in_half(faulty, SHAPE, torch.float16) == "model.4.cv1.conv"
    assert overflow_in_half(faulty, SHAPE, torch.bfloat16) is None


def test_a_model_that_is_faulty_in_float32_already_is_not_blamed_on_float16(model):
    with torch.no_grad():
        model.model[4].cv1.conv.weight.fill_(float("nan"))
    assert overflow_in_half(model, SHAPE, torch.float16) is None


def test_model_flags_gradients_and_random_state_are_untouched(model):
    overflowing(model).train()
    model.model[0].eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [m.training for m in model.modules()]
    head = dict(vars(model.model[-1]))
    random = torch.get_rng_state()
    overflow_in_half(model, SHAPE, torch.float16)
    assert [m.training for m in model.modules()] == flags
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())
    now = vars(model.model[-1])
    assert now.keys() == head.keys() and all(now[k] is head[k] for k in head)
    assert torch.equal(torch.get_rng_state(), random)


def test_products_between_modules_are_seen_in_what_follows():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.first(x).flatten(2) * 1e4
            return self.last((x @ x.transpose(1, 2)).softmax(2)[..., None])

    torch.manual_seed(0)
    assert overflow_in_half(Attention(), (1, 3, 8, 8), torch.float16) == "last"
