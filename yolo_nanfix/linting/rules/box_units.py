"""Detects box numbers of another unit, scale or form than normalised centre and size, which Ultralytics reads.

Where a converter wrote something else, nearly all rows of the set show it together: boxes reach out of the image in one
reading and lie inside in another. A reading is accepted if hardly a row contradicts it and many contradict the usual
one; if two are possible, neither is.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.image_header import QUARTER
from yolo_nanfix.dataset.label_boxes import GRID, GRID_CHANCE, GRID_SHARE, Floats, on_pixels, once
from yolo_nanfix.dataset.table import Table

Mask = NDArray[np.bool_]

SAMPLE_ROWS = 6_000
"""About how many rows of a set are used."""
LEAST_ROWS = 10
"""With fewer rows nothing is concluded."""
SLACK = 0.02
"""How far (normalised) a box may reach out of its image before it contradicts a reading."""
CONTRARY = 0.02
"""This share of the rows may contradict a reading: labelling errors, rows of another origin."""
OUT, OUT_LEAST = 0.03, 5
"""At least this share of the rows, and so many, must contradict the usual reading."""
EXPECTED = 0.3
"""Boxes all over the image end beyond 1 in a share that follows from its sides; this part of the share must."""
CROSSWISE = 0.08
"""Both axes by one side: so large a share of the rows beyond 1 ends, along the other axis, beyond what swapped axes
could reach. And the boxes must lie on pixels so, or images must be wide and high, and fit so."""
REACH = 0.8
"""In the right reading some box ends in the last fifth of its image, as in any set with objects all over the image."""
GROWN = 0.6
"""The numbers of an image grow much if its factor is so far towards the largest of all images."""
NARROW = 0.25
"""Along the other axis less is enough: objects may lie in one part of their images, as on a road or in the sky."""
FEW = 3
"""So many rows are enough to see that no number is normalised, but not to tell the unit."""
HALF = 0.5
"""For pixels, some box must end in the second half of its image; else the unit may be smaller."""
SQUARE = 1.1
"""An image with a smaller ratio of its sides does not show which is which."""
SIZES = 8
"""How many image sizes are tried, the most frequent ones."""
TINY = 0.1
"""If all boxes end before this, the numbers may have been divided twice: one pixel of an image of ten."""
UNIT_FROM = 2.0
"""Larger numbers are not normalised."""
LIKELY = 7.0
"""One reading is chosen over another if it is a thousand times (e to this power) as likely."""
DEEP = 0.1
"""A box that reaches so far out of its image is no labelling error."""
CORNERS_NARROW = 0.15
CORNERS, CORNERS_OUT, CORNERS_LEAST, CORNERS_SPREAD, CORNERS_TOGETHER = 0.99, 0.15, 8, 0.4, 0.5
"""Corners: in nearly all rows the last two numbers are the larger ones; read as centres, many reach out deeply; they
lie all over the image, or a strip of it that is `CORNERS_NARROW` wide, as centres of objects that fill it do not; and
first and last numbers grow together."""
ENDS = (0.02, 0.98)
"""The parts of the rows between which numbers are spread."""
BESIDE, BESIDE_LEAST, BESIDE_ROWS, BESIDE_DEPTH = 0.05, 2, 20, 0.15
"""Upper left corners: read as centres, this share (and so many on each side) reaches out to the left and above only,
by a part of the box that is up to a half of it, a quarter on the average."""

GRID_LEAST = 20
"""So many boxes must lie in images that are not square."""
HALVES = 0.2
"""At least this share of the centres lies between two pixels: half of them, by chance."""


class Scale(str, Enum):
    """By what the numbers of a set were divided."""

    PARTS = "parts"
    """Parts of the image, as they should be."""
    SWAPPED = "swapped"
    """x was divided by the height, y by the width."""
    HEIGHT = "height"
    """Both were divided by the height."""
    WIDTH = "width"
    """Both were divided by the width."""
    PIXELS = "pixels"
    """Pixels."""
    PIXELS_YX = "pixels y x"
    """Pixels, y before x and height before width."""
    PERCENT = "percent"
    """Hundredths of the image."""
    PERMILLE = "permille"
    """Thousandths of the image."""
    TWICE = "twice"
    """Parts of the image that were divided by its sides once more."""
    HUNDREDTH = "hundredth"
    """Parts of the image that were divided by 100 once more."""
    SIZE = "one size"
    """x was divided by one number in all images, and y by one: the sides of some of them."""
    UNKNOWN = "unknown"
    """Not normalised; of which unit cannot be told."""


class Form(str, Enum):
    """Which four numbers a box has."""

    CENTRE = "centre"
    """Centre and size, as it should be."""
    CORNERS = "corners"
    """Upper left and lower right corner."""
    CORNER = "corner"
    """Upper left corner and size."""
    UNSURE = "unsure"
    """Centre or corner; the numbers do not tell."""


class Reading(NamedTuple):
    """How the rows of a set are to be read.

    Attributes:
        scale, form: as the enums say.
        rows: so many rows were judged.
        out: so many of them contradict the usual reading: their boxes reach out of the image.
        fit: so many of them fit this one.
        reach: the furthest that a box reaches to the right and down, in the usual reading.
        size: width and height by which all were divided, if the scale is one size.
    """

    scale: Scale
    form: Form
    rows: int
    out: int
    fit: int
    reach: tuple[float, float]
    size: tuple[int, int] = (1, 1)

    def includes(self, other: Reading) -> bool:
        """Whether a part of the rows may have this other reading: the same, or one of unknown form or unit."""
        if other.scale is Scale.UNKNOWN:
            return self.scale is not Scale.UNKNOWN
        return (other.scale, other.size) == (self.scale, self.size) and other.form in (self.form, Form.UNSURE)


class RowBoxes(NamedTuple):
    """Some rows: centre and size in the usual reading, the size of their image, and whether EXIF rotates it."""

    x: Floats
    y: Floats
    w: Floats
    h: Floats
    width: Floats
    height: Floats
    turned: Mask

    def some(self, chosen: Mask) -> RowBoxes:
        """Some of the rows."""
        x, y, w, h, width, height = (np.asarray(column[chosen], np.float64) for column in self[:-1])
        return RowBoxes(x, y, w, h, width, height, self.turned[chosen])

    def scaled(self, scale: Scale, size: tuple[int, int] = (1, 1)) -> RowBoxes:
        """The boxes, normalised, if their numbers have this scale (and were divided by this one size)."""
        x, y, w, h = self.x, self.y, self.w, self.h
        if scale is Scale.PIXELS_YX:
            x, y, w, h = y, x, h, w
        across, down = divisors(scale, self.width, self.height)
        if scale is Scale.SIZE:
            across, down = self.width / size[0], self.height / size[1]
        return self._replace(x=x / across, y=y / down, w=w / across, h=h / down)

    def formed(self, form: Form) -> RowBoxes:
        """The boxes by centre and size, if their numbers have this form."""
        x, y, w, h = self.x, self.y, self.w, self.h
        if form is Form.CORNERS:
            return self._replace(x=(x + w) / 2, y=(y + h) / 2, w=w - x, h=h - y)
        if form is Form.CORNER:
            return self._replace(x=x + w / 2, y=y + h / 2)
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """How far boxes reach to the right, and down."""
        return float((self.x + self.w / 2).max()), float((self.y + self.h / 2).max())

    def inside(self) -> Mask:
        """The rows whose box lies in its image, but for the slack, and has two sides."""
        low = np.minimum(self.x - self.w / 2, self.y - self.h / 2)
        high = np.maximum(self.x + self.w / 2, self.y + self.h / 2)
        return np.asarray((low >= -SLACK) & (high <= 1 + SLACK) & (np.minimum(self.w, self.h) >= 0))


def divisors(scale: Scale, width: Any, height: Any) -> tuple[Any, Any]:
    """By what the first and the second number of each pair (after a change of order) must be divided."""
    one = width / width
    return {
        Scale.PARTS: (one, one),
        Scale.SIZE: (one, one),
        Scale.SWAPPED: (width / height, height / width),
        Scale.HEIGHT: (width / height, one),
        Scale.WIDTH: (one, height / width),
        Scale.PIXELS: (width, height),
        Scale.PIXELS_YX: (width, height),
        Scale.PERCENT: (100 * one, 100 * one),
        Scale.PERMILLE: (1000 * one, 1000 * one),
        Scale.TWICE: (1 / width, 1 / height),
        Scale.HUNDREDTH: (0.01 * one, 0.01 * one),
    }[scale]


@once
def sample(table: Table) -> NDArray[np.int64]:
    """At most about `SAMPLE_ROWS` rows, evenly from the whole set: with finite numbers, in images of known size."""
    rows = np.arange(0, len(table.row_image), max(1, len(table.row_image) // SAMPLE_ROWS))
    image = table.row_image[rows]
    box = table.row_box[rows]
    known = (table.width[image] > 0) & (table.height[image] > 0)
    return np.asarray(rows[known & np.isfinite(box).all(axis=1) & (box[:, 2:] >= 0).all(axis=1)], np.int64)


def boxes_of(table: Table, rows: NDArray[np.integer[Any]]) -> RowBoxes:
    """Some rows of a table."""
    image = table.row_image[rows]
    x, y, w, h = table.row_box[rows].astype(np.float64).T
    width, height = table.width[image].astype(np.float64), table.height[image].astype(np.float64)
    return RowBoxes(x, y, w, h, width, height, table.turn[image] >= QUARTER)


def grid_exchanged(boxes: RowBoxes) -> tuple[float, float] | None:
    """The shares of the boxes that lie on whole pixels with x and y exchanged and as they are; None: no proof.

    Tools draw on whole pixels, so that sides are whole numbers of them and centres halves. Numbers that come out so
    with the wrong side of images that are not square, and not with the right one, were divided by the wrong side.
    """
    ratio = boxes.width / boxes.height
    told = ((ratio > SQUARE) | (ratio < 1 / SQUARE)) & ~boxes.turned
    if told.sum() < GRID_LEAST:
        return None
    boxes = boxes.some(told)
    return _on_other_pixels(boxes, boxes.height, boxes.width)


def _on_pixels(boxes: RowBoxes, across: Floats, down: Floats) -> float:
    """The share of boxes whose sides are whole numbers, and whose centres are halves, of so many pixels."""
    box = np.stack([boxes.x, boxes.y, boxes.w, boxes.h], axis=1)
    return float(on_pixels(box, np.stack([across, down], axis=1)).mean())


def _on_other_pixels(boxes: RowBoxes, across: Floats, down: Floats) -> tuple[float, float] | None:
    """The shares of boxes on whole pixels of these sides and of their own; None unless only the former are many."""
    other, own = _on_pixels(boxes, across, down), _on_pixels(boxes, boxes.width, boxes.height)
    return (other, own) if other >= GRID_SHARE and own <= GRID_CHANCE else None


def _drawn_on_pixels(boxes: RowBoxes) -> bool:
    """Whether boxes lie on pixels as they are usually read: then they are to be read so."""
    return _on_pixels(boxes, boxes.width, boxes.height) >= GRID_SHARE


def _of_centres(boxes: RowBoxes) -> bool:
    """Whether many x lie between two pixels, as centres of boxes do and corners do not."""
    places = boxes.x * boxes.width
    return bool((np.abs(places - np.round(places)) > 2 * GRID).mean() >= HALVES)


def read_units(boxes: RowBoxes, forms: bool) -> Reading | None:
    """How to read boxes that are not normalised centre and size; None if they are, or if nothing is proven.

    Args:
        boxes: the rows of a set, or of one of its splits.
        forms: whether they are boxes of four numbers, not the boxes around polygons.
    """
    rows = len(boxes.x)
    enough = rows >= LEAST_ROWS or (rows >= FEW and bool(_large(boxes).all()))
    usual = boxes.inside() if enough else np.ones(rows, np.bool_)
    out = int(np.count_nonzero(~usual))
    if rows >= LEAST_ROWS and not out and (small := _small(boxes)) is not None:
        return Reading(small, Form.CENTRE, rows, 0, int(boxes.scaled(small).inside().sum()), boxes.ends)
    if not out or out < min(rows, max(OUT_LEAST, OUT * rows)):
        return None
    scale = _scale(boxes, usual)
    if scale is Scale.UNKNOWN:
        return Reading(scale, Form.UNSURE, rows, out, 0, boxes.ends)
    size = _one_size(boxes, usual) if scale is Scale.PARTS else None
    scale = Scale.SIZE if size else scale
    scaled = boxes.scaled(scale, size or (1, 1))
    form = _form(scaled, sure=scale is Scale.PARTS) if forms and scale in _WITH_FORM else Form.CENTRE
    if scale is Scale.PARTS and form in (Form.CENTRE, Form.UNSURE):
        return None
    fit = int(np.count_nonzero(scaled.formed(form).inside()))
    return Reading(scale, form, rows, out, fit, boxes.ends, size or (1, 1))


def contradicts(boxes: RowBoxes, reading: Reading) -> bool:
    """Whether more than a few boxes lie inside in the usual reading, but not in this one."""
    if reading.scale is Scale.UNKNOWN:
        return False
    fits = boxes.scaled(reading.scale, reading.size).formed(reading.form).inside()
    return bool((boxes.inside() & ~fits).sum() > CONTRARY * len(fits))


_OF_SIDES = (Scale.SWAPPED, Scale.HEIGHT, Scale.WIDTH)
_OF_UNITS = (Scale.PIXELS, Scale.PIXELS_YX, Scale.PERCENT, Scale.PERMILLE)
_WITH_FORM = (Scale.PARTS, *_OF_UNITS)


def _scale(boxes: RowBoxes, usual: Mask) -> Scale:
    """The scale of the numbers; `PARTS` where no other is proven."""
    if _large(boxes).mean() >= 1 - CONTRARY:
        return (_unit(boxes) if len(boxes.x) >= LEAST_ROWS else None) or Scale.UNKNOWN
    return next((scale for scale in _OF_SIDES if _proves_sides(boxes, usual, scale)), Scale.PARTS)


def _large(boxes: RowBoxes) -> Mask:
    """The rows with a number that is not normalised."""
    return np.asarray(np.maximum(np.maximum(boxes.x, boxes.y), np.maximum(boxes.w, boxes.h)) > UNIT_FROM)


def _small(boxes: RowBoxes) -> Scale | None:
    """The scale of boxes that all lie in the first pixel, or hundredth, of their images; None if not all do."""
    if max(boxes.ends) > TINY:
        return None
    for scale in (Scale.TWICE, Scale.HUNDREDTH):
        scaled = boxes.scaled(scale)
        if _reach_far(scaled) and scaled.inside().all():
            return scale
    return None


def _unit(boxes: RowBoxes) -> Scale | None:
    """In which unit large numbers are: the one that all fit into and that leaves least room, by a clear margin."""
    room: dict[Scale, float] = {}
    units = [scale for scale in _OF_UNITS if _fits(boxes.scaled(scale))]
    if Scale.PIXELS in units and Scale.PIXELS_YX in units:  # y before x is possible only where x before y is not
        units.remove(Scale.PIXELS_YX)
    for scale in units:
        least = REACH if scale in (Scale.PERCENT, Scale.PERMILLE) else HALF
        scaled = boxes.scaled(scale)
        strict = scale in (Scale.PERMILLE, Scale.PIXELS_YX)
        strict |= (
            scale is Scale.PERCENT and max(boxes.scaled(Scale.PIXELS).ends) > NARROW
        )  # pixels of a corner, perhaps
        if min(scaled.ends) >= least or (not strict and _reach_far(scaled)):
            across, down = divisors(scale, boxes.width, boxes.height)
            room[scale] = float(np.log(across * down).sum())
    best = sorted(room, key=lambda scale: room[scale])
    if not best or (len(best) > 1 and room[best[1]] - room[best[0]] < LIKELY and not _same_divisors(boxes, best)):
        return None
    return best[0]


def _fits(scaled: RowBoxes) -> bool:
    """Whether hardly a number is above 1."""
    high = np.maximum(np.maximum(scaled.x, scaled.y), np.maximum(scaled.w, scaled.h))
    return bool((high <= 1 + SLACK).mean() >= 1 - CONTRARY)


def _reach_far(boxes: RowBoxes) -> bool:
    """Whether boxes end in the last part of their images along one axis, and not too early along the other."""
    return max(boxes.ends) >= REACH and min(boxes.ends) >= NARROW


def _same_divisors(boxes: RowBoxes, scales: list[Scale]) -> bool:
    """Whether scales are one for these images: all have 100 pixels a side, say."""
    first, *others = (np.stack(divisors(scale, boxes.width, boxes.height)) for scale in scales)
    return all(np.array_equal(first, other) for other in others)


def _proves_sides(boxes: RowBoxes, usual: Mask, scale: Scale) -> bool:
    """Whether rows of images that are not square show that they were divided by the wrong side.

    Images that EXIF rotates are left out: what is wrong with their sides alone has a rule of its own.
    """
    boxes, usual = boxes.some(~boxes.turned), usual[~boxes.turned]
    ratio = boxes.width / boxes.height
    short = np.minimum(ratio, 1 / ratio)  # with swapped axes boxes end there along the shorter side
    wide, told = ratio > 1, (ratio > SQUARE) | (ratio < 1 / SQUARE)
    scaled = boxes.scaled(scale)
    fits = scaled.inside()
    if scale is not Scale.SWAPPED:  # numbers grow above 1 in wide images or in high ones only
        told &= wide == (scale is Scale.HEIGHT)
    out = told & ~usual
    if not _contradicts_usual(usual, fits, told, 1 - short[told]):
        return False
    right, below = scaled.x + scaled.w / 2, scaled.y + scaled.h / 2
    end, other = np.where(wide, right, below), np.where(wide, below, right)
    if not _reaches(end[told], 1 / short[told]) or other[told].max() < REACH or _drawn_on_pixels(boxes.some(told)):
        return False
    if scale is Scale.SWAPPED:
        return True
    if (other[out] > short[out] + SLACK).mean() < CROSSWISE:
        return False
    side = boxes.height if scale is Scale.HEIGHT else boxes.width
    if _on_other_pixels(boxes.some(told), side[told], side[told]):
        return True
    others = (ratio < 1 / SQUARE) if scale is Scale.HEIGHT else (ratio > SQUARE)
    return bool(others.sum() >= LEAST_ROWS and not (~usual & ~fits).any())


def _contradicts_usual(usual: Mask, fits: Mask, told: Mask, expected: Floats) -> bool:
    """Whether as many of the rows that tell as are expected lie outside as they are read, and hardly any otherwise."""
    out = int((told & ~usual).sum())
    if told.sum() < LEAST_ROWS or out < max(OUT_LEAST, EXPECTED * expected.sum()):
        return False
    return bool((~usual & ~fits).sum() <= CONTRARY * out and (usual & ~fits).sum() <= CONTRARY * told.sum())


def _reaches(end: Floats, factor: Floats) -> bool:
    """Whether boxes end near the border in the images in which numbers grow most, not in nearly square ones only."""
    most = factor >= 1 + GROWN * (factor.max() - 1)
    return bool(end[most].max() >= REACH)


def _one_size(boxes: RowBoxes, usual: Mask) -> tuple[int, int] | None:
    """The size by which all boxes were divided, in images of several sizes; None where that is not so."""
    boxes, usual = boxes.some(~boxes.turned), usual[~boxes.turned]
    sizes, counts = np.unique(np.stack([boxes.width, boxes.height], axis=1), axis=0, return_counts=True)
    if len(sizes) < 2:
        return None
    tried = [(int(w), int(h)) for w, h in sizes[np.argsort(-counts, kind="stable")][:SIZES].tolist()]
    return next((size for size in tried if _proves_size(boxes, usual, size)), None)


def _proves_size(boxes: RowBoxes, usual: Mask, size: tuple[int, int]) -> bool:
    """Whether rows of images of other sizes show that they were divided by this one.

    In larger images they end beyond 1. In smaller ones they must fit if they are multiplied; else pixels must prove it.
    """
    across, down = boxes.width / size[0], boxes.height / size[1]
    scaled = boxes.scaled(Scale.SIZE, size)
    fits = scaled.inside()
    told = np.maximum(across, down) > SQUARE
    if not _contradicts_usual(usual, fits, told, 1 - np.minimum(1, 1 / across[told]) * np.minimum(1, 1 / down[told])):
        return False
    some = boxes.some(told)
    right, below = scaled.x + scaled.w / 2, scaled.y + scaled.h / 2
    if not _reaches(np.where(across > down, right, below)[told], np.maximum(across, down)[told]):
        return False
    if min(scaled.some(told).ends) < REACH or _drawn_on_pixels(some):
        return False
    if _on_other_pixels(some, np.full(len(some.x), float(size[0])), np.full(len(some.x), float(size[1]))):
        return True
    return bool((np.minimum(across, down) < 1 / SQUARE).sum() >= LEAST_ROWS and not (~usual & ~fits).any())


def _form(boxes: RowBoxes, *, sure: bool) -> Form:
    """The form of boxes whose numbers are normalised; `sure`: centres, unless another form is proven."""
    x, y, w, h = boxes.x, boxes.y, boxes.w, boxes.h
    rows = len(x)
    if sure and _drawn_on_pixels(boxes) and _of_centres(boxes):
        return Form.CENTRE
    left, above = w / 2 - x > SLACK, h / 2 - y > SLACK
    low, high = np.minimum(x - w / 2, y - h / 2), np.maximum(x + w / 2, y + h / 2)
    deep = (low < -DEEP) | (high > 1 + DEEP)
    larger = (w >= x) & (h >= y) & (np.maximum(w, h) <= 1 + SLACK)
    spread, other = sorted((np.ptp(np.quantile(x, ENDS)), np.ptp(np.quantile(y, ENDS))), reverse=True)
    many = deep.sum() >= max(CORNERS_LEAST, CORNERS_OUT * rows)
    if (
        many
        and larger.mean() >= CORNERS
        and spread >= CORNERS_SPREAD
        and other >= CORNERS_NARROW
        and _together(boxes) >= CORNERS_TOGETHER
    ):
        return Form.CORNERS
    within = (x + w <= 1 + SLACK / 4) & (y + h <= 1 + SLACK / 4)
    if within.mean() > 1 - CONTRARY / 4 and _beside(left, above, rows):
        depths = np.concatenate([0.5 - x[left] / w[left], 0.5 - y[above] / h[above]])
        if depths.mean() >= BESIDE_DEPTH:
            return Form.CORNER
    if sure:
        return Form.CENTRE
    return Form.CENTRE if boxes.inside().mean() >= 1 - CONTRARY and (~within).sum() >= BESIDE_LEAST else Form.UNSURE


def _together(boxes: RowBoxes) -> float:
    """The lesser of the correlations of x with the third number and of y with the fourth."""
    pairs = ((boxes.x, boxes.w), (boxes.y, boxes.h))
    return min(float(np.corrcoef(*pair)[0, 1]) if min(map(np.ptp, pair)) > 0 else 1.0 for pair in pairs)


def _beside(left: Mask, above: Mask, rows: int) -> bool:
    """Whether enough boxes reach out to the left, above and in all."""
    enough = min(left.sum(), above.sum()) >= BESIDE_LEAST and (left | above).sum() >= max(OUT_LEAST + 1, BESIDE * rows)
    return bool(rows >= BESIDE_ROWS and enough)
