"""Polygons as arrays: what lies on a line, what cannot cross, and which edges are compared, on both sides of limits."""

from __future__ import annotations

import numpy as np
import pytest

from yolo_nanfix.dataset.label_boxes import Shapes
from yolo_nanfix.linting.rules import geometry

Corners = tuple[tuple[float, float], ...]


def shapes(*polygons: Corners) -> Shapes:
    """The polygons of the rows of a table, in pixels."""
    count = np.array([len(corners) for corners in polygons])
    x, y = np.array([corner for corners in polygons for corner in corners], np.float64).T
    rows, start = np.arange(len(count)), np.cumsum(count) - count
    return Shapes(rows, x, y, start, count, np.repeat(rows, count), np.arange(len(x)))


@pytest.mark.parametrize(
    ("corners", "flat"),
    [
        (((0, 0), (100, 0), (50, 0.009)), True),
        (((0, 0), (100, 0), (50, 0.011)), False),
        (((0, 0), (50, -0.009), (100, 0)), True),
        (((0, 0), (1, 0), (0.5, 0.01)), False),
        (((7, 7), (7, 7), (7, 7)), True),
    ],
)
def test_corners_within_a_hundredth_of_a_pixel_of_a_line_lie_on_it(corners, flat):
    others = ((0, 0), (9, 0), (0, 9))
    assert geometry.flat(shapes(others, corners, others)).tolist() == [False, flat, False]


SPOKE = ((1, 0), (2, 0), (0, 2), (-2, 0), (-1, -2))
"""One of its edges points to the mean of the corners."""


@pytest.mark.parametrize(
    ("corners", "steady"),
    [
        (((0, 0), (9, 0), (9, 9), (0, 9)), True),
        (((0, 0), (0.1, 0), (0.1, 0.1), (0, 0.1)), True),
        (((0, 3), (1, 1), (3, 0), (1, -1), (0, -3), (-1, -1), (-3, 0), (-1, 1)), True),
        (SPOKE, False),
        (((0, 0), (9, 9), (9, 0), (0, 9)), False),
        (tuple((np.sin(0.8 * k * np.pi), np.cos(0.8 * k * np.pi)) for k in range(5)), False),
    ],
)
def test_what_goes_once_around_its_mean_cannot_cross(corners, steady):
    """A pentagram goes around it twice."""
    assert geometry._star_shaped(shapes(corners, corners[::-1])).tolist() == [steady, steady]


@pytest.mark.parametrize(
    ("corners", "loops"),
    [
        (((0, 0), (10, 10), (10, 0), (0, 10)), [25]),
        (((0, 0), (400, 0), (400, 400), (180, 400), (220, 360), (220, 440), (0, 400)), [800]),
        (((0, 0), (400, 0), (400, 400), (200, 0), (0, 400)), []),
        (((200, 0), (0, 400), (0, 0), (400, 0), (400, 400)), []),
        (((0, 0), (400, 0), (400, 400), (200, -1), (0, 400)), [39_900]),
        (((0, 0), (0, 400), (400, 400), (0, 200), (400, 0)), []),
        (((0, 200), (400, 0), (0, 0), (0, 400), (400, 400)), []),
    ],
)
def test_the_largest_loop_of_a_crossing_and_none_of_a_touch(corners, loops):
    far = tuple((x - 3000, y) for x, y in corners)
    found = geometry.crossings(shapes(corners, ((0, 0), (9, 0), (0, 9)), far))
    assert [crossing.owner for crossing in found] == [0, 2] * len(loops)
    assert [crossing.loop for crossing in found] == pytest.approx(loops * 2, rel=0.01)


@pytest.mark.parametrize(("between", "found"), [(63, [0]), (64, [])])
def test_an_edge_is_compared_with_the_64_that_begin_next(between, found):
    """An edge along the bottom, a spike that crosses it far to the right, and edges that begin between them."""
    steps = tuple((float(x), 100.0) for x in np.linspace(920, 10, between + 1))
    corners = ((0, 0), (1000, 0), (1000, 100), (960, 100), (930, -50), *steps, (-10, 50))
    assert [crossing.owner for crossing in geometry.crossings(shapes(corners))] == found


@pytest.mark.parametrize(
    ("corners", "sides"),
    [
        (((0, 0), (10, 0), (10, 4), (0, 4)), (10, 4)),
        (((0, 0), (0, 0), (10, 0), (10, 4)), (10, 4)),
        (((0, 0), (4, 0), (4, 0), (4, 10)), (10, 4)),
        (((0, 0), (3, 4), (3, 4), (0, 0)), (5, 0)),
        (((7, 7),) * 4, (0, 0)),
    ],
)
def test_corners_that_are_equal_show_no_direction(corners, sides):
    quad = np.array(corners, np.float64).T[:, :, None]
    assert np.concatenate(geometry.enclosing_rectangles(quad)) == pytest.approx(sides)
