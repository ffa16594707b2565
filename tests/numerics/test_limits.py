"""Twins on both sides of each limit of the stabilised losses: under it every bit stays, over it a value is moved."""

from __future__ import annotations

import pytest
import torch

from yolo_nanfix.numerics import keypoint_loss
from yolo_nanfix.numerics.iou import COORDINATE_LIMIT, regular_boxes, regular_rboxes
from yolo_nanfix.numerics.keypoint_loss import area_not_negative, positive_sigma, positive_sigmas
from yolo_nanfix.numerics.precision import bounded

HALF = torch.float16
FULL = torch.float32


def corners(box, dtype=FULL):
    return regular_boxes(torch.tensor([box], dtype=dtype), torch.tensor([[0.0, 0, 9, 9]]), xywh=False)[0][0].tolist()


def centred(box, dtype=FULL):
    return regular_boxes(torch.tensor([box], dtype=dtype), torch.tensor([[5.0, 5, 9, 9]]), xywh=True)[0][0].tolist()


@pytest.mark.parametrize("sign", [1, -1])
def test_box_coordinates_up_to_ten_million(sign):
    values = torch.tensor([sign * 1e7, sign * 1.1e7, sign * 0.9e7])
    assert bounded(values, COORDINATE_LIMIT)[0].tolist() == [sign * 1e7, sign * 1e7, sign * 0.9e7]


@pytest.mark.parametrize(("name", "largest"), [("COORDINATE_LIMIT", 1e7), ("RLE_LIMIT", 1e30)])
def test_coordinates_and_likelihoods_of_keypoints_up_to_their_limits(name, largest):
    values = torch.tensor([largest, -1.1 * largest, 0.9 * largest])
    kept = bounded(values, getattr(keypoint_loss, name))[0]
    assert kept.tolist() == pytest.approx([largest, -largest, 0.9 * largest])


def test_a_regular_box_beyond_the_limit_is_moved_to_it():
    assert corners([0, 0, 4, 1e7]) == [0, 0, 4, 1e7]
    assert corners([0, 0, 4, 1.1e7]) == [0, 0, 4, 1e7]


def test_the_smallest_sides_of_boxes_in_half_precision():
    assert corners([0, 0, 2.0**-10, 4], HALF)[2] == 2.0**-10
    assert corners([0, 0, 0.75 * 2.0**-10, 4], HALF)[2] == 2.0**-10
    assert corners([0, 0, 1.5 * 2.0**-10, 4], HALF)[2] == 1.5 * 2.0**-10
    assert centred([0, 0, 0.75 * 2.0**-14, 0.5], HALF)[2] == 2.0**-14
    assert centred([0, 0, 1.5 * 2.0**-14, 0.5], HALF)[2] == 1.5 * 2.0**-14


def test_a_side_survives_the_rounding_of_its_corners():
    """Of a centre at 1024 a side is at least 1024 / 2**20, a thousandth."""
    assert centred([1024, 5, 2.0**-10, 4], HALF)[2] == 2.0**-10
    assert centred([1024, 5, 0.75 * 2.0**-10, 4], HALF)[2] == 2.0**-10
    assert centred([1024, 5, 1.5 * 2.0**-10, 4], HALF)[2] == 1.5 * 2.0**-10


def test_an_inverted_side_as_long_as_the_smallest_stays():
    assert corners([2.0**-10, 0, 0, 4], HALF)[2] == 0
    assert corners([0.75 * 2.0**-10, 0, 0, 4], HALF)[2] == 1.75 * 2.0**-10
    assert centred([0, 0, -(2.0**-14), 0.5], HALF)[2] == -(2.0**-14)
    assert centred([0, 0, -0.75 * 2.0**-14, 0.5], HALF)[2] == 2.0**-14


@pytest.mark.parametrize(("side", "same"), [(1.5e-6, True), (0.7e-6, False)])
def test_boxes_whose_sides_are_longer_than_a_millionth_are_the_very_same(side, same):
    box, target = torch.tensor([[0.0, 0, side, side]]), torch.tensor([[0.0, 0, 9, 9]])
    assert (regular_boxes(box, target, xywh=False)[0] is box) is same


@pytest.mark.parametrize(("values", "same"), [((-2.0, 2.0), True), ((-2.0, 2.5), False), ((-2.5, 2.0), False)])
def test_values_up_to_the_limit_are_the_very_same(values, same):
    given = torch.tensor(values)
    assert (bounded(given, 2.0)[0] is given) is same


@pytest.mark.parametrize(
    ("sides", "same"), [((1e-3, 1e-3), True), ((0.9e-3, 1e-3), False), ((1000.0, 1.0), True), ((1000.5, 1.0), False)]
)
def test_rotated_boxes_within_the_limits_are_the_very_same(sides, same):
    box = torch.tensor([[5.0, 5.0, *sides, 0.3]], dtype=torch.float64)
    assert (regular_rboxes(box)[0] is box) is same


@pytest.mark.parametrize(("floor", "side"), [(0.75, 4.0), (0.74, 5.0)])
def test_the_variance_that_upstream_adds_counts_as_part_of_a_side(floor, side):
    """12 * 0.75 is 9: with it a side of 4 is as long as one of 5, a thousandth of the other one."""
    long = (5000.0**2 - 12 * floor) ** 0.5
    box, moved = regular_rboxes(torch.tensor([[5.0, 5.0, long, 4.0, 0.3]], dtype=torch.float64), floor)
    assert (float(box[0, 3]), bool(moved.any())) == (side, side > 4.0)


@pytest.mark.parametrize(("height", "becomes"), [(0.0, 1e-7), (0.7e-10, 1e-7), (1.4e-10, 1.4e-10), (-0.7e-10, 1e-7)])
def test_heights_within_a_ten_billionth_of_zero_become_eps(height, becomes):
    assert centred([5, 5, 4, height])[3] == pytest.approx(becomes, rel=1e-6)


def rbox(w, h, x=5.0, dtype=FULL):
    box, moved = regular_rboxes(torch.tensor([[x, 5, w, h, 0.3]], dtype=dtype))
    return box[0, 0].item(), box[0, 2].item(), box[0, 3].item(), bool(moved.any())


@pytest.mark.parametrize("sign", [1, -1])
def test_centres_of_rotated_boxes_up_to_a_hundred_thousand(sign):
    assert rbox(4, 4, x=sign * 1e5) == (sign * 1e5, 4, 4, False)
    assert rbox(4, 4, x=sign * 1.1e5) == (sign * 1e5, 4, 4, True)
    assert rbox(1.1e5, 1e5) == (5, 1e5, 1e5, True)


@pytest.mark.parametrize(("dtype", "least"), [(FULL, 1e-3), (HALF, 4e-3)])
def test_the_shortest_side_of_rotated_boxes(dtype, least):
    """Both sides are short, so that their ratio does not count."""
    _, w, h, moved = rbox(1.2 * least, 1.4 * least, dtype=dtype)
    assert not moved
    assert (w, h) == (pytest.approx(1.2 * least, rel=1e-2), pytest.approx(1.4 * least, rel=1e-2))
    _, w, h, moved = rbox(0.8 * least, 1.4 * least, dtype=dtype)
    assert moved
    assert (w, h) == (pytest.approx(least), pytest.approx(1.4 * least, rel=1e-2))


@pytest.mark.parametrize(("dtype", "ratio"), [(FULL, 1000), (HALF, 500)])
def test_the_largest_ratio_of_the_sides_of_rotated_boxes(dtype, ratio):
    long = 8.0 * ratio / 8
    assert rbox(long, 1.0, dtype=dtype) == (5, long, 1, False)
    _, w, h, moved = rbox(long, 0.875, dtype=dtype)
    assert moved
    assert (w, h) == (long, 1)


def test_keypoint_constants_and_areas():
    sigmas, moved = positive_sigmas(torch.tensor([1e-6, 0.7e-6, -0.7e-6, 1.4e-6, -1.4e-6]))
    assert sigmas.tolist() == pytest.approx([1e-6, 1e-6, 1e-6, 1.4e-6, -1.4e-6])
    assert moved.tolist() == [False, True, True, False, False]
    for half, least in ((False, 0.0), (True, 1e-6)):
        areas, moved = area_not_negative(torch.tensor([[least], [least - 1e-7], [least + 4e-7]]), half)
        assert areas[:, 0].tolist() == pytest.approx([least, least, least + 4e-7], abs=1e-9)
        assert moved[:, 0].tolist() == [False, True, False]


def test_deviations():
    sigma, moved = positive_sigma(torch.tensor([[1e-9, 0.7e-9, 1.4e-9]]))
    assert sigma[0].tolist() == pytest.approx([1e-9, 1e-9, 1.4e-9], rel=1e-5)
    assert moved.tolist() == [[False, True, False]]
