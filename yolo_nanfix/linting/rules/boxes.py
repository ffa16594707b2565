"""BX: boxes (of polygons: the boxes around them); x, y is the centre, all four are parts of the image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import HIGH, LOW, in_pixels, label_boxes
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.row_hits import file_hit, row_hits, show

BOXES = ("detect", "segment", "obb")
PLAIN = ("detect", "pose")
"""The tasks whose boxes stand in the rows; those of polygons follow from the corners, which have rules of their own."""
UPRIGHT = ("detect", "segment", "pose")
LEAST = 2
"""Augmentation drops boxes with a side of so many pixels or less (`box_candidates`, `wh_thr`)."""
SLIM = 100
"""Augmentation drops boxes whose one side is so many times the other (`ar_thr`)."""
MAX_DET = 300


@rule("BX001", "coordinate-over-one", Severity.ERROR, Effect.DROPS, BOXES)
def coordinate_over_one(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has a coordinate above 1.01.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("non-normalized or out of bounds coordinates").
    Example: `0 1.02 0.5 0.2 0.2`.
    Fix: clip the box to the image.
    """
    boxes = label_boxes(labels, images)
    mask = np.isfinite(labels.extra) & (boxes.largest > HIGH) & ~in_pixels(boxes)
    yield from row_hits(labels, images, mask, lambda row: f"x y w h = {show(labels.box[row])}: above 1.01")


@rule("BX002", "centre-below-zero", Severity.ERROR, Effect.DROPS)
def centre_below_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """The centre of a box is below -0.01.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("negative label values").
    Example: `0 -0.05 0.5 0.2 0.2`.
    Fix: clip the box to the image, or remove it.
    """
    mask = np.isfinite(labels.extra) & (label_boxes(labels, images).centre < LOW)
    yield from row_hits(labels, images, mask, lambda row: f"x y = {show(labels.box[row, :2])}: below -0.01")


@rule("BX003", "box-side-negative", Severity.ERROR, Effect.DROPS)
def box_side_negative(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has a negative width or height.

    Why: one such row takes the whole image out of training; usually two corners were swapped.
    Ultralytics: drops the image ("negative label values").
    Example: `0 0.5 0.5 -0.2 0.2`.
    Fix: swap the corners, so that width and height are positive.
    """
    mask = np.isfinite(labels.extra) & (label_boxes(labels, images).side < 0)
    yield from row_hits(labels, images, mask, lambda row: f"the box has w h = {show(labels.box[row, 2:])}: negative")


@rule("BX004", "box-side-zero", Severity.ERROR, Effect.ACCEPTS, PLAIN)
def box_side_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has no width or no height.

    Why: no prediction can match it; with masks the loss is divided by its area, which is 0.
    Ultralytics: keeps the box silently.
    Example: `0 0.5 0.5 0 0.2`.
    Fix: remove the row, or draw the box again.
    """
    boxes = label_boxes(labels, images)
    mask = boxes.sound & (boxes.side == 0)
    yield from row_hits(labels, images, mask, lambda row: f"the box has w h = {show(labels.box[row, 2:])}: a side is 0")


@rule("BX005", "centre-outside-tolerated", Severity.WARNING, Effect.ACCEPTS, PLAIN)
def centre_outside_tolerated(labels: Labels, images: Images) -> Iterator[Hit]:
    """A coordinate is outside 0-1, but within the tolerance of one percent.

    Why: the box reaches out of the image; a little more and the image would be dropped.
    Ultralytics: keeps the box.
    Example: `0 0.5 1.004 0.2 0.2`.
    Fix: clip the box to the image.
    """
    boxes = label_boxes(labels, images)
    mask = boxes.sound & ~boxes.inside & ~boxes.dropped
    yield from row_hits(labels, images, mask, lambda row: f"x y w h = {show(labels.box[row])}: outside 0-1")


@rule("BX006", "box-spills-out", Severity.WARNING, Effect.ACCEPTS, PLAIN)
def box_spills_out(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box reaches out of the image by more than a pixel.

    Why: its centre and size are not those of the visible part.
    Ultralytics: keeps the box; some augmentations clip it, validation does not.
    Example: `0 0.95 0.5 0.2 0.2` ends at x = 1.05.
    Fix: clip the box to the image.
    """
    boxes = label_boxes(labels, images)
    across = np.maximum(boxes.w / 2 - boxes.x, boxes.x + boxes.w / 2 - 1) * boxes.width
    down = np.maximum(boxes.h / 2 - boxes.y, boxes.y + boxes.h / 2 - 1) * boxes.height
    spill = np.maximum(across, down)
    mask = boxes.sound & boxes.known & boxes.inside & (spill > 1)
    yield from row_hits(labels, images, mask, lambda row: f"the box reaches {spill[row]:.0f} px out of the image")


@rule("BX008", "box-under-one-pixel", Severity.WARNING, Effect.ACCEPTS, UPRIGHT)
def box_under_one_pixel(labels: Labels, images: Images) -> Iterator[Hit]:
    """A side of a box is shorter than one pixel of its image.

    Why: nothing can be seen in it; in half precision its sides may round to 0 and give NaN gradients.
    Ultralytics: keeps the box; augmentation may drop it.
    Example: `0 0.5 0.5 0.0001 0.2` on an image 640 pixels wide.
    Fix: remove the row, or draw the box again.
    """
    boxes = label_boxes(labels, images)
    wide, high = boxes.w * boxes.width, boxes.h * boxes.height
    short = np.minimum(wide, high)
    mask = boxes.sound & boxes.known & (short > 0) & (short < 0.999)
    yield from row_hits(labels, images, mask, lambda row: f"the box is {wide[row]:.3g} x {high[row]:.3g} pixels")


@rule("BX010", "pose-box-infinite", Severity.ERROR, Effect.GARBAGE, ("pose",))
def pose_box_infinite(labels: Labels, images: Images) -> Iterator[Hit]:
    """The box of a pose label holds an infinite number.

    Why: its centre or its sides become NaN as soon as no augmentation clips them, as in validation.
    Ultralytics: checks the keypoints of pose labels only, and keeps the row.
    Example: `0 0.5 0.5 inf 0.4 0.4 0.4 2 0.6 0.6 2`.
    Fix: convert the annotation again with the right image size.
    """
    mask = _unchecked_infinity(labels)
    yield from row_hits(labels, images, mask, lambda row: f"x y w h = {show(labels.box[row])}")


@rule("BX011", "pose-box-over-one", Severity.ERROR, Effect.GARBAGE, ("pose",))
def pose_box_over_one(labels: Labels, images: Images) -> Iterator[Hit]:
    """The box of a pose label has a coordinate above 1.01.

    Why: the object is looked for outside the image, or as large as many images; often the numbers are pixels.
    Ultralytics: checks the keypoints of pose labels only, and trains on the box.
    Example: `0 1.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 2`.
    Fix: divide x and width by the image width, y and height by its height.
    """
    largest = label_boxes(labels, images).largest
    mask = (largest > HIGH) & (largest < np.inf)

    def message(row: int) -> str:
        hint = "; pixels?" if labels.box[row].max() > 2 else ""
        return f"x y w h = {show(labels.box[row])}: above 1.01{hint}"

    yield from row_hits(labels, images, mask, message)


@rule("BX015", "box-in-pixels", Severity.ERROR, Effect.DROPS, BOXES)
def box_in_pixels(labels: Labels, images: Images) -> Iterator[Hit]:
    """The coordinates of a box look like pixels.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("non-normalized or out of bounds coordinates").
    Example: `0 320 240 64 48`.
    Fix: divide x and width by the image width, y and height by its height; in COCO or VOC files, whose boxes are in
    pixels anyway, correct the box or the size of the image.
    """
    boxes = label_boxes(labels, images)

    def message(row: int) -> str:
        width, height = boxes.width[row], boxes.height[row]
        of = f" of an image of {width:.0f}x{height:.0f}" if width else ""
        return f"x y w h = {show(labels.box[row])}, where 1 is the whole image: pixels{of}?"

    yield from row_hits(labels, images, in_pixels(boxes), message)


@rule("BX016", "box-under-two-pixels", Severity.WARNING, Effect.ACCEPTS, UPRIGHT)
def box_under_two_pixels(labels: Labels, images: Images, options: LintOptions) -> Iterator[Hit]:
    """At the image size of the training a side of a box is two pixels or less.

    Why: augmentation throws the box away and the object stays in the picture, unlabelled.
    Ultralytics: drops boxes with a side of 2 pixels or less after mosaic and affine transforms; validation keeps them.
    Example: a box 8 pixels wide on an image of 4000x3000, trained at 640.
    Fix: train at a larger `imgsz`, cut the images into tiles, or remove such boxes.
    """
    boxes = label_boxes(labels, images)
    own = np.minimum(boxes.w * boxes.width, boxes.h * boxes.height)
    side = own * (options.imgsz / np.maximum(np.maximum(boxes.width, boxes.height), 1))
    mask = boxes.sound & boxes.known & (side <= LEAST) & (own >= 0.999) & ~boxes.dropped
    where = f"at an image size of {options.imgsz}"
    yield from row_hits(labels, images, mask, lambda row: f"the shorter side has {side[row]:.2g} pixels {where}")


@rule("BX018", "many-boxes", Severity.INFO, Effect.ACCEPTS)
def many_boxes(labels: Labels, images: Images) -> Iterator[Hit]:
    """An image has more than 300 objects.

    Why: at most `max_det` objects are predicted in an image, 300 unless set: the others cannot be found.
    Ultralytics: raises the limit for validation, with a warning; prediction and export keep 300.
    Example: 500 cells in one image.
    Fix: set `max_det` for prediction and export too, or cut the images into tiles.
    """
    for index, file in enumerate(labels.files):
        if file.rows > MAX_DET:
            yield file_hit(labels, images, index, f"{file.rows} objects; max_det is {MAX_DET} unless set")


@rule("BX021", "box-very-slim", Severity.WARNING, Effect.ACCEPTS, UPRIGHT)
def box_very_slim(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box is a hundred times as long as it is wide.

    Why: augmentation throws the box away and the object stays in the picture, unlabelled.
    Ultralytics: drops boxes with sides in the ratio of 100 or more after mosaic and affine transforms.
    Example: `0 0.5 0.5 0.9 0.003` on an image as wide as high.
    Fix: remove the row, draw the box again, or train oriented boxes or polygons.
    """
    boxes = label_boxes(labels, images)
    wide, high = boxes.w * boxes.width, boxes.h * boxes.height
    short, long = np.minimum(wide, high), np.maximum(wide, high)
    mask = boxes.sound & boxes.known & (short >= 0.999) & (long >= SLIM * short) & ~boxes.dropped
    yield from row_hits(labels, images, mask, lambda row: f"the box is {wide[row]:.3g} x {high[row]:.3g} pixels")


def _unchecked_infinity(labels: Labels) -> NDArray[np.bool_]:
    """The rows of pose labels with an infinity that Ultralytics does not see: above all others, and in the box."""
    mask = np.isinf(labels.extra)
    box = labels.box[mask]
    seen = np.isinf(labels.cls[mask]) | np.isneginf(box).any(axis=1)
    mask[mask] = np.isposinf(box).any(axis=1) & ~seen
    return mask
