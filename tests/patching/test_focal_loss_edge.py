"""The focal patch on the loss of the installed release and in RT-DETR's class loss."""

from __future__ import annotations

import pytest
import torch
from ultralytics.models.utils.loss import DETRLoss
from ultralytics.utils.loss import FocalLoss

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "focal-loss-edge"


def loss_and_gradient(logits, gamma=1.5, alpha=0.25):
    leaf = logits.clone().requires_grad_(True)
    label = (torch.arange(logits.shape[-1]) % 4 == 0).expand(logits.shape).to(logits.dtype)
    value = FocalLoss(gamma, alpha)(leaf, label)
    value.backward()
    return value.detach(), leaf.grad


@pytest.mark.parametrize(("logit", "dtype"), [(-20.0, torch.float32), (-10.0, torch.float16), (-7.0, torch.bfloat16)])
def test_a_small_gamma_gives_a_nan_gradient_in_stock_and_a_finite_one_in_ours(logit, dtype):
    logits = torch.tensor([[[1.0, logit, 0.5, -3.0]]], dtype=dtype)
    value, gradient = loss_and_gradient(logits, 0.5)
    assert value.isfinite() and not gradient.isfinite().all()
    tally.clear()
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradient(logits, 0.5)
    assert value.isfinite() and gradient.isfinite().all()
    assert tally.read() == ({NAME: 1} if dtype is torch.float32 else {})


def test_a_sum_beyond_float16_is_infinite_in_stock_and_a_number_in_ours():
    logits = torch.full((1, 8, 4), 60000.0, dtype=torch.float16)
    assert loss_and_gradient(logits)[0].isinf()
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradient(logits)
    assert value.item() == 3 * 60000 * 0.75  # three wrong classes, the mean of eight equal rows
    assert gradient.isfinite().all()


@pytest.mark.parametrize("gamma", (0.5, 1.0, 1.5))
@pytest.mark.parametrize("alpha", (0.25, 0.0))
def test_healthy_logits_are_bit_identical_and_not_counted(gamma, alpha):
    logits = (torch.randn(2, 300, 8, generator=torch.Generator().manual_seed(0)) * 4).clamp(-14, 14)
    expected = loss_and_gradient(logits, gamma, alpha)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours = loss_and_gradient(logits, gamma, alpha)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert tally.read() == {}


def test_the_class_loss_of_rtdetr_is_bit_identical():
    def class_loss():
        random = torch.Generator().manual_seed(0)
        scores = torch.randn(1, 10, 5, generator=random, requires_grad=True)
        targets = torch.randint(0, 6, (1, 10), generator=random)
        loss = DETRLoss(nc=5, use_vfl=False)._get_loss_class(scores, targets, torch.rand(1, 10, generator=random), 4)
        loss["loss_class"].backward()
        return loss["loss_class"].detach(), scores.grad

    expected = class_loss()
    with yolo_nanfix.patched(NAME):
        ours = class_loss()
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
