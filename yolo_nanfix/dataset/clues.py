"""Counts of unusual rows in the label file of each image, for rules over the whole set."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import quads, right_angles
from yolo_nanfix.dataset.label_parser import PLAIN_COLUMNS
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.table import Table

SEVEN = 7
INSIDE, NOT_NORMALISED = 1.02, 2.0
"""Keypoints and boxes in their image end before the first; numbers above the second are not normalised."""
CORNERS_AND_TWO, LEAST_CORNERS = 5, 3
"""Corners that are read of an oriented box with two columns behind it; corners of a triangle."""
PARTS = -0.5, 1.5
"""Normalised coordinates, those of sloppy rows among them."""
EDGE = 0.01
"""A tracker's box may reach out of the image by so much: it writes what a model predicts."""


class Clue(IntEnum):
    """The columns of `Table.clues`."""

    RIGHT_IN_PIXELS = 0
    """Oriented boxes with right angles in pixels only."""
    RIGHT_IN_PARTS = 1
    """Oriented boxes with right angles in normalised coordinates only."""
    PLAIN_BOX = 2
    """Rows of class and box where more columns are wanted."""
    NUMBERED = 3
    """Rows with one column too many, whose second one is a whole number."""
    MISFIT = 4
    """Rows with another number of columns than is wanted, those two kinds among them."""
    TRACKED = 5
    """Rows of seven columns that read as class, a box in the image, a confidence and a whole number."""
    NUMBER_OVER_ONE = 6
    """Those of them whose number is above 1, so that it is no coordinate."""
    CORNERS = 7
    """Polygons that do not read so."""
    FIRST_OVER = 8
    """Rows with a number too many whose first column is no class."""
    SECOND_OVER = 9
    """Rows with a number too many whose second column is no class."""
    POINTS_OUT = 10
    """Pose rows with a keypoint far out of the image."""
    POINTS_LARGE = 11
    """Pose rows with a box in the image and a keypoint that is no part of one."""
    POINTS_PIXELS = 12
    """Those of them whose keypoints lie in the image if they are pixels."""
    POINTS_PERCENT = 13
    """Those of them whose keypoints lie in the image if they are percent of it."""
    ONE_BEHIND = 14
    """Rows with one column too many behind them: a confidence, or the number of a track."""
    TWO_BEHIND = 15
    """Rows that end with a confidence and a whole number, two columns too many or one corner more."""
    TWO_OVER_ONE = 16
    """Those of them whose number is above 1, so that it is no coordinate, and those whose width shows it."""
    ONE_AHEAD = 17
    """Those with one column behind them whose outline would be smoother if it stood ahead, beside the class."""


COUNT = len(Clue)
UNREAD = (
    "TX005", "TX007", "TX009", "TX013", "KP010", "KP011", "SP007", "FS003", "FS004", "CL004", "CL005", "CL006", "CL009",
)  # fmt: skip
"""Rules that also find something if the rows of a set cannot be read."""
LEAST_OF_SET, SHARE_OF_SET = 3, 0.95
"""From so many rows, and this share of all, on it is no accident but how the set was written."""


def met(table: Table, clue: Clue) -> Iterator[tuple[str | None, int, int]]:
    """The splits (None: the set) in which nearly all rows have a clue: the split, their number, and of how many."""
    for split in (None, *table.splits):
        images = slice(None) if split is None else table.members[split]
        count, rows = int(table.clues[images, clue].sum()), int(table.lines[images].sum())
        if count >= LEAST_OF_SET and count >= SHARE_OF_SET * rows:
            yield split, count, rows
            if split is None:
                return


def clues(images: Images, labels: Labels, nc: int, task: str) -> NDArray[np.int32]:
    """(N, COUNT) int32, how often each clue occurs in the label file of each image; there are `nc` classes."""
    found = np.zeros((len(images), COUNT), np.int32)
    for bad in labels.bad:
        if bad.kind == "columns":
            here = found[labels.image[bad.file]]
            here[Clue.MISFIT] += 1
            here[Clue.PLAIN_BOX] += bad.number == PLAIN_COLUMNS
            behind = bad.behind == 1 and (bad.head is None or 0 <= bad.head[0] < nc)
            here[Clue.ONE_BEHIND] += behind
            here[Clue.ONE_AHEAD] += behind and bad.ahead
            here[[Clue.TWO_BEHIND, Clue.TWO_OVER_ONE]] += bad.behind > 1
            if bad.head is not None:
                here[Clue.NUMBERED] += 1
                here[Clue.FIRST_OVER] += not 0 <= bad.head[0] < nc
                here[Clue.SECOND_OVER] += bad.head[1] >= nc
    if task in ("segment", "obb") and len(labels.points):
        for clue, rows in zip((Clue.TWO_BEHIND, Clue.TWO_OVER_ONE), _two_behind(labels, task), strict=True):
            found[:, clue] += np.bincount(labels.row_image[rows], minlength=len(images)).astype(np.int32)
    if task == "detect" and (labels.columns >= SEVEN).any():
        tracked, over = _tracked(labels)
        many = labels.columns >= SEVEN
        for clue, mask in ((Clue.TRACKED, tracked), (Clue.NUMBER_OVER_ONE, over), (Clue.CORNERS, many & ~tracked)):
            found[:, clue] = np.bincount(labels.row_image, mask, len(images))
    if task == "pose" and len(labels.points):
        for clue, mask in _point_clues(labels, images).items():
            found[:, clue] = np.bincount(labels.row_image, mask, len(images))
    if task == "obb" and len(labels.cls):
        image = labels.row_image[quads(labels, images)[0].rows]
        for clue, mask in zip((Clue.RIGHT_IN_PIXELS, Clue.RIGHT_IN_PARTS), right_angles(labels, images), strict=True):
            found[:, clue] = np.bincount(image, mask, len(images))
    return found


def _point_clues(labels: Labels, images: Images) -> dict[Clue, NDArray[np.bool_]]:
    """(R,) bool each, what the keypoints of pose rows are parts of."""
    counts = np.diff(labels.first)
    with_points = np.flatnonzero(counts)
    far = np.zeros((len(labels.cls), 2))
    far[with_points] = np.maximum.reduceat(labels.points, labels.first[with_points])
    largest = np.where(np.isfinite(far).all(axis=1), far.max(axis=1), 0)
    x, y, w, h = labels.box.T
    inside = (np.maximum(x + w / 2, y + h / 2) <= INSIDE) & np.isfinite(labels.extra)
    large = inside & (largest > NOT_NORMALISED)
    sides = np.stack([images.columns["width"], images.columns["height"]], axis=1)[labels.row_image]
    return {
        Clue.POINTS_OUT: largest > INSIDE,
        Clue.POINTS_LARGE: large,
        Clue.POINTS_PIXELS: large & (far <= sides * INSIDE).all(axis=1),
        Clue.POINTS_PERCENT: large & (largest <= 100 * INSIDE),
    }


def _tracked(labels: Labels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(R,) bool, which rows read as class, box, confidence and the number of a track, and which of these above 1."""
    tracked, over = np.zeros(len(labels.cls), np.bool_), np.zeros(len(labels.cls), np.bool_)
    counts = np.diff(labels.first)
    rows = np.flatnonzero((labels.columns == SEVEN) & (counts == 3))
    corners = labels.points[labels.first[rows][:, None] + np.arange(3)]  # (n, 3, 2): x y, w h, confidence and number
    centre, side, (confidence, number) = corners[:, 0], corners[:, 1], corners[:, 2].T
    inside = ((centre - side / 2 >= -EDGE) & (centre + side / 2 <= 1 + EDGE) & (side > 0)).all(axis=1)
    fits = inside & (confidence >= 0) & (confidence <= 1) & (number >= 0) & (np.floor(number) == number)
    tracked[rows[fits]] = True
    over[rows[fits & (number > 1)]] = True
    return tracked, over


def _two_behind(labels: Labels, task: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows whose last corner may be a confidence and the number of a track, and those whose number is above 1."""
    counts = np.diff(labels.first)
    rows = np.flatnonzero(counts == CORNERS_AND_TWO if task == "obb" else counts >= LEAST_CORNERS + 1)
    confidence, number = labels.points[labels.first[rows + 1] - 1].T
    rows = rows[(number >= 0) & (np.floor(number) == number) & (confidence >= 0) & (confidence <= 1)]
    rows = rows[_in_parts(labels, rows)]
    return rows, rows[labels.points[labels.first[rows + 1] - 1, 1] > 1]


def _in_parts(labels: Labels, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows are normalised but for their last corner, and not only 0 and 1."""
    if not len(rows):
        return np.zeros(0, np.bool_)
    counts = labels.first[rows + 1] - labels.first[rows] - 1
    starts = np.cumsum(counts) - counts
    spots = np.repeat(labels.first[rows] - starts, counts) + np.arange(counts.sum())
    rest = labels.points[spots]
    inside = ((rest >= PARTS[0]) & (rest <= PARTS[1])).all(axis=1)
    between = ((rest != 0) & (rest != 1)).any(axis=1)
    return np.asarray(np.logical_and.reduceat(inside, starts) & np.logical_or.reduceat(between, starts), np.bool_)
