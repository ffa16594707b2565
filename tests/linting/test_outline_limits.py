"""What makes an outline rings, a bridge, a neck or a crossing: each helper on both sides of its limits."""

from __future__ import annotations

import numpy as np
import pytest

from yolo_nanfix.linting.rules import rings
from yolo_nanfix.linting.rules.rings import Outline, RingKind, judge_outline

NOTHING = np.zeros((0, 2), np.int64)


def outline(*corners: tuple[float, float]) -> np.ndarray:
    return np.array(corners, np.float64)


def square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def two_squares(side: float, length: float, width: float) -> np.ndarray:
    """Two squares, joined by a bridge so long whose sides are so far apart."""
    right, half = side + length, side / 2
    left = [(side, half + width), (side, side), (0, side), (0, 0), (side, 0), (side, half)]
    return outline(*left, (right, half), (right, 0), *square(right, 0, side)[1:], (right, half + width))


@pytest.mark.parametrize(
    ("corners", "bridges"),
    [
        (((0, 0), (100, 0), (100, 12), (0, 12)), [(0, 2)]),
        (((0, 0), (100, 0), (100, 12.1), (0, 12.1)), []),
        (((0, 0), (10, 0), (10, 1.5), (0, 1.5)), [(0, 2)]),
        (((0, 0), (10, 0), (10, 1.6), (0, 1.6)), []),
        (((0, 0), (4, 0), (4, 1.39), (0, 1.39)), [(0, 2)]),
        (((0, 0), (4, 0), (4, 1.41), (0, 1.41)), []),
        (((0, 0), (100, 0), (0, 1.5)), [(0, 1)]),
        (((0, 0), (100, 0), (0, 1.6)), []),
        (((0, 0), (4, 0), (4, -0.95), (0, 0.95)), [(0, 2)]),
        (((0, 0), (4, 0), (4, -1), (0, 1)), []),
    ],
)
def test_a_bridge_has_two_sides_close_to_each_other_that_run_in_opposite_directions(corners, bridges):
    """12 % of the length, but 1.5 pixels at least and 35 % at most; a spike 1.5 pixels; a cosine of -0.9."""
    assert rings._bridges(outline(*corners)) == bridges


def test_of_many_bridges_1024_are_tried():
    assert len(rings._bridges(outline(*((0.01 * i, 10 * (i % 2)) for i in range(100))))) == 1024


@pytest.mark.parametrize(("corners", "found"), [(512, True), (513, False)])
def test_bridges_of_more_than_512_corners_must_be_exact(corners, found):
    tail = ((0, 20 + 10 * k) for k in range(corners - 4))
    assert ((0, 2) in rings._bridges(outline((0, 0), (100, 0), (100, 5), (0, 5), *tail))) is found


@pytest.mark.parametrize(("times", "loop"), [(256, 0.0), (257, 7.5)])
def test_of_rings_with_more_than_256_crossings_thin_loops_count_too(times, loop):
    forth = ((10 * k, 1 - 2 * (k % 2)) for k in range(times + 1))
    ring = outline(*forth, (10 * times + 10, 0), (-10, 0))
    assert len(rings._crossing(ring)) == times
    assert rings._largest_loop(ring) == pytest.approx(loop)


@pytest.mark.parametrize(("corners", "loop"), [(512, 0.0536), (513, 75.0)])
def test_of_rings_with_more_than_512_corners_thin_loops_count_too(corners, loop):
    tail = ((-1 - 0.01 * k, 3 + k) for k in range(corners - 4))
    ring = outline((0, 0), (100, 3), (100, 0), (0, 3), *tail)
    assert rings._largest_loop(ring) == pytest.approx(loop, rel=1e-3)


def test_four_corners_can_cross_and_three_cannot():
    assert rings._largest_loop(outline((0, 0), (10, 10), (10, 0), (0, 10))) == 25
    assert rings._largest_loop(outline((0, 0), (10, 10), (10, 0))) == 0


@pytest.mark.parametrize(("tip", "crossings"), [(0.01, []), (0, []), (-0.01, [[0, 2], [0, 3]])])
def test_a_corner_that_touches_an_edge_does_not_cross_it(tip, crossings):
    ring = outline((0, 0), (10, 0), (10, 10), (5, tip), (0, 10))
    assert rings._crossing(ring).tolist() == crossings


@pytest.mark.parametrize(
    ("corners", "neck"),
    [
        (((0, 0), (100, 0), (100, 3), (0, -3)), True),
        (((0, 0), (100, 0), (100, 3.1), (0, -3.1)), False),
        (((0, 0), (3, 0), (20, 5), (-20, -5)), True),
        (((0, 0), (2.9, 0), (20, 5), (-20, -5)), False),
        (((0, 0), (2, 0), (12, 3), (-12, -3)), True),
        (((0, 0), (2, 0), (12.8, 3.2), (-12.8, -3.2)), False),
        (((0, 0), (10, 0), (4, 1), (-20, 1)), True),
        (((0, 0), (10, 0), (0, 1), (-20, 1)), False),
        (((0, 0), (10, 0), (-1, 1), (-20, 1)), False),
        (((0, 0), (4, 0), (4, -0.95), (0, 0.95)), True),
        (((0, 0), (4, 0), (4, -1), (0, 1)), False),
    ],
)
def test_a_neck_is_at_most_three_pixels_wide_where_its_sides_run_beside_each_other(corners, neck):
    assert rings._is_neck(outline(*corners), 0, 2) is neck


@pytest.mark.parametrize(("width", "parts"), [(0.9, 2), (1.0, 2), (1.1, 1)])
def test_a_ring_has_four_times_the_area_of_its_bridge(width, parts):
    """Two squares of 400 square pixels; the bridge is 100 pixels long."""
    found, cut = rings._rings(two_squares(20, 100, width))
    assert (len(found), len(cut)) == (parts, parts - 1)


def test_triangles_that_a_bridge_joins_are_rings():
    ring = outline((0, 0), (20, 20), (120, 20), (140, 0), (140, 40), (120, 20), (20, 20), (0, 40))
    assert sorted(map(len, rings._rings(ring)[0])) == [4, 4]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (square(0, 0, 100), square(50, 0, 100), 5048.90),
        (square(0, 0, 100), square(40, 0, 100), 6020.32),
        (square(0, 0, 100), square(95, 0, 100), 456.05),
        (square(0, 0, 100), square(100, 0, 100), 0),
        ([(0, 0), (100, 37.3), (31, 90)], [(0, 0), (100, 37.3), (120, -20)], 0),
        ([(0, 0), (100, 0), (100, 100)], [(0, 0), (100, 100), (0, 100)], 0),
        (square(0, 0, 128), [(126, 124), (256, 124), (256, 256), (126, 256)], 0),
        (square(0, 0, 128), [(125, 125), (256, 125), (256, 256), (125, 256)], 9),
        (square(0, 0, 100), square(20, 20, 50), 0),
        (square(0, 0, 100), square(100, 100, 100), 0),
    ],
)
def test_the_area_that_two_rings_share_unless_one_is_in_the_other(one, other, shared):
    assert rings._overlap([outline(*one), outline(*other)]) == pytest.approx(shared, rel=1e-4)
    assert rings._overlap([outline(*one)]) == 0


@pytest.mark.parametrize(
    ("corners", "cells"),
    [
        (square(0, 0, 256), 256 * 256),
        (square(10, 20, 3), 9),
        (square(10.4, 20, 1), 1),
        (square(10.6, 20, 0.8), 0),
        ([(0, 0), (256, 0), (256, 256)], 255 * 256 / 2 + 256),
        ([(0, 0), (8, 6), (8, 0), (0, 6)], 24),
    ],
)
def test_cells_whose_centre_lies_in_a_ring(corners, cells):
    for ring in (outline(*corners), outline(*corners)[::-1], np.roll(outline(*corners), 1, axis=0)):
        assert rings._cells_inside(ring).sum() == cells


@pytest.mark.parametrize(("off", "told"), [(0, Outline(RingKind.VALID, 2)), (5, Outline(RingKind.OVERLAPPING, 2, 456))])
def test_parts_that_share_an_edge_share_no_area(off, told):
    there = [(50, 0), (50, -10), (150, -10), (150, 0)]
    right = [(200 - off, 0), (200 - off, 100), (100 - off, 100), (100 - off, 0)]
    x, y = outline(*there, *right, *there[::-1], *square(0, 0, 100)[1:], (0, 0)).T
    found = judge_outline(x, y, 16.0)
    assert (found.kind, found.rings) == (told.kind, told.rings)
    assert found.area == pytest.approx(told.area, abs=1)


@pytest.mark.parametrize(("long", "found"), [(4.0, [3]), (3.9, [])])
def test_a_chord_is_four_times_as_long_as_the_median_edge(long, found):
    x = np.cumsum([0, 1, 1, 1, long, 1, 1, 1])
    assert rings._outliers(np.column_stack([x, 0 * x])) == found


@pytest.mark.parametrize(("many", "found"), [(31, 31), (32, 0)])
def test_thirty_two_long_edges_are_no_chords(many, found):
    x = np.cumsum([0, *[10] * many, *[1] * 50])
    assert len(rings._outliers(np.column_stack([x, 0 * x]))) == found


@pytest.mark.parametrize(("pairs", "found"), [(8, 8), (9, 0)])
def test_eight_chords_cover_the_crossings_or_none(pairs, found):
    points = np.random.default_rng(0).random((40, 2))
    assert len(rings._cover(np.array([[k, 20 + k] for k in range(pairs)]), points)) == found


def test_the_best_split_of_six_corners_is_in_the_middle_and_five_have_none():
    corners = outline((0, 0), (30, 0), (0, 30), (100, 100), (130, 100), (100, 130))
    assert rings._best_split(corners, NOTHING) == [2]
    assert rings._best_split(corners[:5], NOTHING) == []
    assert judge_outline(*corners.T, 16.0) == Outline(RingKind.JOINED, 2)
    assert judge_outline(*corners[:5].T, 16.0).kind is not RingKind.JOINED


def open_parts(apart: float, depth: float = -30) -> np.ndarray:
    """An open square of 30 pixels and an open rectangle to its left, their ends joined by two chords so long."""
    second = (-apart, 30), (depth - apart, 30), (depth - apart, 0), (-apart, 0)
    return outline(*square(0, 0, 30), *second)


@pytest.mark.parametrize(
    ("apart", "depth", "least", "closing", "are"),
    [
        (90, -30, 16, False, True),
        (89, -30, 16, False, False),
        (60, -30, 16, False, False),
        (60, -30, 16, True, True),
        (30, -30, 16, True, True),
        (29, -30, 16, True, False),
        (60, 30, 16, True, False),
        (90, 30, 16, True, True),
        (60, -0.02, 0.5, True, True),
        (90, -30, 900, False, True),
        (90, -30, 901, False, False),
    ],
)
def test_gaps_are_a_third_of_the_chords_or_as_long_as_they_where_the_closing_chord_crosses(
    apart, depth, least, closing, are
):
    """As long only if all rings run the same way."""
    assert rings._are_rings(open_parts(apart, depth), [3, 7], least, closing=closing) is are


@pytest.mark.parametrize(("x", "y", "nested"), [(0, 0, True), (50, 50, True), (-1, 0, False), (51, 0, False)])
def test_rings_in_the_box_of_the_first_are_nested(x, y, nested):
    assert rings._nested([outline(*square(0, 0, 100)), outline(*square(x, y, 50))]) is nested


def test_parts_have_three_corners_and_no_large_loop():
    triangle = ((0, 0), (0, 60), (60, 0))
    far = ((-3000, 0), (-3060, 0), (-3000, 60))
    assert rings._are_rings(outline(*triangle, *far), [2, 5], 16)
    assert not rings._are_rings(outline(*triangle[:2], *far), [1, 4], 16)
    looped = ((0, 0), (400, 0), (400, 400), (180, 400), (220, 360), (220, 440), (0, 400))
    beyond = ((-3000, 0), (-3060, 0), (-3000, 60))
    assert rings._are_rings(outline(*looped, *beyond), [6, 9], 801)
    assert not rings._are_rings(outline(*looped, *beyond), [6, 9], 800)


@pytest.mark.parametrize(
    ("corners", "least", "told"),
    [
        (outline((0, 0), (10, 10), (10, 0), (0, 10)), 25.0, Outline(RingKind.CROSSING, 1, 25.0)),
        (outline((0, 0), (10, 10), (10, 0), (0, 10)), 25.1, Outline(RingKind.VALID, 0, 0)),
        (outline(*square(0, 0, 30)), 900, Outline(RingKind.VALID, 1, 0)),
        (outline(*square(0, 0, 30)), 901, Outline(RingKind.VALID, 0, 0)),
        (two_squares(30, 100, 1.5), 16.0, Outline(RingKind.VALID, 2, 0)),
        (two_squares(30, 100, 2), 16.0, Outline(RingKind.LOOSE, 2, 200)),
        (two_squares(30, 100, 2), 199.0, Outline(RingKind.LOOSE, 2, 200)),
        (two_squares(30, 100, 2), 200.0, Outline(RingKind.VALID, 2, 0)),
    ],
)
def test_loops_rings_and_bridges_count_from_the_least_area_on(corners, least, told):
    found = judge_outline(*corners.T, least)
    assert (found.kind, found.rings) == (told.kind, told.rings)
    assert found.area == pytest.approx(told.area)


def test_what_two_parts_share_counts_from_the_least_area_on():
    corners = [(50, 50), (10, 50), (10, 10), (50, 10), (50, 50), (40, 40), (80, 40), (80, 80), (40, 80), (40, 40)]
    x, y = outline(*corners).T
    shared = judge_outline(x, y, 16.0)
    assert (shared.kind, shared.rings) == (RingKind.OVERLAPPING, 2)
    assert shared.area == pytest.approx(100, rel=0.1)
    assert judge_outline(x, y, shared.area) == shared
    assert judge_outline(x, y, shared.area + 1).kind is not RingKind.OVERLAPPING


def test_a_slip_thinner_than_a_step_of_a_tool_counts_as_none_even_where_it_has_the_least_area():
    corners = outline((0, 0), (400, 0), (400, 400), (199.5, 400), (200.5, 399), (200.5, 401), (0, 400))
    assert rings._largest_loop(corners) == pytest.approx(0.5)
    assert judge_outline(*corners.T, rings._largest_loop(corners)) == Outline(RingKind.VALID, 1)


def test_a_corner_twice_is_no_bridge_and_three_corners_are_a_ring():
    assert rings._exact_bridges(outline((0, 0), (0, 0), (5, 0))) == [(1, 2)]
    triangle = outline((0, 0), (10, 0), (210, 0.5), (10, 1), (0, 1), (0, 100), (-100, 100), (-100, 0))
    assert sorted(map(len, rings._rings(triangle)[0])) == [3, 5]


def circle(x: float, radius: float, corners: int) -> np.ndarray:
    turn = np.arange(corners) / corners * 2 * np.pi
    return np.column_stack([x + radius * np.cos(turn), radius * np.sin(turn)])


@pytest.mark.parametrize(
    ("parts", "chords"),
    [
        ([circle(0, 100, 256), circle(0, 93, 256)], [255, 511]),
        ([circle(0, 100, 257), circle(0, 93, 256)], None),
        ([circle(0, 100, 257), circle(900, 100, 256)], [256, 512]),
        ([circle(0, 100, 513)], None),
        ([open_parts(90)], [3, 7]),
        ([open_parts(60)], None),
    ],
)
def test_chords_of_more_than_512_corners_are_far_longer_than_the_edges(parts, chords):
    """And without a crossing at least three times as long as the gaps."""
    assert rings._chords(np.concatenate(parts), 16.0) == chords
