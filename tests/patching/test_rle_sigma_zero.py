"""The RLE patch on the loss of the installed release; what it does inside a pose model's loss is tested in 8.4.60."""

from __future__ import annotations

import pytest
import torch
from ultralytics.utils.loss import RLELoss

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "rle-sigma-zero"


def loss_and_gradients(logits, settings=None):
    """Sigma as a head predicts it, and the loss clamped at 0 as `calculate_keypoints_loss` does."""
    random = torch.Generator().manual_seed(0)
    leaf = logits.clone().requires_grad_(True)
    log_phi, error = torch.randn(len(logits), generator=random), torch.randn(len(logits), 2, generator=random)
    loss = RLELoss(**(settings or {}))(leaf.sigmoid(), log_phi, error, torch.ones(len(logits)))
    loss.clamp(min=0).backward()
    return loss.detach(), leaf.grad


def test_a_sigma_that_underflows_is_a_nan_gradient_behind_a_finite_loss_in_stock_but_not_in_ours():
    logits = torch.tensor([[-110.0, 0.0], [1.0, 2.0]])
    value, gradient = loss_and_gradients(logits)
    assert value == -torch.inf and gradient.isnan().any()
    tally.clear()
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradients(logits)
    assert value.isfinite() and gradient.isfinite().all()
    assert tally.read() == {NAME: 1}


@pytest.mark.parametrize("settings", ({}, {"residual": False}, {"size_average": False}))
def test_healthy_sigmas_are_bit_identical_and_not_counted(settings):
    logits = torch.randn(64, 2, generator=torch.Generator().manual_seed(1)) * 4
    expected = loss_and_gradients(logits, settings)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours = loss_and_gradients(logits, settings)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert tally.read() == {}


def test_the_weight_may_be_left_out_where_stock_lets_it():
    arguments = torch.full((3, 2), 0.5), torch.ones(3), torch.ones(3, 2)
    expected = RLELoss(use_target_weight=False)(*arguments)
    with yolo_nanfix.patched(NAME):
        assert torch.equal(RLELoss(use_target_weight=False)(*arguments), expected)
