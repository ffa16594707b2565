"""How labels of two images differ, and which columns behind the boxes are too many."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from yolo_nanfix.dataset.clues import COUNT, Clue
from yolo_nanfix.linting.rules import label_text
from yolo_nanfix.linting.rules.label_overlap import agree, least_overlap, overlaps

BOX = (0.0, 0.5, 0.5, 0.25, 0.25)


def pair(one: list[tuple[float, ...]], other: list[tuple[float, ...]]) -> SimpleNamespace:
    """Two images with rows of class and box."""
    rows = [np.array(part, np.float64).reshape(-1, 5) for part in (one, other)]
    return SimpleNamespace(labels=("a.txt", "b.txt"), labels_of=lambda image: rows[image])


def beside(x: float, cls: float = 0.0) -> tuple[float, ...]:
    return (cls, 0.5 + x, 0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        ([BOX], [beside(0.0049)], None),
        ([BOX], [beside(0.0051)], 0.96),
        ([BOX], [beside(0.0625)], 0.6),
        ([BOX], [beside(0.0, 1.0)], 0.0),
        ([BOX], [beside(0.25)], 0.0),
        ([BOX], [BOX, BOX], 0.0),
        ([BOX, beside(0.3)], [beside(0.3), BOX], None),
        ([BOX, beside(0.3)], [BOX, BOX], 0.0),
        ([BOX] * 1001, [beside(0.0049)] * 1001, None),
        ([BOX] * 1001, [beside(0.0051)] * 1001, 0.0),
        ([BOX] * 1000, [beside(0.0051)] * 1000, 0.96),
    ],
)
def test_the_least_overlap_of_two_labels_of_one_picture(one, other, least):
    """The same within half a hundredth; of a thousand boxes on, boxes are compared in order."""
    found = least_overlap(pair(one, other), 0, 1)
    assert found == (None if least is None else pytest.approx(least, abs=5e-3))


@pytest.mark.parametrize(
    ("one", "other", "turn", "same"),
    [
        ([BOX], [beside(0.044)], 0, True),
        ([BOX], [beside(0.045)], 0, False),
        ([BOX, beside(0.3)], [BOX, beside(-0.3)], 0, True),
        ([BOX, beside(0.3), beside(0.2)], [BOX, beside(-0.3), beside(-0.2)], 0, False),
        ([beside(0.3)], [beside(-0.3)], 1, True),
        ([beside(0.3)], [beside(0.3)], 2, True),
        ([beside(0.3)], [beside(-0.3)], 3, True),
        ([beside(0.3)], [(0, 0.5, 0.8, 0.25, 0.25)], 4, True),
        ([beside(0.3)], [(0, 0.5, 0.8, 0.25, 0.25)], 3, False),
        ([beside(0.3)], [(0, 0.5, 0.2, 0.25, 0.25)], 4, False),
        ([beside(0.3)], [(0, 0.5, 0.2, 0.25, 0.25)], 5, True),
        ([beside(0.3)], [(0, 0.5, 0.8, 0.25, 0.25)], 6, True),
        ([beside(0.3)], [(0, 0.5, 0.2, 0.25, 0.25)], 7, True),
        ([], [BOX], 0, None),
        ([BOX] * 1000, [BOX] * 1000, 0, True),
        ([BOX] * 1000, [BOX] * 1001, 0, None),
        ([BOX] * 101, [BOX] * 9901, 0, None),
    ],
)
def test_half_of_the_boxes_of_one_picture_overlap_by_seven_tenths(one, other, turn, same):
    assert agree(pair(one, other), 0, 1, turn) is same


def test_boxes_without_an_area_overlap_with_none():
    nothing = np.array([0.5, 0.5, 0.0, 0.2])
    assert overlaps(nothing, nothing) == 0
    assert overlaps(np.array(BOX[1:]), np.array(BOX[1:])) == 1


def counted(rows: int, **clues: int) -> SimpleNamespace:
    """One image of a split with so many of each clue."""
    counts = np.zeros((1, COUNT), np.int64)
    for name, count in clues.items():
        counts[0, Clue[name.upper()]] = count
    return SimpleNamespace(clues=counts, lines=np.array([rows]), images_in=lambda _: slice(None))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (counted(3, one_behind=3, misfit=3), (3, 0, False)),
        (counted(2, one_behind=2, misfit=2), None),
        (counted(6, one_behind=3, misfit=3), (3, 0, False)),
        (counted(7, one_behind=3, misfit=3), None),
        (counted(20, one_behind=19, misfit=20), (19, 0, False)),
        (counted(20, one_behind=18, misfit=20), None),
        (counted(4, one_behind=4, misfit=4, one_ahead=2), (4, 0, False)),
        (counted(4, one_behind=4, misfit=4, one_ahead=3), (4, 0, True)),
        (counted(20, one_behind=19, misfit=19, numbered=18), (19, 0, False)),
        (counted(20, one_behind=19, misfit=19, numbered=19), None),
        (counted(3, one_behind=3, misfit=3, numbered=2), (3, 0, False)),
        (counted(3, one_behind=3, misfit=3, numbered=3), None),
        (counted(4, two_behind=4, two_over_one=1), (0, 4, False)),
        (counted(8, two_behind=8, two_over_one=1), None),
        (counted(20, two_behind=19, two_over_one=19), (0, 19, False)),
        (counted(20, two_behind=18, two_over_one=18), None),
        (counted(4, two_behind=4), None),
    ],
)
def test_columns_behind_the_boxes_are_of_the_set_if_nearly_all_rows_have_them(table, told):
    """Three rows and half of all with a confidence, nearly all with a track, of which a quarter are above 1."""
    found = label_text._of(table, None)
    assert (None if found is None else (found.one, found.two, found.ahead)) == told
