"""Mean colours of the objects of each class, from a sample of the images of a split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.decode import decode
from yolo_nanfix.dataset.images import suffix_of
from yolo_nanfix.dataset.table import Table

SAMPLED_IMAGES = 32
"""How many images of a split are decoded."""
UPRIGHT = 1
COLOURED = 3
_INNER = 0.25
"""The colour of a box is that of its inner half: the border is background."""


def class_colours(table: Table, split: str) -> Mapping[int, NDArray[np.float64]]:
    """For each class of a split the mean blue, green and red of its boxes, (3, n), each 0 to 255."""
    images = table.members[split]
    images = images[(table.each[images] > 0) & (table.turn[images] <= UPRIGHT) & ~table.grey[images]]
    found: dict[int, list[NDArray[np.float64]]] = {}
    for image in images[:: max(1, len(images) // SAMPLED_IMAGES)][:SAMPLED_IMAGES].tolist():
        file = table.files[image]
        stored = decode(file, suffix_of(file), COLOURED)[1]
        if stored is None or stored.dtype != np.uint8 or stored.ndim != COLOURED or stored.shape[2] != COLOURED:
            continue
        rows = np.flatnonzero(table.row_image == image)
        for cls, box in zip(table.row_cls[rows].tolist(), table.row_box[rows].tolist(), strict=True):
            if np.isfinite(cls) and (inner := _inner(stored, box)) is not None:
                found.setdefault(int(cls), []).append(inner.reshape(-1, COLOURED).mean(axis=0, dtype=np.float64))
    return {cls: np.array(colours).T for cls, colours in found.items()}


def _inner(stored: NDArray[np.uint8], box: list[float]) -> NDArray[np.uint8] | None:
    """The pixels in the middle of a box; None where there are none."""
    if not np.isfinite(box).all():
        return None
    height, width = stored.shape[:2]
    x, y, w, h = box
    left, right = (int(np.clip((x + side * w * _INNER) * width, 0, width)) for side in (-1, 1))
    top, bottom = (int(np.clip((y + side * h * _INNER) * height, 0, height)) for side in (-1, 1))
    inner = stored[top : bottom + 1, left : right + 1]
    return inner if inner.size else None
