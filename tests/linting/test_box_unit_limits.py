"""By what box numbers were divided: each condition on both sides of its limit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from yolo_nanfix.dataset.label_boxes import GRID
from yolo_nanfix.linting.rules import box_units as units
from yolo_nanfix.linting.rules.box_units import Form, Reading, RowBoxes, Scale


def boxes(*rows: tuple[float, ...], size: tuple[int, int] = (100, 50)) -> RowBoxes:
    """Rows x y w h of images of one size."""
    columns = np.array(rows, np.float64).reshape(-1, 4).T
    sides = (np.full(columns.shape[1], float(side)) for side in size)
    return RowBoxes(*columns, *sides, np.zeros(columns.shape[1], np.bool_))


def flags(*parts: tuple[int, bool]) -> np.ndarray:
    return np.repeat([flag for _, flag in parts], [count for count, _ in parts])


@pytest.mark.parametrize(
    ("row", "inside"),
    [
        ((0.5, 0.5, 1.039, 0.1), True),
        ((0.5, 0.5, 1.05, 0.1), False),
        ((0.031, 0.5, 0.1, 0.1), True),
        ((0.02, 0.5, 0.1, 0.1), False),
        ((0.98, 0.5, 0.1, 0.1), False),
        ((0.5, 0.5, 0.0, 0.1), True),
        ((0.5, 0.5, -0.01, 0.1), False),
    ],
)
def test_a_box_lies_inside_but_for_two_percent(row, inside):
    assert boxes(row).inside().tolist() == [inside]


@pytest.mark.parametrize(
    ("width", "box", "known"),
    [
        (1, (0.5, 0.5, 0.1, 0.1), True),
        (0, (0.5, 0.5, 0.1, 0.1), False),
        (1, (0.5, 0.5, 0, 0.1), True),
        (1, (0.5, 0.5, -0.1, 0.1), False),
        (1, (0.5, np.nan, 0.1, 0.1), False),
    ],
)
def test_rows_with_sides_in_images_of_known_size_are_sampled(width, box, known):
    class Table(SimpleNamespace):
        """One row, which can be kept by."""

    one = Table(row_image=np.zeros(1, int), row_box=np.array([box]), width=np.array([width]), height=np.array([1]))
    assert units.sample(one).tolist() == [0] * known


@pytest.mark.parametrize(("usual", "wrong", "contradicted"), [(98, 2, False), (97, 3, True)])
def test_a_fiftieth_of_the_boxes_may_contradict_a_reading(usual, wrong, contradicted):
    rows = boxes(*[(0.2, 0.2, 0.1, 0.1)] * usual, *[(0.9, 0.5, 0.1, 0.1)] * wrong)
    assert units.contradicts(rows, Reading(Scale.HUNDREDTH, Form.CENTRE, 100, 0, 0, (1, 1))) is True
    assert units.contradicts(rows, Reading(Scale.SIZE, Form.CENTRE, 100, 0, 0, (1, 1), (120, 50))) is contradicted


@pytest.mark.parametrize(
    ("out", "usual", "odd_out", "odd_usual", "expected", "told"),
    [
        (5, 5, 0, 0, 1, True),
        (4, 6, 0, 0, 1, False),
        (5, 4, 0, 0, 1, False),
        (9, 21, 0, 0, 30, True),
        (8, 22, 0, 0, 30, False),
        (50, 10, 1, 0, 1, True),
        (49, 10, 1, 0, 1, False),
        (10, 40, 0, 1, 1, True),
        (10, 39, 0, 1, 1, False),
    ],
)
def test_enough_rows_lie_outside_as_they_are_read_and_hardly_one_otherwise(
    out, usual, odd_out, odd_usual, expected, told
):
    """Five rows, three tenths of those expected, of ten that tell; a fiftieth may fit no reading."""
    told_rows = flags((out + usual, True), (odd_out + odd_usual, False))
    inside = flags((out, False), (usual, True), (odd_out, False), (odd_usual, True))
    fits = flags((out + usual, True), (odd_out + odd_usual, False))
    share = np.full(expected, 1.0)
    assert units._contradicts_usual(inside, fits, told_rows, share) is told


@pytest.mark.parametrize(("end", "reaches"), [(0.8, True), (0.79, False)])
def test_boxes_end_in_the_last_fifth_of_the_images_whose_numbers_grow_most(end, reaches):
    """Images whose factor is three fifths of the way to the largest one, or more."""
    assert units._reaches(np.array([0.1, end, 0.9]), np.array([2.0, 1.61, 1.59])) is reaches


@pytest.mark.parametrize(
    ("right", "down", "far"), [(0.8, 0.25, True), (0.79, 0.79, False), (0.9, 0.24, False), (0.25, 0.8, True)]
)
def test_boxes_reach_far_along_one_axis_and_not_too_little_along_the_other(right, down, far):
    assert units._reach_far(boxes((right - 0.125, down - 0.125, 0.25, 0.25))) is far


@pytest.mark.parametrize(
    ("x", "scale"),
    [(0.9 / 100, Scale.TWICE), (1.04 / 100, Scale.TWICE), (1.06 / 100, None), (0.5 / 100, None)],
)
def test_boxes_in_the_first_pixel_were_divided_twice(x, scale):
    """The boxes of images of 100x100 pixels cannot tell it from hundredths."""
    rows = boxes((x - 0.0005, 0.005, 0.001, 0.001), size=(100, 100))
    assert units._small(rows) == (scale if x < 1.02 / 100 else None)


@pytest.mark.parametrize(("end", "small"), [(0.095, True), (0.105, False)])
def test_boxes_that_end_in_the_first_tenth_may_have_been_divided_twice(end, small):
    rows = boxes((end - 0.005, 0.05, 0.01, 0.01), size=(10, 10))
    assert (units._small(rows) is not None) is small


@pytest.mark.parametrize(("largest", "large"), [(2.0, False), (2.1, True)])
def test_a_number_above_two_is_not_normalised(largest, large):
    for column in range(4):
        row = [0.5] * 4
        row[column] = largest
        assert units._large(boxes(tuple(row))).tolist() == [large]


@pytest.mark.parametrize(("good", "bad", "fits"), [(49, 1, True), (48, 1, False)])
def test_hardly_a_number_is_above_one_in_the_right_unit(good, bad, fits):
    assert units._fits(boxes(*[(1.02, 0.5, 0.1, 0.1)] * good, *[(1.03, 0.5, 0.1, 0.1)] * bad)) is fits


@pytest.mark.parametrize(
    ("left", "above", "both", "rows", "enough"),
    [
        (3, 3, 0, 20, True),
        (3, 3, 0, 19, False),
        (3, 2, 0, 20, False),
        (1, 5, 0, 20, False),
        (2, 4, 0, 20, True),
        (0, 4, 2, 20, True),
        (4, 4, 0, 160, True),
        (4, 4, 0, 161, False),
    ],
)
def test_corners_reach_out_to_the_left_and_above(left, above, both, rows, enough):
    """Six rows and a twentieth of all, two on each side, of twenty rows."""
    to_left = flags((left, True), (above, False), (both, True), (rows - left - above - both, False))
    upward = flags((left, False), (above, True), (both, True), (rows - left - above - both, False))
    assert units._beside(to_left, upward, rows) is enough


@pytest.mark.parametrize(
    ("count", "size", "told"),
    [(20, (111, 100), True), (19, (111, 100), False), (20, (109, 100), False), (20, (100, 111), True)],
)
def test_twenty_boxes_in_images_that_are_not_square_tell_exchanged_axes(count, size, told):
    """Boxes on pixels of the other side."""
    generator = np.random.default_rng(0)
    x, y = generator.integers(10, 60, (2, count))
    w, h = generator.integers(3, 19, (2, count)) * 2
    rows = boxes(*np.stack([x / size[1], y / size[0], w / size[1], h / size[0]], axis=1).tolist(), size=size)
    assert (units.grid_exchanged(rows) is not None) is told
    if told:
        assert units.grid_exchanged(rows)[0] == 1


@pytest.mark.parametrize(
    ("between", "apart", "many"), [(20, 0.5, True), (19, 0.5, False), (20, 2.5 * GRID, True), (20, 1.5 * GRID, False)]
)
def test_a_fifth_of_the_centres_lie_between_two_pixels(between, apart, many):
    rows = boxes(*[(0.1 + apart / 100, 0.5, 0.1, 0.1)] * between, *[(0.11, 0.5, 0.1, 0.1)] * (100 - between))
    assert units._of_centres(rows) is many


def pixels(count: int) -> RowBoxes:
    """Boxes all over images of 640x480, in pixels."""
    generator = np.random.default_rng(1)
    spread = np.column_stack([generator.uniform(60, 400, count), generator.uniform(60, 300, count)])
    spread[0] = 600, 440
    return boxes(*np.column_stack([spread, np.full((count, 2), 60.0)]).tolist(), size=(640, 480))


@pytest.mark.parametrize(
    ("count", "scale"), [(10, Scale.PIXELS), (9, Scale.UNKNOWN), (3, Scale.UNKNOWN), (2, None), (0, None)]
)
def test_ten_rows_tell_the_unit_and_three_that_there_is_another(count, scale):
    found = units.read_units(pixels(max(count, 1)).some(np.arange(max(count, 1)) < count), forms=False)
    assert (found and found.scale) == scale
    assert found is None or (found.rows, found.out) == (count, count)


@pytest.mark.parametrize(("large", "rows", "scale"), [(49, 50, Scale.PIXELS), (48, 50, None)])
def test_a_fiftieth_of_the_numbers_may_be_small(large, rows, scale):
    few = boxes(*[(0.5, 0.5, 0.1, 0.1)] * (rows - large), size=(640, 480))
    mixed = RowBoxes(*(np.concatenate(columns) for columns in zip(pixels(large), few, strict=True)))
    found = units.read_units(mixed, forms=False)
    assert (found and found.scale) == scale


@pytest.mark.parametrize(("out", "rows", "read"), [(5, 10, True), (4, 10, False), (6, 200, True), (5, 200, False)])
def test_five_boxes_and_three_of_a_hundred_must_contradict_the_usual_reading(out, rows, read, monkeypatch):
    usual = [(0.5, 0.5, 0.1, 0.1)] * (rows - out)
    mixed = boxes(*[(0.5, 1.5, 0.1, 0.1)] * out, *usual)
    monkeypatch.setattr(units, "_scale", lambda *_: Scale.HEIGHT)
    assert (units.read_units(mixed, forms=False) is not None) is read


@pytest.mark.parametrize(
    ("third", "together"), [((0.2, 0.4, 0.6), 1.0), ((0.2, 0.6, 0.4), 0.5), ((0.2, 0.2, 0.2), 1.0)]
)
def test_numbers_that_are_all_equal_grow_together(third, together):
    rows = boxes(*((x, 0.5, w, 0.1) for x, w in zip((0.1, 0.2, 0.3), third, strict=True)))
    assert units._together(rows) == pytest.approx(together)
