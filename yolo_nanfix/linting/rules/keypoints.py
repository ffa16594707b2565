"""KP: keypoints of the pose task; each row is a class, a box, and x y (and visibility) of each keypoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.clues import UNREAD, Clue, met
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import HIGH, LOW, label_boxes, once
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.row_hits import bad_hits, row_hits

POSE = ("pose",)
BOX_COLUMNS = 5
FAR = 0.5
"""A keypoint is far from its box if it is outside by more than this share of the box's longer side."""
FITTING = 0.98
"""This share of the rows must fit a unit."""
PERCENT_FROM = 130
"""In images with sides of fewer pixels, percent and pixels look alike."""
ABOUT_POINTS = ("KP001", "KP003", "KP004", "KP005", "KP007", "KP008", "KP009", "SP007")
"""What else is found where keypoints are not normalised."""
_VISIBILITY = "has visibility {visibility}"


@rule("KP001", Severity.WARNING, Effect.ACCEPTS, POSE)
def visibility_odd(labels: Labels, images: Images) -> Iterator[Hit]:
    """The visibility of a keypoint is neither 0, 1 nor 2.

    Why: mostly a confidence, or a column too many or too few: then coordinates are read as visibilities.
    Ultralytics: takes everything but 0 as visible, also 3, 0.5 and inf.
    Example: `0 0.5 0.5 0.4 0.4 0.4 0.4 3 0.6 0.6 2`.
    Fix: write 0 for a keypoint that is not labelled, 1 for a hidden one and 2 for a visible one.
    """
    seen = labels.visible
    other = (seen >= LOW) & (seen != 0) & (seen != 1) & (seen != 2)
    yield from _point_hits(labels, images, other, _VISIBILITY, visibility=seen)


@rule("KP002", Severity.ERROR, Effect.DROPS, POSE)
def visibility_negative(labels: Labels, images: Images) -> Iterator[Hit]:
    """The visibility of a keypoint is negative.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("negative label values [-1.]").
    Example: `0 0.5 0.5 0.4 0.4 0.4 0.4 -1 0.6 0.6 2`.
    Fix: write 0 for a keypoint that is not labelled.
    """
    yield from _point_hits(labels, images, labels.visible < LOW, _VISIBILITY, visibility=labels.visible)


@rule("KP003", Severity.ERROR, Effect.DROPS, POSE)
def keypoint_over_one(labels: Labels, images: Images) -> Iterator[Hit]:
    """A coordinate of a keypoint is above 1.01.

    Why: one such row takes the whole image out of training, even if the keypoint is not visible; often pixels.
    Ultralytics: drops the image ("non-normalized or out of bounds coordinates").
    Example: `0 0.5 0.5 0.4 0.4 320 240 2 0.6 0.6 2`.
    Fix: divide x by the image width and y by its height; give a keypoint outside the image 0 0 and visibility 0.
    """
    far = _keypoints(labels).largest
    says, pixels = "is at {point}: above 1.01{pixels:; pixels?|}", (far > 2) & (far < np.inf)
    yield from _point_hits(labels, images, far > HIGH, says, point=labels.points, pixels=pixels)


@rule("KP004", Severity.ERROR, Effect.DROPS, POSE)
def keypoint_below_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """A coordinate of a keypoint is below -0.01.

    Why: one such row takes the whole image out of training, even if the keypoint is not visible.
    Ultralytics: drops the image ("negative label values"), also for -1 -1 as a mark of a missing keypoint.
    Example: `0 0.5 0.5 0.4 0.4 -1 -1 0 0.6 0.6 2`.
    Fix: give a keypoint that is missing or outside the image 0 0 and visibility 0.
    """
    below = _keypoints(labels).smallest < LOW
    yield from _point_hits(labels, images, below, "is at {point}: below -0.01", point=labels.points)


@rule("KP005", Severity.WARNING, Effect.ACCEPTS, POSE)
def keypoint_outside_tolerated(labels: Labels, images: Images) -> Iterator[Hit]:
    """A visible keypoint is outside the image, but within the tolerance of one percent.

    Why: a little more and the image would be dropped; augmented images lose the keypoint, others keep it.
    Ultralytics: keeps it; augmentation makes it invisible, and so does a negative coordinate if `kpt_shape` ends in 2.
    Example: `0 0.5 0.5 0.4 0.4 1.005 0.4 2 0.6 0.6 2`.
    Fix: clip the keypoint to the image.
    """
    ranges = _keypoints(labels)
    outside = (ranges.largest > 1) | (ranges.smallest < 0)
    mask = outside & (ranges.largest <= HIGH) & (ranges.smallest >= LOW) & (labels.visible != 0)
    yield from _point_hits(labels, images, mask, "is at {point}: outside 0-1", point=labels.points)


@rule("KP006", Severity.INFO, Effect.ACCEPTS, POSE)
def keypoints_all_invisible(labels: Labels, images: Images) -> Iterator[Hit]:
    """No keypoint of an object is visible.

    Why: its box is learned; but in the pose mAP it counts as an object that no prediction can match.
    Ultralytics: keeps the row; the similarity of its keypoints to any prediction is 0 (COCO leaves such objects out).
    Example: `0 0.5 0.5 0.4 0.4 0 0 0 0 0 0`.
    Fix: label the keypoints, or remove the row.
    """
    sums = np.concatenate([[0], np.cumsum(labels.visible != 0)])
    visible = sums[labels.first[1:]] - sums[labels.first[:-1]]
    rows = np.flatnonzero((visible == 0) & (np.diff(labels.first) > 0))
    yield from row_hits(labels, images, rows, "no keypoint is visible")


@rule("KP007", Severity.ERROR, Effect.GARBAGE, POSE)
def keypoint_at_corner(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A keypoint at 0 0 counts as visible.

    Why: 0 0 is how tools write a missing keypoint: the model learns to see it in the corner of the image.
    Ultralytics: where `kpt_shape` ends in 2 it takes all keypoints as visible that are not negative.
    Example: `0 0.5 0.5 0.4 0.4 0 0 2 0.6 0.6 2`, or 0 0 with `kpt_shape: [2, 2]`.
    Fix: write visibility 0; for that `kpt_shape` has to end in 3.
    """
    points = _keypoints(labels)
    mask = (points.x == 0) & (points.y == 0) & (labels.visible != 0)
    says = "is at 0 0, {dims:2=without a column for visibility it counts as visible|as a visible one}"
    yield from _point_hits(labels, images, mask, says, dims=config.kpt_dims)


@rule("KP008", Severity.WARNING, Effect.ACCEPTS, POSE)
def keypoint_far_from_box(labels: Labels, images: Images) -> Iterator[Hit]:
    """A visible keypoint is outside its box, by more than half of the box's longer side.

    Why: it belongs to another object, or x and y or the columns of the row are mixed up.
    Ultralytics: keeps the row; the keypoint is predicted from inside the box.
    Example: `0 0.2 0.2 0.1 0.1 0.9 0.9 2 0.2 0.2 2`.
    Fix: draw the box around the object with all its visible keypoints.
    """
    points, boxes, count = _keypoints(labels), label_boxes(labels, images), np.diff(labels.first)
    long = np.where((boxes.dropped | (boxes.side < 0)), np.nan, np.maximum(boxes.w, boxes.h))
    side = np.repeat(np.where(long > 0, long, np.nan), count)
    across = np.abs(points.x - np.repeat(boxes.x, count)) - np.repeat(boxes.w / 2, count)
    down = np.abs(points.y - np.repeat(boxes.y, count)) - np.repeat(boxes.h / 2, count)
    out = np.maximum(across, down)
    mask = points.seen & (out > FAR * side) & (points.smallest >= LOW) & (points.largest <= HIGH)
    yield from _point_hits(labels, images, mask, "is outside the box by {far:.1f} of it", far=out / side)


@rule("KP009", Severity.WARNING, Effect.ACCEPTS, POSE)
def keypoints_coincide(labels: Labels, images: Images) -> Iterator[Hit]:
    """All visible keypoints of an object are at one point.

    Why: a placeholder that nobody moved, or a box centre written for each keypoint.
    Ultralytics: trains on it.
    Example: `0 0.5 0.5 0.4 0.4 0.5 0.5 2 0.5 0.5 2`.
    Fix: label the keypoints, or give those that are not visible 0 0 and visibility 0.
    """
    points, rows = _keypoints(labels), np.flatnonzero(np.diff(labels.first))
    if not len(rows):
        return
    start = labels.first[rows]
    same = np.add.reduceat(points.seen, start, dtype=np.int32) >= 2
    for values in (points.x, points.y):
        high = np.maximum.reduceat(np.where(points.seen, values, -np.inf), start)
        same &= high == np.minimum.reduceat(np.where(points.seen, values, np.inf), start)
    seen = np.flatnonzero(points.seen)
    spot = seen[np.searchsorted(seen, start[same])]  # the first of each row that is visible
    yield from row_hits(labels, images, rows[same], "all visible keypoints are at {point}", point=labels.points[spot])


@rule("KP010", Severity.ERROR, Effect.DROPS, POSE)
def keypoints_missing(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A row of a pose label holds a box without keypoints.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("labels require 11 columns each").
    Example: `0 0.5 0.5 0.2 0.2` with `kpt_shape: [2, 3]`.
    Fix: write the keypoints. An object without any is written with visibility 0 where `kpt_shape` ends in 3; where it
    ends in 2 there is no way to write it: remove the row.
    """
    if config.kpt_shape:
        points, dims = config.kpt_shape
        says = "a box without its {keypoints:keypoint|keypoints} of {dims} numbers"
        yield from bad_hits(
            labels, images, "columns", says, number=BOX_COLUMNS, name="columns", keypoints=points, dims=dims
        )


@rule("KP012", Severity.ERROR, Effect.DROPS, POSE)
def pose_set_of_boxes(table: Table, config: DataConfig) -> Iterator[Hit]:
    """The rows of a pose set are plain boxes, without keypoints.

    Why: no image with objects remains to train on.
    Ultralytics: drops each image ("labels require 11 columns each"); where none remains, training does not start.
    Example: `0 0.5 0.5 0.2 0.2` in all rows, with `kpt_shape: [2, 3]`.
    Fix: export the set again in a format that has keypoints; or remove `kpt_shape` and train the task detect.
    """
    if config.kpt_shape is None:
        return
    points, dims = config.kpt_shape
    for split, count, rows in met(table, Clue.PLAIN_BOX):
        says = (
            "{rows} of {of} rows are class and box (5 columns); with 'kpt_shape: [{keypoints}, {dims}]' pose labels "
            "have {columns}: this export holds no keypoints"
        )
        values = {"rows": count, "of": rows, "keypoints": points, "dims": dims, "columns": config.pose_columns}
        yield Hit(str(config.yaml_file), says, split=split, values=values, explains=UNREAD)


@rule("KP013", Severity.ERROR, Effect.DROPS, POSE, autofix=unsafe(Operation.REREAD, "writes the keypoints normalised"))
def keypoints_in_pixels(table: Table, config: DataConfig) -> Iterator[Hit]:
    """The keypoints of the set are pixels, or percent, and its boxes are normalised.

    Why: almost no image remains to train on.
    Ultralytics: drops the images ("non-normalized or out of bounds coordinates").
    Example: `0 0.5 0.5 0.2 0.2 300 220 2 340 260 2`.
    Fix: divide x of the keypoints by the width of the image and y by its height, as in the boxes.
    """
    for split, count, rows in met(table, Clue.POINTS_LARGE):
        images = table.images_in(split)
        pixels, percent = (int(table.clues[images, c].sum()) for c in (Clue.POINTS_PIXELS, Clue.POINTS_PERCENT))
        fit = {"pixels": pixels >= FITTING * count, "percent": percent >= FITTING * count}
        scale = next(iter(fit)) if fit["pixels"] and not fit["percent"] else "percent" if fit["percent"] else "unknown"
        if all(fit.values()) and min(table.width[images].max(), table.height[images].max()) < PERCENT_FROM:
            scale = "unknown"
        says = (
            "the keypoints of {rows} of {of} rows are not normalised, the boxes are: "
            "{scale:percent=percent of the image|unknown=pixels of images of another size|pixels}?"
        )
        values: dict[str, Any] = {"rows": count, "of": rows, "dims": config.kpt_dims or 2, "points": "only"}
        values |= {"scale": scale, "form": "centre", "splits": table.splits_in(split), "size": (1, 1)}
        yield Hit(str(config.yaml_file), says, split=split, values=values, explains=ABOUT_POINTS)


@rule("KP011", Severity.ERROR, Effect.DROPS, POSE)
def keypoint_dimensions(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A row has visibilities although `kpt_shape` says that there are none, or the other way round.

    Why: all images with such rows are missing from training, mostly the whole set.
    Ultralytics: drops the image ("labels require 11 columns each").
    Example: `0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6` with `kpt_shape: [2, 3]`.
    Fix: correct the second number of `kpt_shape`: 2 for x y, 3 for x y visibility.
    """
    if config.kpt_shape:
        (points, dims), other = config.kpt_shape, other_width(config.kpt_shape)
        says = "{columns} columns are {keypoints} keypoints of {dims:2=3|2} numbers; 'kpt_shape' says {dims}"
        yield from bad_hits(labels, images, "columns", says, number=other, name="columns", keypoints=points, dims=dims)


def other_width(shape: tuple[int, int]) -> int:
    """The columns of a row with the other number of dimensions (2 for 3, 3 for 2)."""
    return BOX_COLUMNS + shape[0] * (5 - shape[1])


@dataclass(frozen=True, eq=False)
class _Points:
    """All keypoints, each array (P,): where they are, and which are labelled: visible, and not at 0 0."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    largest: NDArray[np.float32]
    smallest: NDArray[np.float32]
    seen: NDArray[np.bool_]


@once
def _keypoints(labels: Labels) -> _Points:
    x, y = np.ascontiguousarray(labels.points[:, 0]), np.ascontiguousarray(labels.points[:, 1])
    seen = (labels.visible != 0) & ((x != 0) | (y != 0))
    return _Points(x, y, np.maximum(x, y), np.minimum(x, y), seen)


def _point_hits(labels: Labels, images: Images, marked: NDArray[np.bool_], says: str, **values: Any) -> Iterator[Hit]:
    """A hit for each row with marked points, about the first of these, with its entries of `values` (P, ...)."""
    spots = np.flatnonzero(marked)
    owners = np.searchsorted(labels.first, spots, side="right") - 1
    rows, first, counts = np.unique(owners, return_index=True, return_counts=True)
    own = {name: v[spots[first]] if isinstance(v, np.ndarray) else v for name, v in values.items()}
    own |= {"keypoint": spots[first] - labels.first[rows], "others": counts - 1}
    yield from row_hits(labels, images, rows, "keypoint {keypoint} " + says + "{others:0=| (and # more)}", **own)
