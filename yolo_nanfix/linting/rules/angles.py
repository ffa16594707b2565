"""The corners of oriented boxes as angles: right ones in pixels, or right ones in parts of the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.linting.rules.box_columns import columns
from yolo_nanfix.linting.rules.geometry import Floats, Shapes, shapes
from yolo_nanfix.linting.rules.row_hits import once

CORNERS = 4
RIGHT = 0.02
"""An angle is right where the cosine is no larger: what five decimals leave of the corners of a small box."""
SKEWED = 0.05
"""An angle is not right from this cosine on: 3 degrees away."""


class Quads(NamedTuple):
    """The M rows with four corners.

    Attributes:
        shapes: the rows with points.
        rows: (M,) the places of these rows in `shapes`.
        corners: (2, 4, M) their corners, in pixels.
        in_pixels: (M,) whether they are rectangles in pixels, and are none in parts of the image.
        in_parts: (M,) whether they are rectangles in parts of the image, and are none in pixels.
    """

    shapes: Shapes
    rows: NDArray[np.int64]
    corners: Floats
    in_pixels: NDArray[np.bool_]
    in_parts: NDArray[np.bool_]


@once
def quads(labels: Labels, images: Images) -> Quads:
    """The rows with four corners, and where their angles are right."""
    boxes = shapes(labels, images)
    rows = np.flatnonzero(boxes.count == CORNERS)
    spots = boxes.start[rows] + np.arange(CORNERS)[:, None]
    pixels = np.stack([boxes.x[spots], boxes.y[spots]])
    parts = labels.points[boxes.spots[spots]].astype(np.float64).transpose(2, 0, 1)
    there, here = _skew(pixels), _skew(parts)
    known = columns(labels, images).known[boxes.rows[rows]]
    return Quads(
        boxes,
        rows,
        pixels,
        np.asarray(known & (there <= RIGHT) & (here >= SKEWED)),
        np.asarray(known & (here <= RIGHT) & (there >= SKEWED)),
    )


def _skew(corners: Floats) -> Floats:
    """(M,) the largest cosine of the four angles; 1 where two corners are the same."""
    edges = np.roll(corners, -1, axis=1) - corners
    length = np.hypot(*edges)
    after, further = np.roll(edges, -1, axis=1), np.roll(length, -1, axis=0)
    cosine = np.abs((edges * after).sum(axis=0)) / np.maximum(length * further, 1e-12)
    return np.asarray(np.where((length > 0).all(axis=0), cosine.max(axis=0), 1.0))
