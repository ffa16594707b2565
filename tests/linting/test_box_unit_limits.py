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


def joined(*parts: RowBoxes) -> RowBoxes:
    """The rows of images of several sizes."""
    return RowBoxes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


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
    ("size", "box", "known"),
    [
        ((1, 1), (0.5, 0.5, 0.1, 0.1), True),
        ((0, 1), (0.5, 0.5, 0.1, 0.1), False),
        ((1, 0), (0.5, 0.5, 0.1, 0.1), False),
        ((1, 1), (0.5, 0.5, 0, 0.1), True),
        ((1, 1), (0.5, 0.5, -0.1, 0.1), False),
        ((1, 1), (0.5, np.nan, 0.1, 0.1), False),
    ],
)
def test_rows_with_sides_in_images_of_known_size_are_sampled(size, box, known):
    assert units.sample(one_image(size, box)).tolist() == [0] * known


class Table(SimpleNamespace):
    """What is read of a table; it can be kept by."""


def one_image(size: tuple[int, int], *rows: tuple[float, ...], turn: int = 1) -> Table:
    width, height = (np.array([side]) for side in size)
    image = np.zeros(len(rows), int)
    return Table(row_image=image, row_box=np.array(rows), width=width, height=height, turn=np.array([turn]))


@pytest.mark.parametrize(("rows", "step"), [(11_999, 1), (12_000, 2)])
def test_of_twice_six_thousand_rows_every_second_is_sampled(rows, step):
    table = one_image((1, 1), *[(0.5, 0.5, 0.1, 0.1)] * rows)
    assert units.sample(table).tolist() == list(range(0, rows, step))


@pytest.mark.parametrize(("turn", "lies"), [(1, False), (4, False), (5, True), (8, True)])
def test_images_that_exif_rotates_by_a_quarter_are_known(turn, lies):
    (row,) = zip(*units.boxes_of(one_image((40, 30), (0.1, 0.2, 0.3, 0.4), turn=turn), np.array([0])), strict=True)
    assert row == pytest.approx((0.1, 0.2, 0.3, 0.4, 40, 30, lies))


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


@pytest.mark.parametrize(
    ("end", "factor", "reaches"), [(0.8, 1.61, True), (0.79, 1.61, False), (0.8, 1.6, True), (0.8, 1.59, False)]
)
def test_boxes_end_in_the_last_fifth_of_the_images_whose_numbers_grow_most(end, factor, reaches):
    """Images whose factor is three fifths of the way to the largest one, or more."""
    assert units._reaches(np.array([0.1, end, 0.9]), np.array([2.0, factor, 1.59])) is reaches


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
    rows = boxes((end - 0.005, 0.05, 0.01, 0.01), size=(9, 9))
    assert units._small(rows) == (Scale.TWICE if small else None)


@pytest.mark.parametrize(("count", "scale"), [(10, Scale.TWICE), (9, None)])
def test_ten_small_boxes_tell_that_they_were_divided_twice(count, scale):
    large = pixels(count)
    side = np.array([640.0, 480.0] * 2)
    rows = np.column_stack([large.x, large.y, large.w, large.h]) / side**2
    small = boxes(*rows.tolist(), size=(640, 480))
    told = scale and Reading(scale, Form.CENTRE, count, 0, count, small.ends)
    assert units.read_units(small, forms=True) == told


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
    found = units.read_units(joined(pixels(large), few), forms=False)
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


@pytest.mark.parametrize(
    ("right", "below", "size", "unit"),
    [
        (352, 264, (640, 480), Scale.PIXELS),
        (288, 216, (640, 480), None),
        (320, 288, (640, 480), Scale.PIXELS),
        (319, 288, (640, 480), None),
        (520, 125, (640, 480), Scale.PIXELS),
        (85, 82, (640, 480), Scale.PERCENT),
        (85, 40, (400, 400), Scale.PERCENT),
        (85, 40, (300, 300), None),
        (90, 90, (146, 145), Scale.PERCENT),
        (90, 90, (138, 139), None),
        (90, 90, (100, 100), Scale.PIXELS),
    ],
)
def test_the_unit_of_ten_boxes_that_end_there(right, below, size, unit):
    """Pixels from a half of the image on, else from four fifths; of two units one a thousand times as likely."""
    assert units._unit(boxes(*[(right - 20, below - 20, 40, 40)] * 10, size=size)) is unit


def written(scale: Scale, size: tuple[int, int], *centres: tuple[float, float]) -> RowBoxes:
    """Boxes around these places, that lie on no pixels, as they are if they were divided by the wrong sides."""
    right = boxes(*[(x, y, 0.1037, 0.1037) for x, y in centres], size=size)
    across, down = units.divisors(scale, right.width, right.height)
    return right._replace(x=right.x * across, y=right.y * down, w=right.w * across, h=right.h * down)


def proven(rows: RowBoxes, scale: Scale) -> bool:
    return units._proves_sides(rows, rows.inside(), scale)


@pytest.mark.parametrize(
    ("size", "inside", "square", "told"),
    [
        ((130, 100), [(0.3, 0.85)] * 5, 0, True),
        ((130, 100), [(0.3, 0.85)] * 4, 6, False),
        ((111, 100), [(0.3, 0.85)] * 5, 0, True),
        ((130, 100), [(0.85, 0.7)] * 5, 0, False),
        ((200, 100), [(0.3, 0.85)] * 5, 0, True),
    ],
)
@pytest.mark.parametrize("high", [False, True])
def test_ten_boxes_of_images_that_are_not_square_tell_swapped_sides(size, inside, square, told, high):
    """Half of them reach out along the longer side; along the other one they end in the last fifth."""
    parts = [((200, 100), [(0.9, 0.3)] * 5), (size, inside), ((105, 100), [(0.5, 0.5)] * square)]
    step = -1 if high else 1
    rows = joined(*(written(Scale.SWAPPED, side[::step], *(c[::step] for c in centres)) for side, centres in parts))
    assert proven(rows, Scale.SWAPPED) is told


@pytest.mark.parametrize(
    ("crosswise", "others", "told"), [(5, 10, True), (3, 10, False), (5, 9, False), (5, 0, False), (0, 10, False)]
)
@pytest.mark.parametrize("scale", [Scale.HEIGHT, Scale.WIDTH])
def test_boxes_that_were_divided_by_one_side_reach_where_swapped_ones_cannot(crosswise, others, told, scale):
    """A twelfth of those that reach out; and ten boxes of images whose other side is the longer one lie inside."""
    step = 1 if scale is Scale.HEIGHT else -1
    out = [(0.9, 0.8)] * crosswise + [(0.9, 0.3)] * (50 - crosswise)
    wide = written(scale, (160, 100)[::step], *(c[::step] for c in (*out, *[(0.3, 0.8)] * 10)))
    rows = joined(wide, written(scale, (100, 160)[::step], *[(0.5, 0.5)] * others))
    assert proven(rows, scale) is told


@pytest.mark.parametrize(("end", "told"), [(0.5, False), (0.5 + 2**-6, True)])
def test_a_box_that_ends_where_swapped_ones_could_is_not_crosswise(end, told):
    """But for the slack, in an image that is twice as wide as high."""
    out = boxes(*[(1.8, end, 0.2074, 2 * units.SLACK)] * 10, size=(200, 100))
    inside = written(Scale.HEIGHT, (200, 100), (0.3, 0.8)), written(Scale.HEIGHT, (100, 200), *[(0.5, 0.5)] * 10)
    assert proven(joined(out, *inside), Scale.HEIGHT) is told


UNIT = (1000, 1000)
"""By what boxes of images of several sizes were divided."""


def of_one_size(*images: tuple[tuple[int, int], list[tuple[float, float]]]) -> RowBoxes:
    """Boxes around places of images of these sizes, which were all divided by `UNIT`."""
    parts = []
    for size, centres in images:
        grown = np.array(size * 2) / (UNIT * 2)
        parts.append(boxes(*(np.array([(x, y, 0.1037, 0.1037) for x, y in centres]) * grown).tolist(), size=size))
    return joined(*parts)


def one_size(rows: RowBoxes) -> tuple[int, int] | None:
    return units._one_size(rows, rows.inside())


@pytest.mark.parametrize(
    ("small", "largest", "found"),
    [(10, (0.3, 0.9), UNIT), (9, (0.3, 0.9), None), (0, (0.3, 0.9), None), (10, (0.3, 0.6), None)],
)
def test_boxes_of_larger_images_reach_out_and_ten_of_smaller_ones_fit(small, largest, found):
    """Those of the images that are much larger end in the last fifth of them, to the right or below."""
    rows = of_one_size(
        ((500, 500), [(0.5, 0.5)] * max(small, 1)), ((2000, 2000), [largest] * 5), ((1500, 1500), [(0.9, 0.9)] * 5)
    )
    rows = rows.some(np.arange(len(rows.x)) >= (not small))
    assert one_size(joined(rows, of_one_size((UNIT, [(0.5, 0.5)])))) == found


@pytest.mark.parametrize(("larger", "found"), [(6, UNIT), (7, None)])
def test_the_eight_most_frequent_sizes_are_tried(larger, found):
    """All but the right one, which comes last, have ten boxes."""
    sizes = [(side, side) for side in range(1500, 1500 + 500 * larger, 500)]
    rows = of_one_size(*((size, [(0.9, 0.9), (0.2, 0.2)] * 5) for size in ((500, 500), *sizes)), (UNIT, [(0.5, 0.5)]))
    assert one_size(rows) == found


@pytest.mark.parametrize(("off", "found"), [(0.0, UNIT), (0.37, None)])
def test_of_two_sizes_pixels_tell_the_right_one(off, found):
    rows = np.array([(1201, 301, 131, 131), (301, 1201, 131, 131)] * 5) + off
    larger = boxes(*(rows / 1000).tolist(), size=(1300, 1300))
    assert one_size(joined(larger, of_one_size((UNIT, [(0.5, 0.5)])))) == found
    assert one_size(larger) is None


def form(*rows: tuple[int, tuple[float, ...]], sure: bool = False) -> Form:
    """The form of so many rows of each kind."""
    return units._form(boxes(*(row for count, row in rows for _ in range(count))), sure=sure)


DEEP, LAST = (0.1, 0.1, 0.5, 0.5), (0.55, 0.55, 0.62, 0.62)
"""Corners: read as centres the first reaches out deeply, and the second not."""


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([(8, DEEP), (45, LAST)], Form.CORNERS),
        ([(8, DEEP), (46, LAST)], Form.UNSURE),
        ([(8, DEEP), (32, LAST)], Form.CORNERS),
        ([(7, DEEP), (33, LAST)], Form.UNSURE),
        ([(20, (0.1, 0.1, 0.44, 0.44)), (80, LAST)], Form.CORNERS),
        ([(20, (0.1, 0.1, 0.36, 0.36)), (80, LAST)], Form.UNSURE),
        ([(20, (0.7, 0.7, 0.84, 0.84)), (80, (0.2, 0.2, 0.5, 0.5))], Form.CORNERS),
        ([(20, (0.7, 0.7, 0.76, 0.76)), (80, (0.2, 0.2, 0.5, 0.5))], Form.UNSURE),
        ([(20, DEEP), (79, LAST), (1, (0.5, 0.5, 0.49, 0.62))], Form.CORNERS),
        ([(20, DEEP), (78, LAST), (2, (0.5, 0.5, 0.49, 0.62))], Form.UNSURE),
        ([(20, DEEP), (78, LAST), (2, (0.5, 0.5, 0.62, 0.49))], Form.UNSURE),
        ([(20, DEEP), (78, LAST), (2, (0.5, 0.5, 0.5, 0.62))], Form.CORNERS),
        ([(20, DEEP), (78, LAST), (2, (0.5, 0.5, 0.62, 0.5))], Form.CORNERS),
        ([(20, DEEP), (78, LAST), (2, (0.5, 0.5, 1.01, 0.62))], Form.CORNERS),
        ([(20, DEEP), (78, LAST), (2, (0.5, 0.5, 1.03, 0.62))], Form.UNSURE),
    ],
)
def test_corners_reach_out_deeply_as_centres_and_the_last_ones_are_larger(rows, found):
    """Eight rows and three twentieths of all by a tenth; 99 of 100 have a lower right corner, in the image."""
    assert form(*rows) is found


@pytest.mark.parametrize(
    ("across", "down", "found"),
    [
        (0.41, 0.16, Form.CORNERS),
        (0.16, 0.41, Form.CORNERS),
        (0.39, 0.39, Form.UNSURE),
        (0.41, 0.14, Form.UNSURE),
    ],
)
def test_corners_are_spread_over_two_fifths_of_the_image_and_three_twentieths(across, down, found):
    assert form((20, DEEP), (80, (0.1 + across, 0.1 + down, 0.62, 0.62))) is found


@pytest.mark.parametrize(
    ("count", "x", "w", "found"),
    [
        (3, 0.05, 0.5, Form.CORNERS),
        (2, 0.05, 0.5, Form.UNSURE),
        (3, 0.95, 1.0, Form.CORNERS),
        (2, 0.95, 1.0, Form.UNSURE),
    ],
)
def test_a_fiftieth_at_each_end_is_no_spread(count, x, w, found):
    assert form((20, (0.5, 0.1, 0.6, 0.5)), (80 - count, (0.5, 0.3, 0.6, 0.55)), (count, (x, 0.3, w, 0.55))) is found


@pytest.mark.parametrize(("likewise", "found"), [(40, Form.CORNERS), (35, Form.UNSURE)])
def test_first_and_last_corners_grow_together(likewise, found):
    """A correlation of 0.6, and one of 0.4."""
    near, far = [(likewise, 0.6), (50 - likewise, 0.7)], [(likewise, 0.7), (50 - likewise, 0.6)]
    low, high = [(n, (0.1, 0.1, w, 0.6)) for n, w in near], [(n, (0.55, 0.55, w, 0.7)) for n, w in far]
    assert form(*low, *high) is found


MIDDLE = (0.5, 0.5, 0.2, 0.2)


def by_the_corner(depth: float) -> list[tuple[int, tuple[float, ...]]]:
    """Boxes by their upper left corner: read as centres, six reach out to the left and six above, by so much of it."""
    place = 0.4 * (0.5 - depth)
    return [(6, (place, 0.5, 0.4, 0.2)), (6, (0.5, place, 0.2, 0.4))]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([*by_the_corner(0.2), (88, MIDDLE)], Form.CORNER),
        ([*by_the_corner(0.1), (88, MIDDLE)], Form.UNSURE),
        ([*by_the_corner(0.2), (87, MIDDLE), (1, (0.8, 0.5, 0.2045, 0.2))], Form.CORNER),
        ([*by_the_corner(0.2), (87, MIDDLE), (1, (0.8, 0.5, 0.206, 0.2))], Form.UNSURE),
        ([*by_the_corner(0.2), (87, MIDDLE), (1, (0.8, 0.5, 0.5, 0.2))], Form.UNSURE),
        ([*by_the_corner(0.2), (87, MIDDLE), (1, (0.5, 0.8, 0.2, 0.2045))], Form.CORNER),
        ([*by_the_corner(0.2), (87, MIDDLE), (1, (0.5, 0.8, 0.2, 0.206))], Form.UNSURE),
        ([*by_the_corner(0.2), (87, MIDDLE), (1, (0.5, 0.8, 0.2, 0.5))], Form.UNSURE),
        ([*by_the_corner(0.2), (217, MIDDLE), (1, (0.8, 0.5, 0.206, 0.2))], Form.CORNER),
        ([*by_the_corner(0.2), (177, MIDDLE), (1, (0.8, 0.5, 0.206, 0.2))], Form.UNSURE),
        ([(98, MIDDLE), (2, (0.9, 0.5, 0.19, 0.2))], Form.CENTRE),
        ([(98, MIDDLE), (1, (0.9, 0.5, 0.19, 0.2))], Form.UNSURE),
        ([(95, MIDDLE), (2, (0.9, 0.5, 0.19, 0.2)), (3, (0.06, 0.5, 0.2, 0.2))], Form.UNSURE),
    ],
)
def test_boxes_by_their_upper_left_corner_end_in_the_image_and_begin_beside_it(rows, found):
    """By three twentieths of the box on the average; hardly one of 200 ends beyond 1, and two do for centres."""
    assert form(*rows) is found
    assert form(*rows, sure=True) is (Form.CORNER if found is Form.CORNER else Form.CENTRE)
