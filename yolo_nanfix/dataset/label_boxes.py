"""Values that rules compute from label rows: boxes, polygons, and which rows are equal."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels

T = TypeVar("T")
Column = NDArray[np.float32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HIGH, LOW = 1.01, -0.01
"""Ultralytics takes coordinates outside the image by one percent of it."""
UNKNOWN = 1000
"""Pixels of a side of an image whose size is not known."""
CORNERS = 4
RIGHT = 0.02
"""An angle is right where the cosine is no larger: what five decimals leave of the corners of a small box."""
SKEWED = 0.05
"""An angle is not right from this cosine on: 3 degrees away."""
GRID = 0.02
"""A number is whole within this."""
GRID_SHARE, GRID_CHANCE = 0.95, 0.5
"""This share of the boxes lies on pixels in one reading, and no more than that in the other."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


def once(make: Callable[..., T]) -> Callable[..., T]:
    """Cache the result of `make` by the identity of its first argument, until that is gone or another one is given.

    Label tables hold arrays, so they cannot be hashed.
    """
    kept: dict[int, tuple[weakref.ref[Any], T]] = {}

    def ask(subject: Any, *more: Any) -> T:
        held = kept.get(id(subject))
        if held is None or held[0]() is not subject:
            kept.clear()
            held = weakref.ref(subject, lambda _: kept.clear()), make(subject, *more)
            kept[id(subject)] = held
        return held[1]

    return ask


@dataclass(frozen=True, eq=False)
class Boxes:
    """N boxes; all arrays are (N,).

    Attributes:
        x, y, w, h: centre and sides, normalised.
        largest: the largest of the four.
        centre: the smaller coordinate of the centre.
        side: the smaller side.
        valid: all numbers of the row are finite, and no side is negative.
        dropped: a number is so far out that Ultralytics drops the image (in pose labels it does not check all).
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
    valid: Mask
    dropped: Mask
    inside: Mask
    width: Column
    height: Column
    known: Mask


@once
def label_boxes(labels: Labels, images: Images) -> Boxes:
    """The boxes of a label table."""
    x, y, w, h = (np.ascontiguousarray(column) for column in labels.box.T)
    centre, side = np.minimum(x, y), np.minimum(w, h)
    largest = np.maximum(np.maximum(x, y), np.maximum(w, h))
    valid = np.isfinite(labels.extra) & (side >= 0)
    width, height = (images.columns[side].astype(np.float32)[labels.row_image] for side in ("width", "height"))
    return Boxes(
        x=x,
        y=y,
        w=w,
        h=h,
        largest=largest,
        centre=centre,
        side=side,
        valid=valid,
        dropped=(largest > HIGH) | (centre < LOW),
        inside=(largest <= 1) & (centre >= 0) & (side >= 0),
        width=width,
        height=height,
        known=(width > 0) & (height > 0),
    )


@once
def in_pixels(boxes: Boxes) -> Mask:
    """The rows whose numbers are too large for normalised ones."""
    return boxes.valid & (boxes.largest > 2)


@once
def first_equal(labels: Labels, images: Images) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row the index of the first row of its file that is equal, and of the first with an equal box.

    Equal rows have equal polygons and keypoints, equal boxes equal polygons.
    """
    boxes = label_boxes(labels, images)
    key = labels.file.astype(np.uint64) ^ labels.shape.view(np.uint64)
    with np.errstate(over="ignore"):
        for column in (boxes.x, boxes.y, boxes.w, boxes.h):
            key ^= (column + np.float32(0)).view(np.uint32)  # no negative zero
            key *= _MIX
            key ^= key >> np.uint64(29)
    ranked = np.sort(key)
    twice = ranked[1:][ranked[1:] == ranked[:-1]]
    number = np.arange(len(key))
    if not len(twice):
        return number, number
    rows = np.flatnonzero(np.isin(key, twice) & np.isfinite(labels.extra))  # nan and inf are no box, so none twice
    first_row, first_box = number.copy(), number.copy()
    seen_rows: dict[tuple[object, ...], int] = {}
    seen_boxes: dict[tuple[object, ...], int] = {}
    for row in rows.tolist():
        box = (int(labels.file[row]), int(labels.shape[row]), *labels.box[row].tolist())
        spots = slice(int(labels.first[row]), int(labels.first[row + 1]))
        points = () if labels.shape[row] else (labels.points[spots].tobytes(), labels.visible[spots].tobytes())
        first_box[row] = seen_boxes.setdefault(box, row)
        first_row[row] = seen_rows.setdefault((float(labels.cls[row]), *box, *points), row)
    return first_row, first_box


@dataclass(frozen=True, eq=False)
class Shapes:
    """The K rows that have points and hold finite numbers only.

    Attributes:
        rows: (K,) int64, their numbers in the label table.
        x, y: (P,) float64, their points in pixels (in thousandths of the image where its size is unknown).
        start: (K,) int64, where the points of each begin.
        count: (K,) int64, how many there are.
        owner: (P,) int64, for each point the position of its row in `rows`.
        spots: (P,) int64, the index of each point in the label table.
    """

    rows: NDArray[np.int64]
    x: Floats
    y: Floats
    start: NDArray[np.int64]
    count: NDArray[np.int64]
    owner: NDArray[np.int64]
    spots: NDArray[np.int64]

    def largest(self, values: NDArray[Any]) -> NDArray[Any]:
        """(K,) the largest of the values (P,) of each row's points."""
        return np.maximum.reduceat(values, self.start) if len(self.start) else values[:0]

    def smallest(self, values: NDArray[Any]) -> NDArray[Any]:
        """(K,) the smallest of the values (P,) of each row's points."""
        return np.minimum.reduceat(values, self.start) if len(self.start) else values[:0]

    def total(self, values: NDArray[Any]) -> NDArray[Any]:
        """(K,) the sum of the values (P,) of each row's points."""
        return np.add.reduceat(values, self.start) if len(self.start) else values[:0]

    def ahead(self, values: NDArray[Any]) -> NDArray[Any]:
        """(P,) for each point the value of the next one around its polygon."""
        result = np.empty_like(values)
        result[:-1] = values[1:]
        result[self.start + self.count - 1] = values[self.start]
        return result

    def each(self, values: NDArray[Any]) -> NDArray[Any]:
        """(P,) for each point the value (K,) of its row."""
        return np.repeat(values, self.count)

    def subset(self, chosen: NDArray[np.bool_]) -> Shapes:
        """Some of the rows alone."""
        points = self.each(chosen)
        count = self.count[chosen]
        return Shapes(
            rows=self.rows[chosen],
            x=self.x[points],
            y=self.y[points],
            start=np.cumsum(count) - count,
            count=count,
            owner=np.repeat(np.arange(len(count)), count),
            spots=self.spots[points],
        )


@once
def shapes(labels: Labels, images: Images) -> Shapes:
    """The polygons (or the keypoints) of a label table, in pixels."""
    boxes = label_boxes(labels, images)
    every = np.diff(labels.first)
    rows = np.flatnonzero((every > 0) & np.isfinite(labels.extra))
    count = every[rows]
    start = np.cumsum(count) - count
    owner = np.repeat(np.arange(len(rows)), count)
    spots = np.arange(len(owner)) + np.repeat(labels.first[rows] - start, count)
    points = labels.points if len(spots) == len(labels.points) else labels.points[spots]
    across = np.where(boxes.known[rows], boxes.width[rows], UNKNOWN)
    down = np.where(boxes.known[rows], boxes.height[rows], UNKNOWN)
    x = np.asarray(points[:, 0] * np.repeat(across.astype(np.float64), count), np.float64)
    y = np.asarray(points[:, 1] * np.repeat(down.astype(np.float64), count), np.float64)
    return Shapes(rows, x, y, start, count, owner, spots)


@once
def quads(labels: Labels, images: Images) -> tuple[Shapes, Floats]:
    """The M rows with four corners, and (2, 4, M) these corners, in pixels."""
    boxes = shapes(labels, images)
    boxes = boxes.subset(boxes.count == CORNERS)
    return boxes, np.ascontiguousarray(np.stack([boxes.x, boxes.y]).reshape(2, -1, CORNERS).swapaxes(1, 2))


def right_angles(labels: Labels, images: Images) -> tuple[Mask, Mask]:
    """(M,) which of the `quads` are rectangles in pixels but not in normalised coordinates, and the other way round."""
    boxes, corners = quads(labels, images)
    parts = labels.points[boxes.spots].astype(np.float64).reshape(-1, CORNERS, 2).transpose(2, 1, 0)
    skew, skew_of_parts = _skew(corners), _skew(parts)
    known = label_boxes(labels, images).known[boxes.rows]
    return known & (skew <= RIGHT) & (skew_of_parts >= SKEWED), known & (skew_of_parts <= RIGHT) & (skew >= SKEWED)


def _skew(corners: Floats) -> Floats:
    """(M,) the largest cosine of the four angles; 1 if two corners are equal."""
    edges = np.roll(corners, -1, axis=1) - corners
    length = np.hypot(*edges)
    after, further = np.roll(edges, -1, axis=1), np.roll(length, -1, axis=0)
    cosine = np.abs((edges * after).sum(axis=0)) / np.maximum(length * further, 1e-12)
    return np.asarray(np.where((length > 0).all(axis=0), cosine.max(axis=0), 1.0))


def are_whole(numbers: NDArray[np.floating[Any]]) -> Mask:
    """(N,) whether all numbers of each row are whole, but for `GRID`."""
    return np.asarray((np.abs(numbers - np.round(numbers)) < GRID).all(axis=1))


def on_pixels(box: NDArray[np.floating[Any]], sides: NDArray[np.number[Any]]) -> Mask:
    """(N,) whether boxes were drawn on whole pixels: their sides are whole numbers of them, their centres halves.

    Args:
        box: (N, 4) x, y, w, h.
        sides: (N, 2) or (2,), by which x and y must be multiplied to be pixels.
    """
    return are_whole(box * np.tile(sides, 2) * (2, 2, 1, 1))
