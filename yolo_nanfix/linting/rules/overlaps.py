"""BX: boxes that stand twice in a file, exactly or nearly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.rule import Hit, rule
from yolo_nanfix.linting.rules.rows import Images, once, row_hits

UPRIGHT = ("detect", "segment", "pose")
NEAR = 0.95
"""Two boxes are nearly one from this overlap (IoU) on."""
MAX_NEIGHBOURS = 16
"""A box is held against so many others at most: those that begin next, from left to right."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


@rule("BX007", "row-duplicate", Severity.WARNING, Effect.REWRITES)
def row_duplicate(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row stands twice in one file.

    Why: the second one is of no use, and tells of a merge that went wrong.
    Ultralytics: removes the repeated row in memory, with one line in the log.
    Example: two rows `0 0.5 0.5 0.2 0.2`.
    Mend: remove one of the rows.
    """
    first = _first_equal(labels, labels.cls, labels.shape ^ _points_hash(labels))
    mask = first != np.arange(len(first))
    yield from row_hits(labels, images, mask, lambda row: f"the same as line {labels.line[first[row]]}")


@rule("BX009", "box-of-two-classes", Severity.WARNING, Effect.ACCEPTS)
def box_of_two_classes(labels: Labels, images: Images) -> Iterator[Hit]:
    """One box stands twice in a file, with two classes.

    Why: the two rows contradict each other, and each is an error of the other in training.
    Ultralytics: keeps both.
    Example: `0 0.5 0.5 0.2 0.2` and `1 0.5 0.5 0.2 0.2`.
    Mend: keep the row with the right class.
    """
    first = _first_equal(labels, np.zeros_like(labels.cls), labels.shape)
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
    Mend: remove one of the rows.
    """
    other, overlap = _near(labels)
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
    Mend: keep the row with the right class.
    """
    other, overlap = _near(labels)
    mask = (other >= 0) & (labels.cls != labels.cls[other])

    def message(row: int) -> str:
        mine, its = labels.cls[row], labels.cls[other[row]]
        line = labels.line[other[row]]
        return (
            f"class {mine:g} for a box that overlaps that of class {its:g} on line {line} by {overlap[row]:.1%} (IoU)"
        )

    yield from row_hits(labels, images, mask, message)


def _first_equal(labels: Labels, cls: NDArray[np.float32], shape: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row the first row of the same file with equal class, box and shape; itself if it is the first."""
    table = np.column_stack([cls, labels.box]).astype(np.float32) + np.float32(0)  # no negative zero
    bits = np.column_stack([table.view(np.uint32), labels.file.astype(np.uint32)]).astype(np.uint64)
    key = shape.view(np.uint64).copy()
    with np.errstate(over="ignore"):
        for column in bits.T:
            key = (key ^ column) * _MIX
            key ^= key >> np.uint64(29)
    number = np.arange(len(key))
    crowded = np.flatnonzero(_crowded(key))  # nearly all rows stand alone; only the others are worth sorting
    order = crowded[np.argsort(key[crowded], kind="stable")]
    starts = np.r_[True, key[order][1:] != key[order][:-1]] if len(order) else np.zeros(0, bool)
    first = number.copy()
    first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    same = (bits == bits[first]).all(axis=1) & (shape == shape[first])
    return np.where(same, first, number)


def _crowded(key: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether a key may stand twice: no two of the others fall into one of eight times as many slots."""
    slots = 1 << (8 * max(len(key), 1)).bit_length()
    slot = (key & np.uint64(slots - 1)).astype(np.int64)
    return np.asarray(np.bincount(slot, minlength=slots)[slot] > 1)


@once
def _points_hash(labels: Labels) -> NDArray[np.int64]:
    """(N,) a hash of the keypoints of each row of a pose label; 0 for rows without points and for polygons."""
    hashed = np.zeros(len(labels.cls), np.uint64)
    rows = np.flatnonzero((np.diff(labels.first) > 0) & (labels.shape == 0))
    if len(rows):
        table = np.column_stack([labels.points, labels.visible]) + np.float32(0)
        bits = np.ascontiguousarray(table).view(np.uint32).astype(np.uint64)
        place = (np.arange(len(bits)) - np.repeat(labels.first[:-1], np.diff(labels.first))).astype(np.uint64)
        with np.errstate(over="ignore"):
            key = place + np.uint64(1)
            for column in bits.T:
                key = (key ^ column) * _MIX
                key ^= key >> np.uint64(29)
        hashed[rows] = np.bitwise_xor.reduceat(key, labels.first[rows])
    return hashed.view(np.int64)


@once
def _near(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each row an earlier row of its file whose box is nearly, but not exactly, the same, else -1; their IoU.

    Boxes with exactly the same numbers are left to BX007 and BX009, unless their polygons differ.
    """
    other, overlap = np.full(len(labels.cls), -1), np.zeros(len(labels.cls))
    box = labels.box.astype(np.float64)
    rows = np.flatnonzero((box[:, 2:] > 0).all(axis=1) & (np.abs(box) <= 2).all(axis=1))
    left = labels.file[rows] * 8.0 + (box[rows, 0] - box[rows, 2] / 2)
    order = np.argsort(left, kind="stable")
    rows, left = rows[order], left[order]
    end = left + box[rows, 2] * (1 / NEAR - 1)
    mine = np.flatnonzero(left[1:] <= end[:-1])  # those with any neighbour close enough
    count = np.minimum(np.searchsorted(left, end[mine], side="right") - mine - 1, MAX_NEIGHBOURS)
    first = np.repeat(mine, count)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    a, b = rows[first], rows[second]
    shared = _shared(box[a], box[b])
    iou = shared / (box[a, 2] * box[a, 3] + box[b, 2] * box[b, 3] - shared)
    equal = (labels.box[a] == labels.box[b]).all(axis=1) & (labels.shape[a] == labels.shape[b])
    near = (iou > NEAR) & ~equal
    late, early = np.maximum(a, b)[near], np.minimum(a, b)[near]
    other[late], overlap[late] = early, iou[near]
    return other, overlap


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M,) the area that boxes x y w h (M, 4) share."""
    low = np.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = np.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    return np.asarray(np.maximum(high - low, 0).prod(axis=1))
