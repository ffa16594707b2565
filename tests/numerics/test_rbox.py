"""The stabilised ProbIoU: finite for every finite rotated box, equal to stock on healthy ones, NaN never hidden."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.metrics import probiou as stock

from yolo_nanfix.numerics.iou import LARGEST_ASPECT, SHORTEST_SIDE, regular_rboxes

KINDS = ({}, {"CIoU": True}, {"floor": 0.01})


def ours(a, b, **kind):
    return stock(regular_rboxes(a, kind.get("floor", 0.0))[0], regular_rboxes(b, kind.get("floor", 0.0))[0], **kind)


def value_and_gradients(function, a, b, kind):
    leaves = a.clone().requires_grad_(True), b.clone().requires_grad_(True)
    value = function(*leaves, **kind)
    return value.detach(), torch.autograd.grad(value.sum(), leaves)


anything = st.floats(width=32, allow_nan=False, allow_infinity=False)
telling = st.sampled_from([0.0, -0.0, 1.0, 1e-3, 1e-7, 1e-20, 1e-45, 0.05, 2.0, 640.0, 2e4, 1e5, 1e20, -1e38, 3e38])
number = st.one_of(anything, telling, st.floats(-1000, 1000, width=32))
angle = st.one_of(anything, st.sampled_from([0.0, math.pi / 4, math.pi / 2, 0.3, 1e-8]))
box = st.tuples(number, number, number, number, angle)


@settings(max_examples=200, deadline=None)
@given(box, box, st.booleans(), st.sampled_from(KINDS), st.sampled_from((torch.float32, torch.float16, torch.bfloat16)))
def test_value_and_gradient_are_finite_for_every_finite_box(a, b, same_place, kind, dtype):
    """Also for boxes that lie on each other, as predictions do that have been learnt."""
    predicted, target = torch.tensor([a]).to(dtype), torch.tensor([b])
    if same_place:
        target = torch.cat((predicted[:, :2].float(), target[:, 2:]), 1)
    if predicted.isfinite().all():  # else the number does not exist in this dtype
        value, gradients = value_and_gradients(ours, predicted, target, kind)
        assert value.isfinite().all(), (value, predicted, target)
        assert all(g.isfinite().all() for g in gradients), (gradients, predicted, target)


def healthy(count=500):
    random = torch.Generator().manual_seed(0)
    centre, side = torch.rand(count, 2, generator=random) * 600, torch.rand(count, 2, generator=random) * 300 + 1
    target = torch.cat((centre, side, torch.rand(count, 1, generator=random) * 3), 1)
    return target + torch.rand(count, 5, generator=random), target


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: next(iter(k), "plain"))
@pytest.mark.parametrize("company", ("all-healthy", "one-degenerate"))
def test_healthy_boxes_are_bit_identical_to_stock_and_not_counted(company, kind):
    """Also beside a degenerate box, which takes the whole call through every operation, as on a GPU."""
    predicted, target = healthy()
    expected, expected_gradients = value_and_gradients(stock, predicted, target, kind)
    if company == "one-degenerate":
        predicted, target = (torch.cat((boxes, torch.zeros(1, 5))) for boxes in (predicted, target))
    value, gradients = value_and_gradients(ours, predicted, target, kind)
    assert torch.equal(value[:500], expected)
    assert all(torch.equal(a[:500], b) for a, b in zip(gradients, expected_gradients, strict=True))
    assert regular_rboxes(predicted)[1].sum() == len(predicted) - 500


def test_a_floor_of_upstream_spares_thin_boxes_that_are_regular_with_it():
    thin = torch.tensor([[10.0, 10.0, 300.0, 0.0, 0.3]])
    assert regular_rboxes(thin)[1].all()
    kept, moved = regular_rboxes(thin, 0.01)
    assert torch.equal(kept, thin) and not moved.any()


def test_only_the_short_side_is_moved_and_keeps_its_sign():
    boxes = torch.tensor([[1.0, 2, 4, 0, 0.5], [1, 2, -5000, 2, 0.5], [1, 2, 3, 4, 0.5]])
    regular, moved = regular_rboxes(boxes)
    assert moved.tolist() == [True, True, False]
    assert torch.equal(regular[0], torch.tensor([1.0, 2, 4, 4 / LARGEST_ASPECT[False], 0.5]))
    assert torch.equal(regular[1], torch.tensor([1.0, 2, -5000, 5, 0.5]))
    assert regular_rboxes(torch.zeros(1, 5))[0][0, 2] == SHORTEST_SIDE[False]


@pytest.mark.parametrize("bad", (float("nan"), float("inf"), float("-inf")))
@pytest.mark.parametrize("column", range(5))
def test_a_box_that_is_not_finite_stays_visible_and_is_not_counted(column, bad):
    good, faulty = torch.tensor([[5.0, 5, 4, 2, 0.3]]), torch.tensor([[5.0, 5, 4, 2, 0.3]])
    faulty[0, column] = bad
    assert ours(faulty, good).isnan().all()
    assert not regular_rboxes(faulty)[1].any()
