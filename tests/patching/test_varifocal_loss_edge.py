"""The varifocal patch on the loss of the installed release and in RT-DETR's class loss."""

from __future__ import annotations

import pytest
import torch
from ultralytics.models.utils.loss import DETRLoss
from ultralytics.utils.loss import VarifocalLoss

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "varifocal-loss-edge"


def loss_and_gradient(logits, gamma=2.0):
    leaf = logits.clone().requires_grad_(True)
    label = (torch.arange(logits.shape[-1]) % 4 == 0).expand(logits.shape).to(torch.int64)
    value = VarifocalLoss(gamma)(leaf, label * 0.8, label)
    value.backward()
    return value.detach(), leaf.grad


@pytest.mark.parametrize(("logit", "dtype"), [(-200.0, torch.float32), (-20.0, torch.float16)])
def test_a_small_gamma_gives_a_nan_gradient_in_stock_and_a_finite_one_in_ours(logit, dtype):
    logits = torch.tensor([[[1.0, logit, 0.5, -3.0]]], dtype=dtype)
    value, gradient = loss_and_gradient(logits, 0.5)
    assert value.isfinite() and gradient.isnan().any()
    tally.clear()
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradient(logits, 0.5)
    assert value.isfinite() and gradient.isfinite().all()
    assert tally.read() == ({NAME: 1} if dtype is torch.float32 else {})


def test_huge_logits_add_up_to_infinity_in_stock_and_to_a_number_in_ours():
    logits = torch.full((1, 8, 4), 3e38)
    assert loss_and_gradient(logits)[0].isinf()
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradient(logits)
    assert value.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("gamma", (0.5, 1.5, 2.0))
def test_healthy_logits_are_bit_identical_and_not_counted(gamma):
    logits = torch.randn(2, 300, 8, generator=torch.Generator().manual_seed(0)) * 8
    expected = loss_and_gradient(logits, gamma)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours = loss_and_gradient(logits, gamma)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert tally.read() == {}


def test_the_class_loss_of_rtdetr_is_bit_identical():
    def class_loss():
        random = torch.Generator().manual_seed(0)
        scores = torch.randn(1, 10, 5, generator=random, requires_grad=True)
        targets = torch.randint(0, 6, (1, 10), generator=random)
        loss = DETRLoss(nc=5, use_vfl=True)._get_loss_class(scores, targets, torch.rand(1, 10, generator=random), 4)
        loss["loss_class"].backward()
        return loss["loss_class"].detach(), scores.grad

    expected = class_loss()
    with yolo_nanfix.patched(NAME):
        ours = class_loss()
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
