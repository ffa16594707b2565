"""BX: boxes (of polygons: the boxes around them); x, y is the centre, all four are parts of the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.rule import Hit, rule
from yolo_nanfix.linting.rules.rows import Images, row_hits, show

BOXES = ("detect", "segment", "obb")
HIGH, LOW = 1.01, -0.01
"""Ultralytics takes coordinates outside the image by one percent of it."""


def _sound(labels: Labels) -> NDArray[np.bool_]:
    """The rows that hold finite numbers only and sides of 0 or more."""
    return np.asarray(np.isfinite(labels.extra) & (labels.box[:, 2:] >= 0).all(axis=1))


def _dropped(labels: Labels) -> NDArray[np.bool_]:
    """The rows whose coordinates are beyond the tolerance."""
    return np.asarray((labels.box > HIGH).any(axis=1) | (labels.box[:, :2] < LOW).any(axis=1))


@rule("BX001", "coordinate-over-one", Severity.ERROR, Effect.DROPS, BOXES)
def coordinate_over_one(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has a coordinate above 1.01.

    Why: one such row takes the whole image out of training; often the numbers are pixels.
    Ultralytics: drops the image ("non-normalized or out of bounds coordinates").
    Example: `0 320 240 64 48`.
    Mend: divide x and width by the image width, y and height by its height; clip slight excess to 1.
    """

    def message(row: int) -> str:
        hint = "; pixels?" if labels.box[row].max() > 2 else ""
        return f"x y w h = {show(labels.box[row])}: above 1.01{hint}"

    finite = np.isfinite(labels.extra)
    yield from row_hits(labels, images, finite & (labels.box > HIGH).any(axis=1), message)


@rule("BX002", "centre-below-zero", Severity.ERROR, Effect.DROPS, BOXES)
def centre_below_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """The centre of a box is below -0.01.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("negative label values").
    Example: `0 -0.05 0.5 0.2 0.2`.
    Mend: clip the box to the image, or remove it.
    """
    mask = np.isfinite(labels.extra) & (labels.box[:, :2] < LOW).any(axis=1)
    yield from row_hits(labels, images, mask, lambda row: f"x y = {show(labels.box[row, :2])}: below -0.01")


@rule("BX003", "box-side-negative", Severity.ERROR, Effect.DROPS, BOXES)
def box_side_negative(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has a negative width or height.

    Why: one such row takes the whole image out of training; usually two corners were swapped.
    Ultralytics: drops the image ("negative label values").
    Example: `0 0.5 0.5 -0.2 0.2`.
    Mend: swap the corners, so that width and height are positive.
    """
    mask = np.isfinite(labels.extra) & (labels.box[:, 2:] < 0).any(axis=1)
    yield from row_hits(labels, images, mask, lambda row: f"the box has w h = {show(labels.box[row, 2:])}: negative")


@rule("BX004", "box-side-zero", Severity.ERROR, Effect.ACCEPTS, BOXES)
def box_side_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has no width or no height.

    Why: no prediction can match it; with masks the loss is divided by its area, which is 0.
    Ultralytics: keeps the box silently.
    Example: `0 0.5 0.5 0 0.2`.
    Mend: remove the row, or draw the box again.
    """
    mask = _sound(labels) & (labels.box[:, 2:] == 0).any(axis=1)
    yield from row_hits(labels, images, mask, lambda row: f"the box has w h = {show(labels.box[row, 2:])}: a side is 0")


@rule("BX005", "centre-outside-tolerated", Severity.WARNING, Effect.ACCEPTS, BOXES)
def centre_outside_tolerated(labels: Labels, images: Images) -> Iterator[Hit]:
    """A coordinate is outside 0-1, but within the tolerance of one percent.

    Why: the box reaches out of the image; a little more and the image would be dropped.
    Ultralytics: keeps the box.
    Example: `0 0.5 1.004 0.2 0.2`.
    Mend: clip the box to the image.
    """
    outside = ((labels.box > 1) | (labels.box < 0)).any(axis=1)
    mask = _sound(labels) & outside & ~_dropped(labels)
    yield from row_hits(labels, images, mask, lambda row: f"x y w h = {show(labels.box[row])}: outside 0-1")


@rule("BX006", "box-spills-out", Severity.WARNING, Effect.ACCEPTS, BOXES)
def box_spills_out(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box reaches out of the image by more than a pixel.

    Why: its centre and size are not those of the visible part.
    Ultralytics: keeps the box; some augmentations clip it, validation does not.
    Example: `0 0.95 0.5 0.2 0.2` ends at x = 1.05.
    Mend: clip the box to the image.
    """
    size, known = _sizes(labels, images)
    low = -(labels.box[:, :2] - labels.box[:, 2:] / 2) * size
    high = (labels.box[:, :2] + labels.box[:, 2:] / 2 - 1) * size
    spill = np.maximum(low, high).max(axis=1, initial=0)
    outside = ((labels.box > 1) | (labels.box < 0)).any(axis=1)
    mask = _sound(labels) & known & ~outside & (spill > 1)
    yield from row_hits(labels, images, mask, lambda row: f"the box reaches {spill[row]:.0f} px out of the image")


@rule("BX007", "row-duplicate", Severity.WARNING, Effect.REWRITES, BOXES)
def row_duplicate(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row stands twice in one file.

    Why: the second one is of no use, and tells of a merge that went wrong.
    Ultralytics: removes the repeated row in memory, with one line in the log.
    Example: two rows `0 0.5 0.5 0.2 0.2`.
    Mend: remove one of the rows.
    """
    first = _first_equal(labels, labels.cls)
    mask = first != np.arange(len(first))
    yield from row_hits(labels, images, mask, lambda row: f"the same as line {labels.line[first[row]]}")


@rule("BX008", "box-under-one-pixel", Severity.WARNING, Effect.ACCEPTS, BOXES)
def box_under_one_pixel(labels: Labels, images: Images) -> Iterator[Hit]:
    """A side of a box is shorter than one pixel of its image.

    Why: nothing can be seen in it; in half precision its sides may round to 0 and give NaN gradients.
    Ultralytics: keeps the box; augmentation may drop it.
    Example: `0 0.5 0.5 0.0001 0.2` on an image 640 pixels wide.
    Mend: remove the row, or draw the box again.
    """
    size, known = _sizes(labels, images)
    pixels = labels.box[:, 2:] * size
    mask = _sound(labels) & known & (pixels > 0).all(axis=1) & (pixels < 0.999).any(axis=1)
    yield from row_hits(labels, images, mask, lambda row: f"the box is {show(pixels[row])} pixels wide and high")


@rule("BX009", "box-of-two-classes", Severity.WARNING, Effect.ACCEPTS, BOXES)
def box_of_two_classes(labels: Labels, images: Images) -> Iterator[Hit]:
    """One box stands twice in a file, with two classes.

    Why: the two rows contradict each other, and each is an error of the other in training.
    Ultralytics: keeps both.
    Example: `0 0.5 0.5 0.2 0.2` and `1 0.5 0.5 0.2 0.2`.
    Mend: keep the row with the right class.
    """
    first = _first_equal(labels, np.zeros_like(labels.cls))
    mask = (first != np.arange(len(first))) & (labels.cls != labels.cls[first])

    def message(row: int) -> str:
        other = first[row]
        mine, its = labels.cls[row], labels.cls[other]
        return f"class {mine:g} for the box that has class {its:g} on line {labels.line[other]}"

    yield from row_hits(labels, images, mask, message)


def _sizes(labels: Labels, images: Images) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """For each row width and height of its image in pixels, (N, 2), and whether they are known."""
    owners = [images[file.image].header for file in labels.files]
    sizes = np.array([(h.width, h.height) for h in owners], np.float32).reshape(-1, 2)[labels.file]
    return sizes, np.asarray((sizes > 0).all(axis=1))


def _first_equal(labels: Labels, cls: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each row the first row of the same file with equal class and box; itself if it is the first."""
    table = np.column_stack([cls, labels.box]).astype(np.float32) + np.float32(0)  # no negative zero
    bits = np.column_stack([table.view(np.uint32), labels.file.astype(np.uint32)]).astype(np.uint64)
    key = labels.shape.view(np.uint64).copy()
    with np.errstate(over="ignore"):
        for column in bits.T:
            key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
    order = np.argsort(key, kind="stable")
    starts = np.r_[True, key[order][1:] != key[order][:-1]] if len(key) else np.zeros(0, bool)
    first = np.empty(len(key), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(len(key)), 0))]
    same = (bits == bits[first]).all(axis=1) & (labels.shape == labels.shape[first])
    return np.where(same, first, np.arange(len(key)))
