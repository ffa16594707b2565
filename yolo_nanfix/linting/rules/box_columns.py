"""The boxes of a label table as single columns: held against bounds column by column they cost next to nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.linting.rules.row_hits import HIGH, LOW, once

Column = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Boxes:
    """N boxes; all arrays are (N,).

    Attributes:
        x, y, w, h: centre and sides, as parts of the image.
        largest: the largest of the four.
        centre: the smaller coordinate of the centre.
        side: the smaller side.
        sound: all numbers of the row are finite, and no side is negative.
        dropped: a number is so far out that Ultralytics drops the image (of a pose label: would, if it looked at it).
        inside: all four numbers are 0 to 1.
        width, height: of the image, in pixels; 0 if unknown.
        known: whether they are known.
    """

    x: Column
    y: Column
    w: Column
    h: Column
    largest: Column
    centre: Column
    side: Column
    sound: Mask
    dropped: Mask
    inside: Mask
    width: Column
    height: Column
    known: Mask


@once
def columns(labels: Labels, images: Images) -> Boxes:
    """The boxes of a label table."""
    x, y, w, h = (np.ascontiguousarray(column) for column in labels.box.T)
    centre, side = np.minimum(x, y), np.minimum(w, h)
    largest = np.maximum(np.maximum(x, y), np.maximum(w, h))
    sound = np.isfinite(labels.extra) & (side >= 0)
    owner = np.array([file.image for file in labels.files], np.int64)
    width = images.columns.width[owner].astype(np.float32)[labels.file]
    height = images.columns.height[owner].astype(np.float32)[labels.file]
    return Boxes(
        x=x,
        y=y,
        w=w,
        h=h,
        largest=largest,
        centre=centre,
        side=side,
        sound=sound,
        dropped=(largest > HIGH) | (centre < LOW),
        inside=(largest <= 1) & (centre >= 0) & (side >= 0),
        width=width,
        height=height,
        known=(width > 0) & (height > 0),
    )


@once
def in_pixels(boxes: Boxes) -> Mask:
    """The rows whose numbers are too large for parts of an image."""
    return boxes.sound & (boxes.largest > 2)
