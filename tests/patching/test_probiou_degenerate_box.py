"""The ProbIoU patch in the real loss of oriented boxes, in its assigner, and in a release without the floor."""

from __future__ import annotations

import pytest
import torch
from ultralytics.utils import loss, metrics, tal

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "probiou-degenerate-box"


ANGLES = torch.linspace(0, 3.14, 200)


def turned(width, height):
    """The same box at every angle, shape (200, 5)."""
    same = torch.tensor([10.0, 10.0, width, height]).expand(len(ANGLES), 4)
    return torch.cat((same, ANGLES[:, None]), 1)


def loss_and_gradient(predicted, target):
    """box_loss of matched pairs in grid cells, through upstream's own loss, and the gradient of each prediction."""
    predicted, count = predicted[None].clone().requires_grad_(True), len(predicted)
    anchors, scores = torch.full((count, 2), 10.0), torch.ones(1, count, 1)
    box_loss, _ = loss.RotatedBboxLoss(16)(
        torch.zeros(1, count, 64),
        predicted,
        anchors,
        target[None],
        scores,
        scores.sum(),
        scores[..., 0] > 0,
        torch.tensor([96.0, 96.0]),
        torch.ones(count, 1),
    )
    box_loss.backward()
    return box_loss.detach(), predicted.grad[0]


def test_very_long_predictions_have_a_finite_loss_and_nan_gradients_in_stock_and_finite_ones_in_ours():
    predicted, target = turned(2000.0, 0.0), turned(2000.0, 3.0)
    value, gradient = loss_and_gradient(predicted, target)
    assert value.isfinite() and 0.05 < gradient.isnan().any(1).float().mean() < 0.5
    tally.clear()
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradient(predicted, target)
    assert value.isfinite() and gradient.isfinite().all() and gradient.any()
    assert tally.read() == {NAME: len(ANGLES)}


def test_the_assigner_sees_nan_for_very_long_boxes_in_stock_and_numbers_in_ours():
    assigner = tal.RotatedTaskAlignedAssigner(topk=10, num_classes=1)
    boxes = turned(20000.0, 2.0)
    assert assigner.iou_calculation(boxes, boxes).isnan().float().mean() > 0.05
    with yolo_nanfix.patched(NAME):
        assert assigner.iou_calculation(boxes, boxes).min() > 0.8


def test_ordinary_pairs_of_the_loss_are_bit_identical_and_not_counted():
    pair = turned(4.0, 1.0), turned(5.0, 1.5) + 0.1
    expected = loss_and_gradient(*pair)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours = loss_and_gradient(*pair)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert tally.read() == {}


def test_every_way_to_give_the_arguments_comes_out_as_from_stock():
    a, b = torch.rand(5, 5) + 1, torch.rand(5, 5) + 1
    calls = [
        lambda: metrics.probiou(a, b),
        lambda: metrics.probiou(obb1=a, obb2=b, CIoU=True),
        lambda: metrics.probiou(a, b, False, 1e-7, 0.01),
        lambda: metrics.probiou(a, b, floor=0.01, eps=1e-6),
        lambda: metrics.probiou(a[:0], b[:0]),
    ]
    expected = [call() for call in calls]
    with yolo_nanfix.patched(NAME):
        assert all(torch.equal(call(), value) for call, value in zip(calls, expected, strict=True))


def test_under_float16_autocast_large_boxes_keep_their_overlap():
    box = torch.tensor([[300.0, 300, 400, 260, 0.3]]).half()
    with torch.autocast("cpu", dtype=torch.float16):
        assert not metrics.probiou(box, box).isfinite().all()
        with yolo_nanfix.patched(NAME):
            assert metrics.probiou(box, box).item() == pytest.approx(1, abs=1e-3)
