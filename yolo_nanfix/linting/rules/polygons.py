"""SG: polygons of the segment task; each row is a class and the corners x y, normalised."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import HIGH, LOW, Shapes, label_boxes, once, shapes
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, safe, unsafe
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.geometry import areas, crossings, extents, flat
from yolo_nanfix.linting.rules.rings import MOST_CORNERS, Outline, RingKind, judge_outline
from yolo_nanfix.linting.rules.row_hits import file_hits, row_hits

SEGMENT = ("segment",)
MASK_CELL = 4
"""Side of a mask pixel in pixels of the image: masks are drawn at a quarter of its size (`mask_ratio`)."""
RESAMPLED = 1000
"""Ultralytics resamples each polygon to this many points."""
MOST_PAIRS = 20_000_000
"""Pairs of edges compared in one part of a set; outlines beyond that are reported as crossing, unjudged."""


@rule(
    "SG001", Severity.WARNING, Effect.ACCEPTS, SEGMENT, autofix=unsafe(Operation.CLIP, "clips the polygon to the image")
)
def polygon_vertex_outside(labels: Labels, images: Images) -> Iterator[Hit]:
    """A corner of a polygon is outside the image by more than one percent.

    Why: the mask is cut at the border, but the box around the polygon is not: the two contradict each other.
    Ultralytics: checks the box around the polygon only, and keeps it while its centre and sides are below 1.01.
    Example: `0 -0.5 0.1 0.5 0.1 0.3 0.4`.
    Fix: clip the polygon to the image.
    """
    over, below = _reach(labels, images)
    rows = np.flatnonzero(((over > HIGH) | (below < LOW)) & ~label_boxes(labels, images).dropped)
    says = "corners reach from {smallest:.4g} to {largest:.4g}"
    yield from row_hits(labels, images, rows, says, smallest=below[rows], largest=over[rows])


@rule("SG002", Severity.INFO, Effect.ACCEPTS, SEGMENT, autofix=safe(Operation.CLIP_ALL))
def polygon_vertex_tolerated(labels: Labels, images: Images) -> Iterator[Hit]:
    """Corners of polygons are outside the image, but by less than one percent.

    Why: mostly rounding; worth knowing before a tool with less tolerance reads the files.
    Ultralytics: keeps the polygon, and cuts its mask at the border.
    Example: `0 0.9 0.1 1.0004 0.1 0.95 0.4`.
    Fix: clip the polygons to the image.
    """
    over, below = _reach(labels, images)
    rows = np.flatnonzero(((over > 1) | (below < 0)) & (over <= HIGH) & (below >= LOW))
    yield from file_hits(labels, images, rows, "polygons that reach out by less than one percent: {count}")


@rule("SG003", Severity.ERROR, Effect.ACCEPTS, SEGMENT, autofix=unsafe(Operation.DROP))
def polygon_area_zero(labels: Labels, images: Images) -> Iterator[Hit]:
    """All corners of a polygon lie on one line.

    Why: there is no object in it; if its box has no area either, the mask loss is divided by 0.
    Ultralytics: keeps the polygon; its mask is a line one pixel wide, or nothing.
    Example: `0 0.1 0.1 0.3 0.3 0.5 0.5`.
    Fix: remove the row, or draw the object again.
    """
    polygons = shapes(labels, images)
    rows = polygons.rows[flat(polygons) & (_distinct(polygons) >= 3)]
    yield from row_hits(labels, images, rows, "all corners lie on one line: area 0")


@rule("SG005", Severity.ERROR, Effect.ACCEPTS, SEGMENT, autofix=unsafe(Operation.DROP))
def polygon_few_points(labels: Labels, images: Images) -> Iterator[Hit]:
    """A polygon has fewer than three different corners.

    Why: a point or a line is no object; if its box has no area, the mask loss is divided by 0.
    Ultralytics: keeps the polygon; its mask is a line one pixel wide, or nothing.
    Example: `0 0.1 0.1 0.5 0.5 0.1 0.1`.
    Fix: remove the row, or draw the object again.
    """
    polygons = shapes(labels, images)
    points = _distinct(polygons)
    few, says = points < 3, "the polygon has {points:1=one point|two different points}"
    yield from row_hits(labels, images, polygons.rows[few], says, points=points[few])


@rule("SG006", Severity.INFO, Effect.ACCEPTS, SEGMENT)
def polygon_vertex_repeated(labels: Labels, images: Images) -> Iterator[Hit]:
    """Polygons hold the same corner several times in a row.

    Why: useless; the points to which Ultralytics resamples a polygon crowd there.
    Ultralytics: keeps the corners.
    Example: `0 0.1 0.1 0.1 0.1 0.5 0.1 0.3 0.4`.
    Fix: remove the repeated corners.
    """
    polygons = shapes(labels, images)
    chosen = (polygons.total(_same_as_next(polygons) & ~_is_last(polygons)) > 0) & (_distinct(polygons) >= 3)
    yield from file_hits(labels, images, polygons.rows[chosen], "polygons that repeat a corner: {count}")


@rule("SG007", Severity.INFO, Effect.ACCEPTS, SEGMENT)
def polygon_closed_twice(labels: Labels, images: Images) -> Iterator[Hit]:
    """Polygons end with their first corner.

    Why: useless, since polygons are closed anyway; a sign that the file comes from COCO, GeoJSON or the like.
    Ultralytics: closes polygons itself, and keeps the corner.
    Example: `0 0.1 0.1 0.5 0.1 0.3 0.4 0.1 0.1`.
    Fix: remove the last corner.
    """
    polygons = shapes(labels, images)
    chosen = (polygons.total(_same_as_next(polygons) & _is_last(polygons)) > 0) & (_distinct(polygons) >= 3)
    yield from file_hits(labels, images, polygons.rows[chosen], "polygons that end with their first corner: {count}")


@rule("SG008", Severity.INFO, Effect.ACCEPTS, SEGMENT)
def polygon_many_points(labels: Labels, images: Images) -> Iterator[Hit]:
    """A polygon has more than 1000 corners.

    Why: the loader gives all polygons of the image as many points, which costs time and memory in each epoch.
    Ultralytics: resamples polygons to 1000 points, or to one more than the longest of the image has.
    Example: an outline traced pixel by pixel.
    Fix: simplify the polygon, for example by Douglas-Peucker.
    """
    count = np.diff(labels.first)
    rows = np.flatnonzero(count > RESAMPLED)
    yield from row_hits(labels, images, rows, "the polygon has {corners} corners", corners=count[rows])


@rule("SG009", Severity.WARNING, Effect.ACCEPTS, SEGMENT)
def polygon_under_mask_pixel(labels: Labels, images: Images, options: LintOptions) -> Iterator[Hit]:
    """At the image size of the training a polygon covers less than a quarter of a pixel of the mask.

    Why: its mask may be empty (one in four is, for squares of 2 pixels), and the object is learned without shape.
    Ultralytics: draws masks at a quarter of the image size (`mask_ratio: 4`), where small ones vanish.
    Example: an object of 2x2 pixels at `imgsz=640`.
    Fix: train at a larger `imgsz`, with `mask_ratio=1`, or remove the object.
    """
    polygons = shapes(labels, images)
    boxes = label_boxes(labels, images)
    scale = options.imgsz / np.maximum(np.maximum(boxes.width, boxes.height), 1)[polygons.rows]
    area = np.abs(areas(polygons)) * scale**2
    solid = ~flat(polygons) & boxes.known[polygons.rows]
    chosen = solid & (area <= MASK_CELL**2 / 4) & (extents(polygons) * scale < 2 * MASK_CELL)
    says = "{area:.2g} square pixels at an image size of {imgsz}"
    yield from row_hits(labels, images, polygons.rows[chosen], says, area=area[chosen], imgsz=options.imgsz)


@rule("SG004", Severity.WARNING, Effect.ACCEPTS, SEGMENT)
def polygon_self_crossing(labels: Labels, images: Images) -> Iterator[Hit]:
    """A polygon crosses itself (a bow-tie), and the loop is larger than a pixel of the mask.

    Why: the corners are out of order; what lies in a loop that the outline encircles twice counts as outside.
    Ultralytics: fills the polygon by the even-odd rule, silently.
    Example: `0 0.1 0.1 0.5 0.5 0.5 0.1 0.1 0.5`.
    Fix: put the corners in the order of the outline, or draw the object again.
    """
    says = "the polygon crosses itself; the loop has {area:.0f} square pixels"
    yield from _outline_hits(labels, images, RingKind.CROSSING, says)


@rule("SG010", Severity.WARNING, Effect.ACCEPTS, SEGMENT)
def polygon_rings_joined(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row holds several rings (parts of an object, or a hole in it) that are not joined by a clean bridge.

    Why: between the rings the outline runs across the picture, and what lies there is filled, or left out.
    Ultralytics: reads one outline, and fills it by the even-odd rule. A bridge that runs there and back has no
        area, so holes and parts that are joined by one are filled as they should be.
    Example: the four corners of one part and the four of another, one after the other.
    Fix: join the rings with `merge_multi_segment` of `ultralytics.data.converter`, or write each part to a row of its
    own; a hole needs the bridge.
    """
    says = "{rings} rings in one outline, one after the other, without a bridge"
    yield from _outline_hits(labels, images, RingKind.JOINED, says)
    says = "{rings} rings in one outline; the sides of the bridge lie apart, by {area:.0f} square pixels"
    yield from _outline_hits(labels, images, RingKind.LOOSE, says)


@rule("SG011", Severity.WARNING, Effect.ACCEPTS, SEGMENT)
def polygon_parts_overlap(labels: Labels, images: Images) -> Iterator[Hit]:
    """The parts of an object, joined by a bridge, overlap.

    Why: what two parts share is missing from the mask.
    Ultralytics: fills the outline by the even-odd rule: what lies in two rings is outside.
    Example: two polygons of one COCO annotation that overlap, joined by `convert_coco`.
    Fix: merge the parts into one outline, or write each to a row of its own.
    """
    says = "{rings} parts, which share {area:.0f} square pixels; there the mask is empty"
    yield from _outline_hits(labels, images, RingKind.OVERLAPPING, says)


@once
def _reach(labels: Labels, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N,) the largest and the smallest coordinate among the points of each row; 0.5 for rows without."""
    polygons = shapes(labels, images)
    over, below = np.full(len(labels.cls), 0.5, np.float32), np.full(len(labels.cls), 0.5, np.float32)
    points = labels.points if len(polygons.spots) == len(labels.points) else labels.points[polygons.spots]
    x, y = points[:, 0], points[:, 1]
    over[polygons.rows] = polygons.largest(np.maximum(x, y))
    below[polygons.rows] = polygons.smallest(np.minimum(x, y))
    return over, below


def _is_last(polygons: Shapes) -> NDArray[np.bool_]:
    """(P,) whether a point is the last of its polygon."""
    last = np.zeros(len(polygons.x), np.bool_)
    last[polygons.start + polygons.count - 1] = True
    return last


@once
def _same_as_next(polygons: Shapes) -> NDArray[np.bool_]:
    """(P,) whether a point is where the next one is."""
    return np.asarray((polygons.x == polygons.ahead(polygons.x)) & (polygons.y == polygons.ahead(polygons.y)))


@once
def _distinct(polygons: Shapes) -> NDArray[np.int64]:
    """(K,) 1 or 2 for polygons of one or two different points, else 3."""
    number = np.full(len(polygons.rows), 3)
    for k in np.flatnonzero(flat(polygons)).tolist():  # only these can have fewer
        spots = slice(polygons.start[k], polygons.start[k] + polygons.count[k])
        number[k] = min(3, len(set(zip(polygons.x[spots].tolist(), polygons.y[spots].tolist(), strict=True))))
    return number


@once
def _outlines(labels: Labels, images: Images) -> dict[int, Outline]:
    """For each row whose outline crosses itself by more than a pixel of the mask: what it is."""
    polygons, least = shapes(labels, images), float(MASK_CELL**2)
    found, spent = {}, 0
    for owner, loop in crossings(polygons):
        if loop >= least:
            spent += min(int(polygons.count[owner]), MOST_CORNERS) ** 2
            if spent > MOST_PAIRS:
                found[int(polygons.rows[owner])] = Outline(RingKind.CROSSING, 1, loop)
                continue
            spots = slice(polygons.start[owner], polygons.start[owner] + polygons.count[owner])
            found[int(polygons.rows[owner])] = judge_outline(polygons.x[spots], polygons.y[spots], least)
    return found


def _outline_hits(labels: Labels, images: Images, kind: RingKind, says: str) -> Iterator[Hit]:
    """A hit for each row whose outline is of this kind."""
    found = [(row, one.rings, one.area) for row, one in sorted(_outlines(labels, images).items()) if one.kind is kind]
    rows, rings, area = map(np.array, zip(*found, strict=True)) if found else (np.zeros(0, np.int64),) * 3
    yield from row_hits(labels, images, rows, says, rings=rings, area=area)
