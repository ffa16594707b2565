"""KP: keypoints of the pose task; each row is a class, a box, and x y (and visibility) of each keypoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.rule import Hit, rule
from yolo_nanfix.linting.rules.rows import HIGH, LOW, Images, file_hit, once, row_hits, show

POSE = ("pose",)
BOX_COLUMNS = 5
FAR = 0.5
"""A keypoint is far from its box if it is outside by more than this part of the box's longer side."""


@rule("KP001", "visibility-odd", Severity.WARNING, Effect.ACCEPTS, POSE)
def visibility_odd(labels: Labels, images: Images) -> Iterator[Hit]:
    """The visibility of a keypoint is neither 0, 1 nor 2.

    Why: mostly a confidence, or a column too many or too few: then coordinates are read as visibilities.
    Ultralytics: takes everything but 0 as visible, also 3, 0.5 and inf.
    Example: `0 0.5 0.5 0.4 0.4 0.4 0.4 3 0.6 0.6 2`.
    Mend: write 0 for a keypoint that is not labelled, 1 for a hidden one and 2 for a visible one.
    """
    seen = labels.visible
    odd = (seen >= LOW) & (seen != 0) & (seen != 1) & (seen != 2)
    yield from _point_hits(labels, images, odd, lambda spot: f"has visibility {seen[spot]:g}")


@rule("KP002", "visibility-negative", Severity.ERROR, Effect.DROPS, POSE)
def visibility_negative(labels: Labels, images: Images) -> Iterator[Hit]:
    """The visibility of a keypoint is negative.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("negative label values [-1.]").
    Example: `0 0.5 0.5 0.4 0.4 0.4 0.4 -1 0.6 0.6 2`.
    Mend: write 0 for a keypoint that is not labelled.
    """
    seen = labels.visible
    yield from _point_hits(labels, images, seen < LOW, lambda spot: f"has visibility {seen[spot]:g}")


@rule("KP003", "keypoint-over-one", Severity.ERROR, Effect.DROPS, POSE)
def keypoint_over_one(labels: Labels, images: Images) -> Iterator[Hit]:
    """A coordinate of a keypoint is above 1.01.

    Why: one such row takes the whole image out of training, even if the keypoint is not visible; often pixels.
    Ultralytics: drops the image ("non-normalized or out of bounds coordinates").
    Example: `0 0.5 0.5 0.4 0.4 320 240 2 0.6 0.6 2`.
    Mend: divide x by the image width and y by its height; give a keypoint outside the image 0 0 and visibility 0.
    """
    points = labels.points

    def message(spot: int) -> str:
        hint = "; pixels?" if 2 < points[spot].max() < np.inf else ""
        return f"is at {show(points[spot])}: above 1.01{hint}"

    yield from _point_hits(labels, images, np.asarray((points > HIGH).any(axis=1)), message)


@rule("KP004", "keypoint-below-zero", Severity.ERROR, Effect.DROPS, POSE)
def keypoint_below_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """A coordinate of a keypoint is below -0.01.

    Why: one such row takes the whole image out of training, even if the keypoint is not visible.
    Ultralytics: drops the image ("negative label values"), also for -1 -1 as a mark of a missing keypoint.
    Example: `0 0.5 0.5 0.4 0.4 -1 -1 0 0.6 0.6 2`.
    Mend: give a keypoint that is missing or outside the image 0 0 and visibility 0.
    """
    points = labels.points
    outside = np.asarray((points < LOW).any(axis=1))
    yield from _point_hits(labels, images, outside, lambda spot: f"is at {show(points[spot])}: below -0.01")


@rule("KP005", "keypoint-outside-tolerated", Severity.WARNING, Effect.ACCEPTS, POSE)
def keypoint_outside_tolerated(labels: Labels, images: Images) -> Iterator[Hit]:
    """A visible keypoint is outside the image, but within the tolerance of one percent.

    Why: a little more and the image would be dropped; augmented images lose the keypoint, others keep it.
    Ultralytics: keeps it; augmentation makes it invisible, and so does a negative coordinate if `kpt_shape` ends in 2.
    Example: `0 0.5 0.5 0.4 0.4 1.005 0.4 2 0.6 0.6 2`.
    Mend: clip the keypoint to the image.
    """
    points = labels.points
    within = ((points > 1) | (points < 0)).any(axis=1) & ((points <= HIGH) & (points >= LOW)).all(axis=1)
    mask = within & (labels.visible != 0)
    yield from _point_hits(labels, images, mask, lambda spot: f"is at {show(points[spot])}: outside 0-1")


@rule("KP006", "keypoints-all-invisible", Severity.INFO, Effect.ACCEPTS, POSE)
def keypoints_all_invisible(labels: Labels, images: Images) -> Iterator[Hit]:
    """No keypoint of an object is visible.

    Why: its box is learned; but in the pose mAP it counts as an object that no prediction can match.
    Ultralytics: keeps the row; the similarity of its keypoints to any prediction is 0 (COCO leaves such objects out).
    Example: `0 0.5 0.5 0.4 0.4 0 0 0 0 0 0`.
    Mend: label the keypoints, or remove the row.
    """
    mask = (_count(labels, labels.visible != 0) == 0) & (np.diff(labels.first) > 0)
    yield from row_hits(labels, images, mask, lambda row: "no keypoint is visible")


@rule("KP007", "keypoint-at-corner", Severity.ERROR, Effect.GARBAGE, POSE)
def keypoint_at_corner(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A keypoint at 0 0 counts as visible.

    Why: 0 0 is how tools write a missing keypoint: the model learns to see it in the corner of the image.
    Ultralytics: where `kpt_shape` ends in 2 it takes all keypoints as visible that are not negative.
    Example: `0 0.5 0.5 0.4 0.4 0 0 2 0.6 0.6 2`, or 0 0 with `kpt_shape: [2, 2]`.
    Mend: write visibility 0; for that `kpt_shape` has to end in 3.
    """
    points = labels.points
    mask = (points == 0).all(axis=1) & (labels.visible != 0)
    flat = config.kpt_shape is not None and config.kpt_shape[1] == 2
    why = "without a column for visibility it counts as visible" if flat else "as a visible one"
    yield from _point_hits(labels, images, mask, lambda spot: f"is at 0 0, {why}")


@rule("KP008", "keypoint-far-from-box", Severity.WARNING, Effect.ACCEPTS, POSE)
def keypoint_far_from_box(labels: Labels, images: Images) -> Iterator[Hit]:
    """A visible keypoint is outside its box, by more than half of the box's longer side.

    Why: it belongs to another object, or x and y, or the columns of the row, are mixed up.
    Ultralytics: keeps the row; the keypoint is predicted from inside the box.
    Example: `0 0.2 0.2 0.1 0.1 0.9 0.9 2 0.2 0.2 2`.
    Mend: draw the box around the object with all its visible keypoints.
    """
    owner = _owner(labels)
    box = labels.box[owner]
    out = (np.abs(labels.points - box[:, :2]) - box[:, 2:] / 2).max(axis=1, initial=-np.inf)
    side = box[:, 2:].max(axis=1, initial=0)
    inside = ((labels.points >= LOW) & (labels.points <= HIGH)).all(axis=1)
    counted = (
        inside
        & (labels.visible != 0)
        & (labels.points != 0).any(axis=1)
        & (side > 0)
        & (np.abs(box) <= HIGH).all(axis=1)
    )
    mask = counted & (out > FAR * side)
    yield from _point_hits(
        labels, images, mask, lambda spot: f"is outside the box by {out[spot] / side[spot]:.1f} of it"
    )


@rule("KP009", "keypoints-coincide", Severity.WARNING, Effect.ACCEPTS, POSE)
def keypoints_coincide(labels: Labels, images: Images) -> Iterator[Hit]:
    """All visible keypoints of an object are at one point.

    Why: a placeholder that nobody moved, or a box centre written for each keypoint.
    Ultralytics: trains on it.
    Example: `0 0.5 0.5 0.4 0.4 0.5 0.5 2 0.5 0.5 2`.
    Mend: label the keypoints, or give those that are not visible 0 0 and visibility 0.
    """
    seen = (labels.visible != 0) & (labels.points != 0).any(axis=1)
    high = _largest(labels, np.where(seen[:, None], labels.points, -np.inf))
    low = -_largest(labels, np.where(seen[:, None], -labels.points, -np.inf))
    mask = (_count(labels, seen) >= 2) & (high == low).all(axis=1)
    yield from row_hits(labels, images, mask, lambda row: f"all visible keypoints are at {show(high[row])}")


@rule("KP010", "keypoints-missing", Severity.ERROR, Effect.DROPS, POSE)
def keypoints_missing(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A row of a pose label holds a box without keypoints.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("labels require 11 columns each").
    Example: `0 0.5 0.5 0.2 0.2` with `kpt_shape: [2, 3]`.
    Mend: write `0 0 0` for each keypoint of an object without keypoints, or remove the row.
    """
    for bad in labels.bad:
        if bad.kind == "columns" and bad.text == str(BOX_COLUMNS) and config.kpt_shape:
            message = f"a box without its {config.kpt_shape[0]} keypoints"
            yield file_hit(labels, images, bad.file, message, bad.line)


@rule("KP011", "keypoint-dimensions", Severity.ERROR, Effect.DROPS, POSE)
def keypoint_dimensions(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A row has visibilities and `kpt_shape` says that there are none, or the other way round.

    Why: all images with such rows are missing from training, mostly the whole set.
    Ultralytics: drops the image ("labels require 11 columns each").
    Example: `0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6` with `kpt_shape: [2, 3]`.
    Mend: correct the second number of `kpt_shape`: 2 for x y, 3 for x y visibility.
    """
    for bad in labels.bad:
        if bad.kind == "columns" and config.kpt_shape and bad.text == str(other_width(config.kpt_shape)):
            points, dims = config.kpt_shape
            message = f"{bad.text} columns are {points} keypoints of {5 - dims} numbers; 'kpt_shape' says {dims}"
            yield file_hit(labels, images, bad.file, message, bad.line)


def other_width(shape: tuple[int, int]) -> int:
    """The columns of a row with the other number of dimensions."""
    return BOX_COLUMNS + shape[0] * (5 - shape[1])


@once
def _owner(labels: Labels) -> NDArray[np.int64]:
    """(P,) the row of each point."""
    return np.repeat(np.arange(len(labels.cls)), np.diff(labels.first))


def _count(labels: Labels, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) how many of the chosen points each row has."""
    sums = np.concatenate([[0], np.cumsum(chosen)])
    return np.asarray(sums[labels.first[1:]] - sums[labels.first[:-1]])


def _largest(labels: Labels, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 2) the largest of the values (P, 2) of each row's points; NaN for rows without points."""
    result = np.full((len(labels.cls), 2), np.nan, np.float32)
    rows = np.flatnonzero(np.diff(labels.first))
    if len(rows):
        result[rows] = np.maximum.reduceat(values, labels.first[rows], axis=0)
    return result


def _point_hits(
    labels: Labels, images: Images, marked: NDArray[np.bool_], message: Callable[[int], str]
) -> Iterator[Hit]:
    """A hit for each row with marked points; `message` tells of the first, by its place among all points."""
    spots = np.flatnonzero(marked)
    rows, first, counts = np.unique(_owner(labels)[spots], return_index=True, return_counts=True)
    for row, spot, count in zip(rows.tolist(), spots[first].tolist(), counts.tolist(), strict=True):
        more = f" (and {count - 1} more)" if count > 1 else ""
        number = spot - int(labels.first[row])
        text = f"keypoint {number} {message(spot)}{more}"
        yield file_hit(labels, images, int(labels.file[row]), text, int(labels.line[row]))
