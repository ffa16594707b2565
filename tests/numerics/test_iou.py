"""The stabilised box IoU: finite for every finite box, equal to stock on healthy ones, NaN never hidden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.metrics import bbox_iou as stock

from yolo_nanfix.numerics.iou import full_precision, regular_boxes

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
KINDS = ({}, {"GIoU": True}, {"DIoU": True}, {"CIoU": True})


def ours(box1, box2, xywh, **kind):
    a, b = regular_boxes(box1, box2, xywh=xywh)
    return stock(a, b, xywh=xywh, **kind)


def value_and_gradient(function, box1, box2, xywh, kind):
    leaf = box1.clone().requires_grad_(True)
    value = function(leaf, box2, xywh, **kind)
    value.sum().backward()
    return value.detach(), leaf.grad


anything = st.floats(width=32, allow_nan=False, allow_infinity=False)
small = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-7, -1e-7, 2.0, 3.0, 1e-30, 65504.0, 1e20])
boxes = st.lists(st.one_of(anything, small, st.floats(-10, 10, width=32)), min_size=4, max_size=4)


@settings(max_examples=300, deadline=None)
@given(boxes, boxes, st.sampled_from(KINDS), st.sampled_from(DTYPES))
def test_finite_for_every_finite_box_by_corners(a, b, kind, dtype):
    _is_finite(a, b, False, kind, dtype)


@settings(max_examples=300, deadline=None)
@given(boxes, boxes, st.sampled_from(KINDS), st.sampled_from(DTYPES))
def test_finite_for_every_finite_box_by_centre(a, b, kind, dtype):
    _is_finite(a, b, True, kind, dtype)


def _is_finite(a, b, xywh, kind, dtype):
    box1, box2 = torch.tensor([a]).to(dtype), torch.tensor([b]).to(dtype)
    if not (box1.isfinite().all() and box2.isfinite().all()):
        return  # the number does not exist in this dtype
    value, gradient = value_and_gradient(ours, box1, box2, xywh, kind)
    exact, exact_gradient = value_and_gradient(ours, box1.float(), box2, xywh, kind)
    assert value.isfinite().all() and torch.equal(value, exact), (value, box1, box2)
    assert exact_gradient.isfinite().all(), (exact_gradient, box1, box2)
    assert torch.equal(gradient, exact_gradient.to(dtype))  # past 65 504 it is Inf, which tells a GradScaler


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: next(iter(k), "IoU"))
@pytest.mark.parametrize("xywh", (False, True))
def test_healthy_boxes_are_bit_identical_to_stock(xywh, kind):
    random = torch.Generator().manual_seed(0)
    corner, size = torch.rand(500, 2, generator=random) * 600, torch.rand(500, 2, generator=random) * 300 + 1
    target = torch.cat((corner, size if xywh else corner + size), 1)
    predicted = target + torch.rand(500, 4, generator=random)
    value, gradient = value_and_gradient(ours, predicted, target, xywh, kind)
    expected, expected_gradient = value_and_gradient(stock, predicted, target, xywh, kind)
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)


def test_a_side_that_rounds_to_zero_has_a_nan_gradient_in_stock_float16_but_not_in_ours():
    predicted = torch.tensor([[200.0, 200.5, 201.0, 200.5]], dtype=torch.float16)
    target = torch.tensor([[199.9, 200.45, 201.1, 200.55]])
    _, broken = value_and_gradient(stock, predicted, target, False, {"CIoU": True})
    value, gradient = value_and_gradient(ours, predicted, target, False, {"CIoU": True})
    assert not broken.isfinite().all()
    assert gradient.isfinite().all() and gradient.abs().sum() > 0
    assert value.isfinite().all()


def test_an_area_beyond_float16_has_iou_zero_in_stock_but_the_true_one_in_ours():
    box = torch.tensor([[0.0, 0, 300, 300]], dtype=torch.float16)
    assert stock(box, box.float(), xywh=False, CIoU=True).item() < 0.5
    assert ours(box, box.float(), False, CIoU=True).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("bad", (float("nan"), float("inf"), float("-inf")))
def test_a_box_that_is_not_finite_stays_visible(bad):
    box = torch.tensor([[0.0, 0, bad, 4]])
    assert full_precision(box).isnan().any()
    assert not ours(box, torch.tensor([[0.0, 0, 4, 4]]), False, CIoU=True).isfinite().all()
