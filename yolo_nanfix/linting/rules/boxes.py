"""BX: boxes (of polygons: the boxes around them); x, y is the centre, all four are normalised."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import HIGH, LOW, first_equal, in_pixels, label_boxes, once
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import CLIP_SLIGHTLY, Operation, safe, unsafe
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.label_overlap import overlaps
from yolo_nanfix.linting.rules.row_hits import file_hit, row_hits

NOT_POSE = ("detect", "segment", "obb")
BY_CENTRE = ("detect", "pose")
"""The tasks whose rows hold boxes; those of the other tasks follow from corners, which other rules check."""
WITH_BOXES = ("detect", "segment", "pose")
LEAST_SIDE = 2
"""Augmentation drops boxes with a side of this many pixels or fewer (`box_candidates`, `wh_thr`)."""
SLIM = 100
"""Augmentation drops boxes with one side this many times as long as the other (`ar_thr`)."""
MAX_DET = 300
NEAR_IOU = 0.95
"""Two boxes with a larger overlap (IoU) than this are near duplicates."""
MAX_NEIGHBOURS = 16
"""A box is compared with at most this many others: those that begin next, from left to right."""
AT_ONCE = 1 << 14
"""Boxes compared with their neighbours in one block: each pair takes 200 bytes."""
_IN_PIXELS = "the box is {width:.3g} x {height:.3g} pixels"


@rule("BX001", Severity.ERROR, Effect.DROPS, NOT_POSE, autofix=unsafe(Operation.CLIP))
def coordinate_over_one(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has a coordinate above 1.01.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("non-normalized or out of bounds coordinates").
    Example: `0 1.02 0.5 0.2 0.2`.
    Fix: clip the box to the image.
    """
    boxes = label_boxes(labels, images)
    rows = np.flatnonzero(np.isfinite(labels.extra) & (boxes.largest > HIGH) & ~in_pixels(boxes))
    yield from row_hits(labels, images, rows, "x y w h = {box}: above 1.01", box=labels.box[rows])


@rule("BX002", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.CLIP))
def centre_below_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """The centre of a box is below -0.01.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("negative label values").
    Example: `0 -0.05 0.5 0.2 0.2`.
    Fix: clip the box to the image, or remove it.
    """
    rows = np.flatnonzero(np.isfinite(labels.extra) & (label_boxes(labels, images).centre < LOW))
    yield from row_hits(labels, images, rows, "x y = {centre}: below -0.01", centre=labels.box[rows, :2])


@rule("BX003", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.SIDES))
def box_side_negative(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has a negative width or height.

    Why: one such row takes the whole image out of training; usually two corners were swapped.
    Ultralytics: drops the image ("negative label values").
    Example: `0 0.5 0.5 -0.2 0.2`.
    Fix: swap the corners, so that width and height are positive.
    """
    rows = np.flatnonzero(np.isfinite(labels.extra) & (label_boxes(labels, images).side < 0))
    yield from row_hits(labels, images, rows, "the box has w h = {size}: negative", size=labels.box[rows, 2:])


@rule("BX004", Severity.ERROR, Effect.ACCEPTS, BY_CENTRE, autofix=unsafe(Operation.DROP))
def box_side_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """A box has no width or no height.

    Why: no prediction can match it; with masks the loss is divided by its area, which is 0.
    Ultralytics: keeps the box silently.
    Example: `0 0.5 0.5 0 0.2`.
    Fix: remove the row, or draw the box again.
    """
    boxes = label_boxes(labels, images)
    rows = np.flatnonzero(boxes.valid & (boxes.side == 0))
    yield from row_hits(labels, images, rows, "the box has w h = {size}: a side is 0", size=labels.box[rows, 2:])


@rule("BX005", Severity.WARNING, Effect.ACCEPTS, BY_CENTRE, autofix=CLIP_SLIGHTLY)
def centre_outside_tolerated(labels: Labels, images: Images) -> Iterator[Hit]:
    """A coordinate is outside 0-1, but within the tolerance of one percent.

    Why: the box reaches out of the image; a little more and the image would be dropped.
    Ultralytics: keeps the box.
    Example: `0 0.5 1.004 0.2 0.2`.
    Fix: clip the box to the image.
    """
    boxes = label_boxes(labels, images)
    rows = np.flatnonzero(boxes.valid & ~boxes.inside & ~boxes.dropped)
    yield from row_hits(labels, images, rows, "x y w h = {box}: outside 0-1", box=labels.box[rows])


@rule("BX006", Severity.WARNING, Effect.ACCEPTS, BY_CENTRE, autofix=CLIP_SLIGHTLY)
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
    rows = np.flatnonzero(boxes.valid & boxes.known & boxes.inside & (spill > 1))
    yield from row_hits(labels, images, rows, "the box reaches {spill:.0f} px out of the image", spill=spill[rows])


@rule("BX008", Severity.WARNING, Effect.ACCEPTS, WITH_BOXES, autofix=unsafe(Operation.DROP))
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
    rows = np.flatnonzero(boxes.valid & boxes.known & (short > 0) & (short < 0.999))
    yield from row_hits(labels, images, rows, _IN_PIXELS, width=wide[rows], height=high[rows])


@rule("BX010", Severity.ERROR, Effect.GARBAGE, ("pose",), autofix=unsafe(Operation.DROP))
def pose_box_infinite(labels: Labels, images: Images) -> Iterator[Hit]:
    """The box of a pose label holds an infinite number.

    Why: its centre or its sides become NaN as soon as no augmentation clips them, as in validation.
    Ultralytics: checks the keypoints of pose labels only, and keeps the row.
    Example: `0 0.5 0.5 inf 0.4 0.4 0.4 2 0.6 0.6 2`.
    Fix: convert the annotation again with the right image size.
    """
    mask = np.isinf(labels.extra)  # of these, an infinite class or -inf is TX011
    box = labels.box[mask]
    seen = np.isinf(labels.cls[mask]) | np.isneginf(box).any(axis=1)
    mask[mask] = np.isposinf(box).any(axis=1) & ~seen
    rows = np.flatnonzero(mask)
    yield from row_hits(labels, images, rows, "x y w h = {box}", box=labels.box[rows])


@rule("BX011", Severity.ERROR, Effect.GARBAGE, ("pose",), autofix=unsafe(Operation.CLIP))
def pose_box_over_one(labels: Labels, images: Images) -> Iterator[Hit]:
    """The box of a pose label has a coordinate above 1.01.

    Why: the object is looked for outside the image, or as large as many images; often the numbers are pixels.
    Ultralytics: checks the keypoints of pose labels only, and trains on the box.
    Example: `0 1.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 2`.
    Fix: divide x and width by the image width, y and height by its height.
    """
    largest = label_boxes(labels, images).largest
    rows = np.flatnonzero((largest > HIGH) & (largest < np.inf))
    says = "x y w h = {box}: above 1.01{pixels:; pixels?|}"
    yield from row_hits(labels, images, rows, says, box=labels.box[rows], pixels=largest[rows] > 2)


@rule("BX015", Severity.ERROR, Effect.DROPS, NOT_POSE)
def box_in_pixels(labels: Labels, images: Images) -> Iterator[Hit]:
    """The coordinates of a box look like pixels.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("non-normalized or out of bounds coordinates").
    Example: `0 320 240 64 48`.
    Fix: divide x and width by the image width, y and height by its height; in COCO or VOC files, whose boxes are in
    pixels anyway, correct the box or the size of the image.
    """
    boxes = label_boxes(labels, images)
    rows = np.flatnonzero(in_pixels(boxes))
    says = "x y w h = {box}, where 1 is the whole image: pixels{width:0=| of an image of #}{height:0=|x#}?"
    width, height = boxes.width[rows].astype(np.int64), boxes.height[rows].astype(np.int64)
    yield from row_hits(labels, images, rows, says, box=labels.box[rows], width=width, height=height)


@rule("BX016", Severity.WARNING, Effect.ACCEPTS, WITH_BOXES)
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
    rows = np.flatnonzero(boxes.valid & boxes.known & (side <= LEAST_SIDE) & (own >= 0.999) & ~boxes.dropped)
    says = "the shorter side has {side:.2g} pixels at an image size of {imgsz}"
    yield from row_hits(labels, images, rows, says, side=side[rows], imgsz=options.imgsz)


@rule("BX018", Severity.INFO, Effect.ACCEPTS)
def many_boxes(labels: Labels, images: Images) -> Iterator[Hit]:
    """An image has more than 300 objects.

    Why: at most `max_det` objects are predicted in an image, 300 unless set: the others cannot be found.
    Ultralytics: raises the limit for validation, with a warning; prediction and export keep 300.
    Example: 500 cells in one image.
    Fix: set `max_det` for prediction and export too, or cut the images into tiles.
    """
    for file in np.flatnonzero(labels.rows > MAX_DET).tolist():
        values = {"objects": int(labels.rows[file]), "max_det": MAX_DET}
        yield file_hit(labels, images, file, "{objects} objects; max_det is {max_det} unless set", values=values)


@rule("BX021", Severity.WARNING, Effect.ACCEPTS, WITH_BOXES)
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
    rows = np.flatnonzero(boxes.valid & boxes.known & (short >= 0.999) & (long >= SLIM * short) & ~boxes.dropped)
    yield from row_hits(labels, images, rows, _IN_PIXELS, width=wide[rows], height=high[rows])


@rule("BX007", Severity.WARNING, Effect.REWRITES, autofix=safe(Operation.DUPLICATE))
def row_duplicate(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row occurs twice in one file.

    Why: the second one is useless, and often a sign of a merge that went wrong.
    Ultralytics: removes the repeated row in memory, with one line in the log.
    Example: two rows `0 0.5 0.5 0.2 0.2`.
    Fix: remove one of the rows.
    """
    first = first_equal(labels, images)[0]
    rows = np.flatnonzero(first != np.arange(len(first)))
    yield from row_hits(labels, images, rows, "the same as {line!l}", other=first[rows])


@rule("BX009", Severity.WARNING, Effect.ACCEPTS)
def box_of_two_classes(labels: Labels, images: Images) -> Iterator[Hit]:
    """One box occurs twice in a file, with two classes.

    Why: the two rows contradict each other: in training each makes the other one an error.
    Ultralytics: keeps both.
    Example: `0 0.5 0.5 0.2 0.2` and `1 0.5 0.5 0.2 0.2`.
    Fix: keep the row with the right class.
    """
    first = first_equal(labels, images)[1]
    rows = np.flatnonzero((first != np.arange(len(first))) & (labels.cls != labels.cls[first]))
    other, says = first[rows], "class {cls} for the box that has class {other_cls} on {line!l}"
    yield from row_hits(labels, images, rows, says, other=other, cls=labels.cls[rows], other_cls=labels.cls[other])


@rule("BX012", Severity.WARNING, Effect.ACCEPTS, WITH_BOXES)
def box_near_duplicate(labels: Labels, images: Images) -> Iterator[Hit]:
    """Two boxes of one class are nearly the same (IoU above 0.95).

    Why: one object is labelled twice; in evaluation the second one can never be matched.
    Ultralytics: keeps both; it removes rows only if they are exactly equal.
    Example: `0 0.5 0.5 0.2 0.2` and `0 0.501 0.5 0.2 0.2`.
    Fix: remove one of the rows.
    """
    other, overlap = _near_duplicates(labels, images)
    rows = np.flatnonzero((other >= 0) & (labels.cls == labels.cls[other]))
    says = "overlaps the box of {line!l} by {iou:.1%} (IoU), the same class"
    yield from row_hits(labels, images, rows, says, other=other[rows], iou=overlap[rows])


@rule("BX013", Severity.WARNING, Effect.ACCEPTS, WITH_BOXES)
def near_box_of_two_classes(labels: Labels, images: Images) -> Iterator[Hit]:
    """Two boxes of different classes are nearly the same (IoU above 0.95).

    Why: mostly one object labelled by two people who disagree: in training each row makes the other one an error.
    Ultralytics: keeps both.
    Example: `0 0.5 0.5 0.2 0.2` and `1 0.501 0.5 0.2 0.2`.
    Fix: keep the row with the right class.
    """
    other, overlap = _near_duplicates(labels, images)
    rows = np.flatnonzero((other >= 0) & (labels.cls != labels.cls[other]))
    says = "class {cls} for a box that overlaps that of class {other_cls} on {line!l} by {iou:.1%} (IoU)"
    mine, its = labels.cls[rows], labels.cls[other[rows]]
    yield from row_hits(labels, images, rows, says, other=other[rows], cls=mine, other_cls=its, iou=overlap[rows])


@once
def _near_duplicates(labels: Labels, images: Images) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each row the first earlier one of its file with nearly, but not exactly, the same box, else -1; their IoU.

    BX007 and BX009 report boxes with exactly the same numbers, unless their polygons differ.
    """
    other, overlap = np.full(len(labels.cls), -1), np.zeros(len(labels.cls))
    boxes = label_boxes(labels, images)
    rows = np.flatnonzero((boxes.side > 0) & (boxes.largest <= HIGH) & (boxes.centre >= LOW))
    width = boxes.w[rows].astype(np.float64)
    left = labels.file[rows] * 8.0 + (boxes.x[rows] - width / 2)
    order = np.argsort(left, kind="stable")
    left = left[order]
    end = left + width[order] * (1 / NEAR_IOU - 1)
    mine = np.flatnonzero(left[1:] <= end[:-1])  # those with any neighbour close enough
    count = np.minimum(np.searchsorted(left, end[mine], side="right") - mine - 1, MAX_NEIGHBOURS)
    rows = rows[order]
    found = [
        _near_pairs(labels, rows, mine[at : at + AT_ONCE], count[at : at + AT_ONCE])
        for at in range(0, len(mine), AT_ONCE)
    ]
    if found:
        late, early, iou = map(np.concatenate, zip(*found, strict=True))
        last = np.argsort(-early, kind="stable")  # of several earlier rows the first one counts
        other[late[last]], overlap[late[last]] = early[last], iou[last]
    return other, overlap


def _near_pairs(
    labels: Labels, rows: NDArray[np.int64], mine: NDArray[np.int64], count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of rows whose boxes are nearly the same: the later row, the earlier one, and their IoU.

    Args:
        labels: the label rows.
        rows: some of them, from left to right.
        mine: (M,) places among these.
        count: (M,) with how many of the next boxes each is compared.
    """
    first = np.repeat(mine, count)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    a, b = rows[first], rows[second]
    iou = overlaps(labels.box[a], labels.box[b])
    equal = (labels.box[a] == labels.box[b]).all(axis=1) & (labels.shape[a] == labels.shape[b])
    near = (iou > NEAR_IOU) & ~equal
    return np.maximum(a, b)[near], np.minimum(a, b)[near], iou[near]
