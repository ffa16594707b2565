"""The stabilised box IoU: finite for every finite box, equal to stock on healthy ones, NaN never hidden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.metrics import bbox_iou as stock

from yolo_nanfix.numerics.iou import COORDINATE_LIMIT, regular_boxes
from yolo_nanfix.numerics.precision import bounded

HALF = (torch.float16, torch.bfloat16)
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


@settings(max_examples=400, deadline=None)
@given(boxes, boxes, st.sampled_from(KINDS), st.booleans())
def test_value_and_gradient_are_finite_for_every_finite_float32_box(a, b, kind, xywh):
    box1, box2 = torch.tensor([a]), torch.tensor([b])
    value, gradient = value_and_gradient(ours, box1, box2, xywh, kind)
    assert value.isfinite().all(), (value, box1, box2)
    assert gradient.isfinite().all(), (gradient, box1, box2)


side = st.one_of(st.floats(0, 5000, width=32), st.sampled_from([0.0, 1e-7, 1e-4, 0.06, 1.0]))
corner = st.floats(-5000, 5000, width=32)


@settings(max_examples=400, deadline=None)
@given(
    st.tuples(corner, corner, side, side),
    st.tuples(corner, corner, side, side),
    st.sampled_from(KINDS),
    st.sampled_from(HALF),
    st.booleans(),
)
def test_no_box_that_can_be_is_infinite_in_half_precision(a, b, kind, dtype, xywh):
    """Any corner, any side from 0 up, as float16 predictions against float32 targets: no Inf, no NaN."""
    predicted, target = (box if xywh else (*box[:2], box[0] + box[2], box[1] + box[3]) for box in (a, b))
    box1, box2 = torch.tensor([predicted]).to(dtype), torch.tensor([target])
    value, gradient = value_and_gradient(ours, box1, box2, xywh, kind)
    assert value.isfinite().all(), (value, box1, box2)
    assert gradient.isfinite().all(), (gradient, box1, box2)


@settings(max_examples=200, deadline=None)
@given(boxes, boxes, st.sampled_from(KINDS), st.sampled_from(HALF), st.booleans())
def test_a_half_precision_box_never_gives_nan(a, b, kind, dtype, xywh):
    """Inverted boxes may have gradients past 65 504: Inf then, which a GradScaler knows how to read."""
    box1, box2 = torch.tensor([a]).to(dtype), torch.tensor([b]).to(dtype)
    if box1.isfinite().all() and box2.isfinite().all():  # else the number does not exist in this dtype
        value, gradient = value_and_gradient(ours, box1, box2, xywh, kind)
        assert value.isfinite().all() and not gradient.isnan().any(), (value, gradient, box1, box2)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: next(iter(k), "IoU"))
@pytest.mark.parametrize("xywh", (False, True))
@pytest.mark.parametrize("company", ("all-healthy", "one-degenerate"))
def test_healthy_boxes_are_bit_identical_to_stock(company, xywh, kind):
    """Also beside a degenerate box, which takes the whole call through every formula, as on a GPU."""
    random = torch.Generator().manual_seed(0)
    corner, size = torch.rand(500, 2, generator=random) * 600, torch.rand(500, 2, generator=random) * 300 + 1
    target = torch.cat((corner, size if xywh else corner + size), 1)
    predicted = target + torch.rand(500, 4, generator=random)
    expected, expected_gradient = value_and_gradient(stock, predicted, target, xywh, kind)
    if company == "one-degenerate":
        predicted = torch.cat((predicted, torch.zeros(1, 4)))
        target = torch.cat((target, torch.zeros(1, 4)))
    value, gradient = value_and_gradient(ours, predicted, target, xywh, kind)
    assert torch.equal(value[:500], expected)
    assert torch.equal(gradient[:500], expected_gradient)


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
    assert bounded(box, COORDINATE_LIMIT)[0].isnan().any()
    assert not ours(box, torch.tensor([[0.0, 0, 4, 4]]), False, CIoU=True).isfinite().all()
