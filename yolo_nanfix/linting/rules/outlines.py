"""SG: outlines that cross themselves, told apart by what they are: a slip, parts that are joined or that overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import once, shapes
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.geometry import crossings
from yolo_nanfix.linting.rules.polygons import MASK_CELL, SEGMENT
from yolo_nanfix.linting.rules.rings import MOST_CORNERS, Kind, Outline, judge
from yolo_nanfix.linting.rules.row_hits import row_hits

MOST_PAIRS = 20_000_000
"""So many pairs of edges are held against each other in one part of a set; outlines beyond are said to cross."""


@once
def _outlines(labels: Labels, images: Images) -> dict[int, Outline]:
    """For each row whose outline crosses itself, by more than a pixel of the mask, what it is."""
    polygons, least = shapes(labels, images), float(MASK_CELL**2)
    found, spent = {}, 0
    for owner, loop in crossings(polygons):
        if loop >= least:
            spent += min(int(polygons.count[owner]), MOST_CORNERS) ** 2
            if spent > MOST_PAIRS:
                found[int(polygons.rows[owner])] = Outline(Kind.CROSSING, 1, loop)
                continue
            spots = slice(polygons.start[owner], polygons.start[owner] + polygons.count[owner])
            found[int(polygons.rows[owner])] = judge(polygons.x[spots], polygons.y[spots], least)
    return found


def _hits(labels: Labels, images: Images, kinds: tuple[Kind, ...], say: Callable[[Outline], str]) -> Iterator[Hit]:
    """A hit for each row whose outline is of one of some kinds."""
    outlines = {row: outline for row, outline in _outlines(labels, images).items() if outline.kind in kinds}
    mask = np.zeros(len(labels.cls), np.bool_)
    mask[list(outlines)] = True
    yield from row_hits(labels, images, mask, lambda row: say(outlines[row]))


@rule("SG004", "polygon-self-crossing", Severity.WARNING, Effect.ACCEPTS, SEGMENT)
def polygon_self_crossing(labels: Labels, images: Images) -> Iterator[Hit]:
    """The outline of a polygon crosses itself (a bow-tie), and the loop is larger than a pixel of the mask.

    Why: what the loop holds counts as outside where the outline goes round it twice; corners are out of order.
    Ultralytics: fills the polygon by the even-odd rule, without a word.
    Example: `0 0.1 0.1 0.5 0.5 0.5 0.1 0.1 0.5`.
    Fix: put the corners in the order of the outline, or draw the object again.
    """
    say = "the outline crosses itself; the loop has {:.0f} square pixels"
    yield from _hits(labels, images, (Kind.CROSSING,), lambda outline: say.format(outline.area))


@rule("SG010", "polygon-rings-joined", Severity.WARNING, Effect.ACCEPTS, SEGMENT)
def polygon_rings_joined(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row holds several rings (parts of an object, or a hole in it) that are not joined by a clean bridge.

    Why: between the rings the outline runs across the picture, and what lies there is filled, or left out.
    Ultralytics: reads one outline, and fills it by the even-odd rule. A bridge that is walked there and back has no
        area, so holes and parts that are joined by one are filled as they should be.
    Example: the four corners of one part and the four of another, one after the other.
    Fix: join the rings with `merge_multi_segment` of `ultralytics.data.converter`, or write each part to a row of its
    own; a hole needs the bridge.
    """

    def say(outline: Outline) -> str:
        rings = f"{outline.rings} rings in one outline"
        if outline.kind is Kind.JOINED:
            return f"{rings}, one after the other, without a bridge"
        return f"{rings}; the sides of the bridge lie apart, by {outline.area:.0f} square pixels"

    yield from _hits(labels, images, (Kind.JOINED, Kind.LOOSE), say)


@rule("SG011", "polygon-parts-overlap", Severity.WARNING, Effect.ACCEPTS, SEGMENT)
def polygon_parts_overlap(labels: Labels, images: Images) -> Iterator[Hit]:
    """The parts of an object, joined by a bridge, cover each other in part.

    Why: what two parts share is missing from the mask.
    Ultralytics: fills the outline by the even-odd rule: what lies in two rings is outside.
    Example: two polygons of one COCO annotation that overlap, joined by `convert_coco`.
    Fix: unite the parts to one outline, or write each to a row of its own.
    """
    say = "{} parts, which share {:.0f} square pixels; there the mask is empty"
    yield from _hits(labels, images, (Kind.OVERLAPPING,), lambda o: say.format(o.rings, o.area))
