"""BX: boxes compared with all others of the set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.label_boxes import HIGH, LOW, once
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.boxes import WITH_BOXES
from yolo_nanfix.linting.rules.classes import class_numbers

STRIDE = 8
"""Side in pixels of a cell of the models' finest grid."""
SMALL_SHARE = 0.1
COVERED = 0.002
"""A box that ends this near to the border of the image (normalised) still covers it: one pixel of 500."""
MANY_COVERED, MOST_COVERED = 3, 0.5
"""From this many boxes, and this share of those of a folder on, one finding is about the folder."""
ENOUGH_BOXES = 100
"""What is typical of a class is known from this many boxes on."""
SPREADS = 7.0
"""An outlier is further from the median than this many standard deviations (estimated from the quartiles)."""
RARE, FEW_OUTLIERS = 0.002, 3
"""More boxes than this share of a class, and more than `FEW_OUTLIERS`, are another kind of it, not outliers."""
BORDER = 0.005
SHOWN_OUTLIERS = 20
MOST_CLASSES = 4096
_BINS, _PER_OCTAVE, _LOWEST = 1024, 32, -16


class _Shape(NamedTuple):
    """The rows whose boxes can be judged, with their sides in pixels at the image's own size."""

    rows: NDArray[np.integer[Any]]
    width: NDArray[np.float32]
    height: NDArray[np.float32]


@once
def _shapes(table: Table) -> _Shape:
    """All boxes with two sides, inside an image of known size."""
    box = table.row_box
    width = box[:, 2] * table.of_rows(table.width.astype(np.float32))
    height = box[:, 3] * table.of_rows(table.height.astype(np.float32))
    if len(box) and width.min() > 0 and height.min() > 0 and box.max() <= HIGH:
        return _Shape(np.arange(len(box), dtype=np.int32), width, height)
    rows = np.flatnonzero((width > 0) & (height > 0) & (box <= HIGH).all(axis=1))
    return _Shape(rows, width[rows], height[rows])


@rule("BX014", Severity.INFO, Effect.ACCEPTS, WITH_BOXES)
def box_covers_image(table: Table) -> Iterator[Hit]:
    """A box covers the whole image; or most boxes of a folder do.

    Why: often a placeholder, or a classification set turned into boxes: no position is learned.
    Ultralytics: keeps the box.
    Example: `0 0.5 0.5 1 1`.
    Fix: nothing if the object fills the image; else draw the box again, or train the task classify.
    """
    rows = np.flatnonzero((table.row_box[:, 2:] >= 1 - 2 * COVERED).all(axis=1))
    if not len(rows):
        return
    x, y, w, h = table.row_box[rows].T.astype(np.float64)
    across, down = np.minimum(w / 2 - x, x + w / 2 - 1), np.minimum(h / 2 - y, y + h / 2 - 1)
    kept = (table.row_box[rows] <= HIGH).all(axis=1) & (table.row_box[rows, :2] >= LOW).all(axis=1)
    rows = rows[(across >= -COVERED) & (down >= -COVERED) & kept]
    if not len(rows):
        return
    folders, home = np.unique([file.rpartition(os.sep)[0] for file in table.files], return_inverse=True)
    where, size = home[table.row_image[rows]], len(folders)
    total, many = np.bincount(home, table.each, size), np.bincount(where, minlength=size)
    meant = (many >= MANY_COVERED) & (many >= MOST_COVERED * total)
    for row in rows[~meant[where]].tolist():
        yield _row_hit(table, row, "the box covers the whole image", {})
    for folder in np.flatnonzero(meant).tolist():
        images = np.unique(table.row_image[rows[where == folder]])
        boxed = np.count_nonzero((home == folder) & (table.each > 0))
        says = "{boxes} of {of_boxes} boxes cover the whole image, in {images} of {of_images} images with boxes"
        values = {"boxes": int(many[folder]), "of_boxes": int(total[folder]), "images": len(images)}
        split, values = table.split_of(int(images[0])), values | {"of_images": int(boxed)}
        yield Hit(str(folders[folder]), says, split=split, values=values)


@rule("BX017", Severity.INFO, Effect.ACCEPTS, WITH_BOXES)
def boxes_small_at_imgsz(table: Table, options: LintOptions) -> Iterator[Hit]:
    """At the image size of the training, a tenth of all boxes or more are smaller than a cell of the finest grid.

    Why: objects under 8x8 pixels share a cell with their neighbours and leave little to see.
    Ultralytics: trains on them; the finest stride of the usual models is 8 pixels.
    Example: objects of 40x40 pixels on images of 4000x3000, trained at 640.
    Fix: train at a larger `imgsz`, cut the images into tiles, or take a model with a P2 head.
    """
    shape = _shapes(table)
    scale = options.imgsz / np.maximum(np.maximum(table.width, table.height), 1).astype(np.float32)
    own = table.of_rows(scale)
    side = np.maximum(shape.width, shape.height)
    side *= own if len(side) == len(own) else own[shape.rows]
    small = side < STRIDE
    count = np.count_nonzero(small)
    if len(small) >= ENOUGH_BOXES and count / len(small) >= SMALL_SHARE:
        first = int(shape.rows[np.argmax(small)])
        says = "{boxes} of {of} boxes are under {stride}x{stride} pixels at imgsz {imgsz}"
        values = {"boxes": int(count), "of": len(small), "stride": STRIDE, "imgsz": options.imgsz}
        yield _row_hit(table, first, says, values)


@rule("BX019", Severity.INFO, Effect.ACCEPTS, WITH_BOXES)
def box_size_outlier(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A box is far larger or smaller than the boxes of its class.

    Why: a slip of the mouse, a box around a group, or the wrong class.
    Ultralytics: trains on it.
    Example: one box of 900x700 pixels among cells of 40x40.
    Fix: look at the box; draw it again if it is wrong.
    """
    shape = _shapes(table)
    side = shape.width * shape.height
    np.sqrt(side, out=side)
    for row, usual in _outliers(table, shape, side, config.ceiling):
        says = "{width:.0f}x{height:.0f} pixels, where {name!r} typically has {typical:.0f}"
        yield _row_hit(table, row, says, _sides(table, config, shape, row) | {"typical": usual})


@rule("BX020", Severity.INFO, Effect.ACCEPTS, WITH_BOXES)
def box_aspect_outlier(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A box inside the image is far wider or higher than the boxes of its class, for its size.

    Why: a slip of the mouse, or the wrong class. Boxes at the border are not checked: it cuts objects.
    Ultralytics: trains on it.
    Example: one box of 300x10 pixels among faces.
    Fix: look at the box; draw it again if it is wrong.
    """
    shape = _shapes(table)
    for row, usual in _outliers(table, shape, shape.width / shape.height, config.ceiling):
        box = table.row_box[row]
        if (np.minimum(box[:2], 1 - box[:2]) - box[2:] / 2 < BORDER).any():
            continue
        says = "{width:.0f}x{height:.0f} pixels, where {name!r} typically has width to height {typical:.2g}"
        yield _row_hit(table, row, says, _sides(table, config, shape, row) | {"typical": usual})


def _outliers(table: Table, shape: _Shape, values: NDArray[np.float32], nc: int) -> list[tuple[int, float]]:
    """Outlier rows, the furthest `SHOWN_OUTLIERS` of each class, with the median of their class.

    Logarithms of the values are counted in bins of 1/32 octave: medians need no sorting. `values` is overwritten.
    """
    start, usual = _class_bins(table, nc)
    if not usual:
        return []
    octaves = np.log2(values, out=values)
    octaves -= _LOWEST
    octaves *= _PER_OCTAVE
    spot = np.clip(octaves, 0, _BINS - 1, out=octaves).astype(np.intp)
    spot += start
    counts = np.bincount(spot, minlength=(usual + 1) * _BINS)[: usual * _BINS].reshape(-1, _BINS)
    quartiles = _quantiles(counts, (0.25, 0.5, 0.75))
    spread = np.maximum((quartiles[:, 2] - quartiles[:, 0]) / 1.349, _PER_OCTAVE / 8)
    distance = np.abs(np.arange(_BINS) - quartiles[:, 1, None]) / spread[:, None]
    far = (distance > SPREADS) & counts.astype(np.bool_)
    far &= ((counts * far).sum(axis=1) <= np.maximum(FEW_OUTLIERS, RARE * counts.sum(axis=1)))[:, None]
    if not far.any():
        return []
    chosen = np.flatnonzero(np.append(far.ravel(), np.zeros(_BINS, np.bool_)).take(spot))
    chosen = chosen[np.argsort(-distance.ravel()[spot[chosen]], kind="stable")]
    rows: list[tuple[int, float]] = []
    room = np.full(usual, SHOWN_OUTLIERS)
    for i, place in zip(chosen.tolist(), (spot[chosen] // _BINS).tolist(), strict=True):
        room[place] -= 1
        if room[place] >= 0:
            rows.append((int(shape.rows[i]), float(2.0 ** (quartiles[place, 1] / _PER_OCTAVE + _LOWEST))))
    return rows


@once
def _class_bins(table: Table, nc: int) -> tuple[NDArray[np.intp], int]:
    """For each box of `_shapes` the first bin of its class among those with enough boxes, and how many these are.

    Boxes of other classes get the bins after the last.
    """
    rows = _shapes(table).rows
    number = class_numbers(table.row_cls[rows], nc)
    usual = np.flatnonzero(np.bincount(number, minlength=nc + 1)[:nc] >= ENOUGH_BOXES)[:MOST_CLASSES]
    compact = np.full(nc + 1, len(usual), np.intp)
    compact[usual] = np.arange(len(usual))
    number = compact[number] * _BINS
    return number, len(usual)


def _quantiles(counts: NDArray[np.int64], parts: tuple[float, ...]) -> NDArray[np.int64]:
    """(classes, parts) the bins in which the quantiles of each class lie."""
    below = np.cumsum(counts, axis=1)
    return np.stack([(below < below[:, -1:] * part).sum(axis=1) for part in parts], axis=1)


def _sides(table: Table, config: DataConfig, shape: _Shape, row: int) -> dict[str, Any]:
    here = np.searchsorted(shape.rows, row)
    width, height = float(shape.width[here]), float(shape.height[here])
    return {"width": width, "height": height, "name": config.name(int(table.row_cls[row]))}


def _row_hit(table: Table, row: int, says: str, values: Mapping[str, Any]) -> Hit:
    image, line = int(table.row_image[row]), int(table.row_line[row])
    split, file = table.split_of(image), table.files[image]
    return Hit(table.labels[image], says, line, split=split, image=file, values=values)
