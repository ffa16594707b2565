"""Boxes that are far from those of their class: bins, quartiles, and how many may be outliers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from yolo_nanfix.linting.rules.outliers import _class_bins, _outliers, _quantiles, _shapes


class Rows(SimpleNamespace):
    """What the rules ask of a table, and can be kept by."""


def table(cls: np.ndarray, box: np.ndarray | None = None) -> Rows:
    """Boxes of these classes in one image of one pixel."""
    boxes = np.full((len(cls), 4), 0.5, np.float32) if box is None else np.array(box, np.float32)
    return Rows(
        row_box=boxes,
        row_cls=np.array(cls, np.float32),
        width=np.ones(1, np.int32),
        height=np.ones(1, np.int32),
        of_rows=lambda values: np.repeat(values, len(cls)),
    )


def outliers(usual: int, others: int, away: float, middle: float = 0.0) -> list[tuple[int, float]]:
    """So many values of 2**middle, and others that are so many octaves larger."""
    rows = table(np.zeros(usual + others))
    values = 2.0 ** np.array([middle] * usual + [middle + away] * others)
    return _outliers(rows, _shapes(rows), values.astype(np.float32), 1)


@pytest.mark.parametrize(
    ("usual", "others", "bins", "found"),
    [
        (100, 1, 28.5, 0),
        (100, 1, 29.5, 1),
        (100, 1, -29.5, 1),
        (99, 1, 40, 1),
        (98, 1, 40, 0),
        (1000, 3, 40, 3),
        (1000, 4, 40, 0),
        (1996, 4, 40, 4),
        (1995, 4, 40, 0),
        (10_480, 20, 40, 20),
        (10_479, 21, 40, 20),
    ],
)
def test_outliers_are_seven_spreads_away_and_few(usual, others, bins, found):
    """A spread is an eighth of an octave at least; three or a 500th are outliers, of which 20 are shown."""
    rows = outliers(usual, others, bins / 32)
    assert rows == [(usual + i, 1.0) for i in range(found)]


@pytest.mark.parametrize(("middle", "usual"), [(0.5, 0.5), (0.52, 0.5), (17, 1023 / 32 - 16), (-16.5, -16)])
def test_the_median_of_a_class_is_known_to_a_32nd_of_an_octave(middle, usual):
    (row,) = outliers(100, 1, -12 if middle > 0 else 12, middle)
    assert row == (100, pytest.approx(2.0**usual))


@pytest.mark.parametrize(
    ("counts", "quartiles"),
    [([2, 2, 0, 0], [0, 0, 1]), ([1, 1, 1, 1], [0, 1, 2]), ([1, 2, 1, 1], [1, 1, 2]), ([0, 4, 0, 4], [1, 1, 3])],
)
def test_a_quantile_lies_in_the_first_bin_that_reaches_it(counts, quartiles):
    assert _quantiles(np.array([counts]), (0.25, 0.5, 0.75)).tolist() == [quartiles]


@pytest.mark.parametrize(("each", "classes", "known"), [(100, 3, 3), (99, 3, 0), (100, 4096, 4096), (100, 4097, 4096)])
def test_classes_are_known_from_a_hundred_boxes_on_and_4096_of_them(each, classes, known):
    start, usual = _class_bins(table(np.repeat(np.arange(classes), each)), classes)
    assert usual == known and start.tolist()[-1] == 1024 * min(classes - 1, known)


@pytest.mark.parametrize(
    ("box", "rows"),
    [
        ([(0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0.1, 0.3)], [0, 1]),
        ([(0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0, 0.3)], [0]),
        ([(0.5, 0.5, 0.2, 0), (0.5, 0.5, 0.1, 0.3)], [1]),
        ([(1.02, 0.5, 0.2, 0.2), (0.5, 0.5, 0.1, 0.3)], [1]),
        ([(1.009, 0.5, 0.2, 0.2), (0.5, 0.5, 0.1, np.nan)], [0]),
    ],
)
def test_boxes_with_two_sides_in_the_image_are_judged(box, rows):
    shape = _shapes(table(np.zeros(2), box))
    assert shape.rows.tolist() == rows
    assert shape.rows.dtype == (np.int32 if len(rows) == len(box) else np.int64)  # if all are good, less is kept
    assert shape.width == pytest.approx([box[row][2] for row in rows])
    assert shape.height == pytest.approx([box[row][3] for row in rows])
