"""BX: boxes that stand twice in a file, exactly or nearly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import HIGH, LOW, first_equal, label_boxes, once
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.row_hits import row_hits

UPRIGHT = ("detect", "segment", "pose")
NEAR = 0.95
"""Two boxes are nearly one from this overlap (IoU) on."""
MAX_NEIGHBOURS = 16
"""A box is held against so many others at most: those that begin next, from left to right."""
AT_ONCE = 1 << 14
"""Boxes that are held against their neighbours in one go: 200 bytes are held of each pair."""


@rule("BX007", "row-duplicate", Severity.WARNING, Effect.REWRITES)
def row_duplicate(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row stands twice in one file.

    Why: the second one is of no use, and tells of a merge that went wrong.
    Ultralytics: removes the repeated row in memory, with one line in the log.
    Example: two rows `0 0.5 0.5 0.2 0.2`.
    Fix: remove one of the rows.
    """
    first = first_equal(labels, images)[0]
    mask = first != np.arange(len(first))
    hits = row_hits(labels, images, mask, lambda _: "the same as {line!l}")
    for hit, row in zip(hits, np.flatnonzero(mask).tolist(), strict=True):
        yield hit._replace(values={"line": int(labels.line[first[row]])})


@rule("BX009", "box-of-two-classes", Severity.WARNING, Effect.ACCEPTS)
def box_of_two_classes(labels: Labels, images: Images) -> Iterator[Hit]:
    """One box stands twice in a file, with two classes.

    Why: the two rows contradict each other, and each is an error of the other in training.
    Ultralytics: keeps both.
    Example: `0 0.5 0.5 0.2 0.2` and `1 0.5 0.5 0.2 0.2`.
    Fix: keep the row with the right class.
    """
    first = first_equal(labels, images)[1]
    mask = (first != np.arange(len(first))) & (labels.cls != labels.cls[first])

    def message(row: int) -> str:
        other = first[row]
        mine, its = labels.cls[row], labels.cls[other]
        return f"class {mine:g} for the box that has class {its:g} on line {labels.line[other]}"

    yield from row_hits(labels, images, mask, message)


@rule("BX012", "box-near-duplicate", Severity.WARNING, Effect.ACCEPTS, UPRIGHT)
def box_near_duplicate(labels: Labels, images: Images) -> Iterator[Hit]:
    """Two boxes of one class are nearly the same (IoU above 0.95).

    Why: one object is labelled twice; in evaluation the second one can never be found.
    Ultralytics: keeps both; it removes rows only if they are exactly equal.
    Example: `0 0.5 0.5 0.2 0.2` and `0 0.501 0.5 0.2 0.2`.
    Fix: remove one of the rows.
    """
    other, overlap = _near(labels, images)
    mask = (other >= 0) & (labels.cls == labels.cls[other])

    def message(row: int) -> str:
        return f"overlaps the box of line {labels.line[other[row]]} by {overlap[row]:.1%} (IoU), the same class"

    yield from row_hits(labels, images, mask, message)


@rule("BX013", "near-box-of-two-classes", Severity.WARNING, Effect.ACCEPTS, UPRIGHT)
def near_box_of_two_classes(labels: Labels, images: Images) -> Iterator[Hit]:
    """Two boxes of different classes are nearly the same (IoU above 0.95).

    Why: mostly one object labelled by two people, who disagree: each row is an error of the other in training.
    Ultralytics: keeps both.
    Example: `0 0.5 0.5 0.2 0.2` and `1 0.501 0.5 0.2 0.2`.
    Fix: keep the row with the right class.
    """
    other, overlap = _near(labels, images)
    mask = (other >= 0) & (labels.cls != labels.cls[other])

    def message(row: int) -> str:
        mine, its = labels.cls[row], labels.cls[other[row]]
        line = labels.line[other[row]]
        return (
            f"class {mine:g} for a box that overlaps that of class {its:g} on line {line} by {overlap[row]:.1%} (IoU)"
        )

    yield from row_hits(labels, images, mask, message)


@once
def _near(labels: Labels, images: Images) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each row the first one before it in its file with nearly, but not exactly, the same box, else -1; their IoU.

    Boxes with exactly the same numbers are left to BX007 and BX009, unless their polygons differ.
    """
    other, overlap = np.full(len(labels.cls), -1), np.zeros(len(labels.cls))
    boxes = label_boxes(labels, images)
    rows = np.flatnonzero((boxes.side > 0) & (boxes.largest <= HIGH) & (boxes.centre >= LOW))
    width = boxes.w[rows].astype(np.float64)
    left = labels.file[rows] * 8.0 + (boxes.x[rows] - width / 2)
    order = np.argsort(left, kind="stable")
    left = left[order]
    end = left + width[order] * (1 / NEAR - 1)
    mine = np.flatnonzero(left[1:] <= end[:-1])  # those with any neighbour close enough
    count = np.minimum(np.searchsorted(left, end[mine], side="right") - mine - 1, MAX_NEIGHBOURS)
    rows = rows[order]
    found = [
        _near_pairs(labels, rows, mine[at : at + AT_ONCE], count[at : at + AT_ONCE])
        for at in range(0, len(mine), AT_ONCE)
    ]
    if found:
        late, early, iou = map(np.concatenate, zip(*found, strict=True))
        last = np.argsort(-early, kind="stable")  # of several earlier rows the first one stays
        other[late[last]], overlap[late[last]] = early[last], iou[last]
    return other, overlap


def _near_pairs(
    labels: Labels, rows: NDArray[np.int64], mine: NDArray[np.int64], count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of rows whose boxes are nearly the same: the later row, the earlier one, and their IoU.

    Args:
        labels: the label rows.
        rows: some of them, from left to right.
        mine: places among these; each box is held against the `count` next ones.
        count: how many.
    """
    first = np.repeat(mine, count)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    a, b = rows[first], rows[second]
    one, two = labels.box[a].astype(np.float64), labels.box[b].astype(np.float64)
    shared = _shared(one, two)
    iou = shared / (one[:, 2] * one[:, 3] + two[:, 2] * two[:, 3] - shared)
    equal = (one == two).all(axis=1) & (labels.shape[a] == labels.shape[b])
    near = (iou > NEAR) & ~equal
    return np.maximum(a, b)[near], np.minimum(a, b)[near], iou[near]


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M,) the area that boxes x y w h (M, 4) share."""
    low = np.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = np.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    return np.asarray(np.maximum(high - low, 0).prod(axis=1))
