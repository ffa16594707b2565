"""OB: oriented boxes; each row is a class and four corners x y, normalised."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.clues import Clue
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import CORNERS, Floats, label_boxes, quads, right_angles, shapes
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.geometry import areas, enclosing_rectangles, flat
from yolo_nanfix.linting.rules.row_hits import row_hits

OBB = ("obb",)
FEW_ROTATED, MOST_ROTATED = 3, 0.9
"""At least this many boxes rotated in percent, and this share of the boxes whose angles tell, are no chance."""
FILLED = 0.7
"""A quadrilateral that fills less of its rectangle is far from being one."""


@rule("OB001", Severity.WARNING, Effect.ACCEPTS, OBB)
def corner_outside_image(labels: Labels, images: Images) -> Iterator[Hit]:
    """A corner of an oriented box is outside the image by more than a pixel.

    Why: its centre and sides are not those of the visible part; common in sets cut into tiles.
    Ultralytics: keeps the box; augmentation cuts it at the border, validation does not.
    Example: `0 0.8 0.7 0.6 0.5 0.9 0.3 1.04 0.5`.
    Fix: nothing if the boxes are meant to extend beyond the tile; else clip them.
    """
    boxes = shapes(labels, images)
    upright = label_boxes(labels, images)
    width, height = upright.width[boxes.rows], upright.height[boxes.rows]
    low = -np.minimum(boxes.smallest(boxes.x), boxes.smallest(boxes.y))
    spill = np.maximum(low, np.maximum(boxes.largest(boxes.x) - width, boxes.largest(boxes.y) - height))
    chosen = (spill > 1) & upright.known[boxes.rows] & ~upright.dropped[boxes.rows]
    says = "a corner is {spill:.0f} px outside the image"
    yield from row_hits(labels, images, boxes.rows[chosen], says, spill=spill[chosen])


@rule("OB002", Severity.ERROR, Effect.ACCEPTS, OBB, autofix=unsafe(Operation.DROP))
def obb_area_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """All corners of an oriented box lie on one line, or at one point.

    Why: no prediction can match it, and the overlap of rotated boxes is computed from a side of 0.
    Ultralytics: keeps the box, with a side of 0.
    Example: `0 0.1 0.1 0.5 0.1 0.5 0.1 0.1 0.1`.
    Fix: remove the row, or draw the box again.
    """
    boxes = shapes(labels, images)
    yield from row_hits(labels, images, boxes.rows[flat(boxes)], "the corners lie on one line: area 0")


@rule("OB003", Severity.WARNING, Effect.REWRITES, OBB)
def obb_corner_repeated(labels: Labels, images: Images) -> Iterator[Hit]:
    """Two corners of an oriented box are the same: it is a triangle.

    Why: a click that failed; the box that is trained on is larger than what was drawn.
    Ultralytics: takes the smallest rectangle around the corners.
    Example: `0 0.1 0.1 0.5 0.1 0.5 0.1 0.1 0.4`.
    Fix: draw the box again.
    """
    boxes, (x, y) = quads(labels, images)
    same = np.zeros(len(boxes.rows), np.bool_)
    for i, j in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        same |= (x[i] == x[j]) & (y[i] == y[j])
    chosen = same & ~flat(boxes)
    yield from row_hits(labels, images, boxes.rows[chosen], "two corners are the same: a triangle")


@rule("OB004", Severity.INFO, Effect.REWRITES, OBB)
def obb_corners_crossing(labels: Labels, images: Images) -> Iterator[Hit]:
    """The corners of an oriented box are not in the order of its outline.

    Why: training gets the right rectangle all the same, but tools that follow the outline read another shape.
    Ultralytics: takes the smallest rectangle around the corners, whatever their order.
    Example: `0 0.1 0.1 0.5 0.1 0.1 0.3 0.5 0.3`.
    Fix: write the corners around the box, clockwise or the other way.
    """
    boxes, corners = quads(labels, images)
    yield from row_hits(
        labels, images, boxes.rows[_crosses(corners)], "the outline through the four corners crosses itself"
    )


@rule("OB005", Severity.WARNING, Effect.REWRITES, OBB)
def obb_not_rectangular(labels: Labels, images: Images) -> Iterator[Hit]:
    """The corners of an oriented box fill less than 70 % of the smallest rectangle around them.

    Why: the box that is trained on is far larger than what was drawn; often a corner is misplaced.
    Ultralytics: takes the smallest rectangle around the corners.
    Example: `0 0.1 0.1 0.5 0.1 0.2 0.3 0.1 0.3`.
    Fix: draw the box again as a rectangle.
    """
    boxes, corners = quads(labels, images)
    long, short = enclosing_rectangles(corners)
    filled = np.abs(areas(boxes)) / np.maximum(long * short, 1e-12)
    repeated = (corners == np.roll(corners, 1, axis=1)).all(axis=0).any(axis=0)
    chosen = (filled < FILLED) & (short >= 2) & ~_crosses(corners) & ~repeated
    says = "the corners fill {filled:.0%} of their rectangle"
    yield from row_hits(labels, images, boxes.rows[chosen], says, filled=filled[chosen])


@rule("OB006", Severity.WARNING, Effect.REWRITES, OBB)
def obb_corner_count(labels: Labels, images: Images) -> Iterator[Hit]:
    """An oriented box has three, or more than four corners.

    Why: polygons of the segment task, or a corner was lost or doubled; what is trained on is a rectangle around them.
    Ultralytics: takes the smallest rectangle around all corners.
    Example: `0 0.1 0.1 0.5 0.1 0.5 0.3`.
    Fix: write four corners: 9 columns.
    """
    count = np.diff(labels.first)
    rows = np.flatnonzero(~np.isin(count, (0, CORNERS)))
    says = "{corners} corners ({columns} columns)"
    yield from row_hits(labels, images, rows, says, corners=count[rows], columns=labels.columns[rows])


@rule("OB007", Severity.WARNING, Effect.ACCEPTS, OBB)
def obb_side_under_one_pixel(labels: Labels, images: Images) -> Iterator[Hit]:
    """The shorter side of an oriented box is below one pixel of its image.

    Why: nothing can be seen in it; the overlap of rotated boxes is ill-conditioned for such slivers.
    Ultralytics: keeps the box; augmentation may drop it.
    Example: `0 0.1 0.1 0.5 0.1 0.5 0.1005 0.1 0.1005` on an image 640 pixels high.
    Fix: remove the row, or draw the box again.
    """
    boxes, corners = quads(labels, images)
    short = enclosing_rectangles(corners)[1]
    known = label_boxes(labels, images).known[boxes.rows]
    chosen = (short < 0.999) & ~flat(boxes) & known
    says = "the shorter side has {side:.2g} pixels"
    yield from row_hits(labels, images, boxes.rows[chosen], says, side=short[chosen])


@rule("OB008", Severity.ERROR, Effect.GARBAGE, OBB)
def obb_turned_in_percent(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Oriented boxes were rotated in normalised coordinates, not in pixels, and the images are not square.

    Why: what was drawn as a rectangle is written as a parallelogram: angles and sides of all rotated boxes are wrong.
    Ultralytics: takes the smallest rectangle around the corners, which is none of the objects.
    Example: a converter rotates x, y, width and height in percent, as Label Studio gives them, by the angle.
    Fix: convert again: first to pixels, then rotate, then divide by width and height.
    """
    for split in (None, *table.splits):
        counts = table.clues[table.images_in(split)]
        parts, pixels = (int(counts[:, clue].sum()) for clue in (Clue.RIGHT_IN_PARTS, Clue.RIGHT_IN_PIXELS))
        if parts >= FEW_ROTATED and parts >= MOST_ROTATED * (parts + pixels):
            says = (
                "{rows} boxes have right angles in normalised coordinates, but not in pixels, {in_pixels} the other "
                "way round: they were rotated in percent of images that are not square"
            )
            values, explains = {"rows": parts, "in_pixels": pixels}, ("OB001", "OB005", "OB009")
            yield Hit(str(config.yaml_file), says, split=split, values=values, explains=explains)
            if split is None:
                return


@rule("OB009", Severity.WARNING, Effect.REWRITES, OBB)
def obb_right_in_percent(labels: Labels, images: Images) -> Iterator[Hit]:
    """An oriented box has right angles in normalised coordinates, but not in pixels.

    Why: it was rotated in percent of an image that is not square, so that its angle and its sides are wrong.
    Ultralytics: takes the smallest rectangle around the corners, which differs from the one that was drawn.
    Example: `0 0.35 0.25 0.48 0.475 0.324 0.565 0.194 0.34` on an image of 192x96.
    Fix: rotate the box in pixels, then divide by width and height.
    """
    rows = quads(labels, images)[0].rows[right_angles(labels, images)[1]]
    yield from row_hits(labels, images, rows, "right angles in percent of the image, not in pixels")


def _crosses(corners: Floats) -> NDArray[np.bool_]:
    """(M,) whether the outlines through four corners (2, 4, M) cross themselves."""
    return _edges_cross(corners, 0, 2) | _edges_cross(corners, 1, 3)


def _edges_cross(corners: Floats, i: int, j: int) -> NDArray[np.bool_]:
    """(M,) whether the edges that begin at the corners i and j cross."""
    x, y = corners

    def side(a: int, b: int, c: int) -> Floats:
        return np.asarray((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))

    k, m = (i + 1) % CORNERS, (j + 1) % CORNERS
    apart = side(i, k, j) * side(i, k, m) < 0
    return np.asarray(apart & (side(j, m, i) * side(j, m, k) < 0))
