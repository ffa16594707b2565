"""How the labels of two images of a table differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.table import Table

NEARLY = 0.005
"""Two boxes are the same if no number differs by more."""
OVERLAP, AGREED = 0.7, 0.5
"""Boxes with at least this IoU are of one object; in two images of one picture, at least this share of boxes are."""
_MANY_ROWS = 1_000_000


def least_overlap(table: Table, first: int, image: int) -> float | None:
    """The least IoU of a box with its closest one of that class in the other image; None if the labels are equal.

    It is 0 if a box has none.
    """
    if table.labels[first] == table.labels[image]:
        return None
    one, other = table.labels_of(first), table.labels_of(image)
    if len(one) != len(other):
        return 0.0
    if len(one) ** 2 > _MANY_ROWS:  # too many for all pairs: compared in sorted order
        return None if (np.abs(np.sort(one, axis=0) - np.sort(other, axis=0)) <= NEARLY).all() else 0.0
    close = (np.abs(one[:, None] - other[None]) <= NEARLY).all(axis=2)
    if close.any(axis=0).all() and close.any(axis=1).all():
        return None
    overlap = np.where(one[:, None, 0] == other[None, :, 0], overlaps(one[:, None, 1:], other[None, :, 1:]), 0.0)
    return float(min(overlap.max(axis=0).min(), overlap.max(axis=1).min()))


def agree(table: Table, first: int, second: int, turn: int) -> bool | None:
    """Whether the boxes of two images, the second rotated, are those of one picture; None if one has none.

    Args:
        table: the dataset.
        first, second: the images.
        turn: orientation of the second, an index into `image_stats.LOOKS`.
    """
    one, other = table.labels_of(first)[:, 1:], table.labels_of(second)[:, 1:]
    if not len(one) or not len(other) or len(one) * len(other) > _MANY_ROWS:
        return None
    if turn >= 4:
        other = other[:, [1, 0, 3, 2]]
    for axis in (0, 1):
        if turn % 4 in (axis + 1, 3):
            other = np.column_stack([1 - other[:, i] if i == axis else other[:, i] for i in range(4)])
    overlap = overlaps(one[:, None], other[None]) >= OVERLAP
    return bool(min(overlap.any(axis=0).mean(), overlap.any(axis=1).mean()) >= AGREED)


def overlaps(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(...) IoU of boxes x, y, w, h (..., 4), which are broadcast against each other; 0 for boxes without area."""
    boxes = [np.asarray(part, np.float64) for part in (one, other)]
    low, high = ([box[..., :2] + side * box[..., 2:] / 2 for box in boxes] for side in (-1, 1))
    common = np.clip(np.minimum(*high) - np.maximum(*low), 0, None).prod(axis=-1)
    union = boxes[0][..., 2:].prod(axis=-1) + boxes[1][..., 2:].prod(axis=-1) - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))
