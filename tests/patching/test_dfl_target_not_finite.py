"""The DFL patch on the loss of the installed release, and in a real training step with a NaN box."""

from __future__ import annotations

import pytest
import torch
from ultralytics.utils.loss import BboxLoss, DFLoss

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "dfl-target-not-finite"
BINS = 16


def loss_and_gradient(target, dtype=torch.float32):
    logits = torch.randn(4 * len(target), BINS, generator=torch.Generator().manual_seed(0)).to(dtype)
    leaf = logits.requires_grad_(True)
    value = DFLoss(BINS)(leaf, target)
    value.sum().backward()
    return value.detach(), leaf.grad


@pytest.mark.parametrize("bad", (float("nan"), float("inf"), float("-inf")))
def test_a_target_that_is_not_finite_makes_its_own_row_nan_and_no_other(bad):
    target = torch.tensor([[1.0, bad, 2, 3], [1, 2, 3, 4]])
    if bad != bad:
        with pytest.raises(RuntimeError, match="index"):
            loss_and_gradient(target.clone())
    else:
        assert loss_and_gradient(target.clone())[0].isfinite().all()  # stock hides it
    expected, expected_gradient = loss_and_gradient(torch.tensor([[1.0, 5, 2, 3], [1, 2, 3, 4]]))
    tally.clear()
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradient(target.clone())
    assert value[0].isnan() and gradient[:4].isnan().all()
    assert torch.equal(value[1], expected[1]) and torch.equal(gradient[4:], expected_gradient[4:])
    assert tally.read() == {NAME: 1}


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_the_largest_target_of_bfloat16_has_no_right_bin_in_stock_but_has_one_in_ours(dtype):
    target = torch.full((2, 4), 14.99).bfloat16()
    with pytest.raises(RuntimeError, match="index"):
        loss_and_gradient(target.clone(), dtype)
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradient(target.clone(), dtype)
    assert value.isfinite().all() and gradient.isfinite().all()


def test_healthy_targets_are_bit_identical_and_not_counted():
    target = torch.rand(64, 4, generator=torch.Generator().manual_seed(1)) * 20 - 2
    stock_target, our_target = target.clone(), target.clone()
    expected = loss_and_gradient(stock_target)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours = loss_and_gradient(our_target)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert torch.equal(our_target, stock_target) and not torch.equal(our_target, target)  # limited in place
    assert tally.read() == {}


def test_no_positives_at_all_come_out_as_from_stock():
    expected = DFLoss(BINS)(torch.zeros(0, BINS), torch.zeros(0, 4))
    with yolo_nanfix.patched(NAME):
        ours = DFLoss(BINS)(torch.zeros(0, BINS), torch.zeros(0, 4))
    assert ours.shape == expected.shape == (0, 1)


def box_losses(target):
    """The whole box loss of two matched anchors."""
    random = torch.Generator().manual_seed(0)
    dist = torch.randn(1, 2, 4 * BINS, generator=random, requires_grad=True)
    boxes = torch.tensor([[[1.0, 1, 5, 5], [2, 2, 6, 6]]])
    scores = torch.ones(1, 2, 1)
    losses = BboxLoss(BINS)(
        dist,
        boxes,
        torch.tensor([[3.0, 3.0], [4.0, 4.0]]),
        target,
        scores,
        scores.sum(),
        scores[..., 0] > 0,
        torch.tensor([96.0, 96.0]),
        torch.ones(2, 1),
    )
    losses[1].backward()
    return losses[1].detach(), dist.grad


def test_the_box_loss_of_a_nan_box_raises_in_stock_and_is_nan_in_ours():
    target = torch.tensor([[[1.0, 1, 5, 5], [2, 2, 6, float("nan")]]])
    with pytest.raises(RuntimeError, match="index"):
        box_losses(target)
    with yolo_nanfix.patched(NAME):
        value, gradient = box_losses(target)
    assert value.isnan() and gradient.isnan().any()


def test_the_box_loss_of_healthy_boxes_is_bit_identical():
    target = torch.tensor([[[1.0, 1, 5, 5.5], [2, 2, 60, 6]]])
    expected = box_losses(target)
    with yolo_nanfix.patched(NAME):
        ours = box_losses(target)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
