"""IM035 and IM036: labels of images that EXIF rotates, by the frame in which they were drawn and divided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.formats.defects import Defect
from yolo_nanfix.dataset.formats.notes import Notes
from yolo_nanfix.dataset.image_header import QUARTER
from yolo_nanfix.dataset.label_boxes import GRID_CHANCE, GRID_SHARE, on_pixels
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.box_units import SAMPLE_ROWS, boxes_of, grid_exchanged, sample

SOME_IMAGES, FAR = 3, 0.1
"""If other images do not fit, this many must have a box that reaches out this far: no slip of the mouse."""
LEAST_OUT = 2
"""This many boxes of rotated images must reach out before their sides are reported as swapped."""
SPILL = 0.02
"""A box reaches out of its image if it does by more than this share of it: careless drawing spills less."""
STRAY = 0.02
"""At most this share of the boxes may reach out under the right reading: slips of the mouse, as in any set."""
RARER = 0.25
"""Boxes of upright images must reach out this much more rarely; else EXIF is not the reason."""
GRID_LEAST = 8
"""This many boxes on whole pixels are no chance: all four numbers of one box are once in 400 000 times."""
VOTES = 10
"""At least this many rotated images must speak for labels that were drawn on the stored pixels, ..."""
AGAINST = 0.1
"""... and at most this share of those that speak may say the opposite."""
ENOUGH_UPRIGHT = 20
"""The shape of a class is known from this many boxes on upright images on."""
LONGER = 0.1
"""Only classes that are longer than the image by this much more (in logarithms of the sides) are asked."""
LARGE_BOX = 0.5
"""A box of more than this share of a side takes its shape from the image: it is not asked."""
SHARP = 1.0
"""A box speaks if one reading is better than the other by this much, in squared deviations."""
_TIGHT = 0.15
"""The smallest deviation of log(width / height) assumed of a class: no object always looks the same."""
_TOLD = (Defect.BOXES_UNTURNED, Defect.IMAGE_SIZE_SWAPPED)
"""Defects that tell the frame of the boxes, from the width and height in annotation files."""
_FOLLOW = (
    *("BX001", "BX002", "BX005", "BX006", "BX008", "BX011", "BX014", "BX016", "BX019", "BX020", "BX021", "BX022"),
    *("SG001", "SG002", "SG009", "OB001", "OB005", "OB007", "KP003", "KP004", "KP005", "KP008"),
)
"""What else is found of rows that reach out, or are stretched along one side."""


@dataclass(frozen=True)
class Turned:
    """The T rows of images that EXIF rotates by 90 degrees and that are not square.

    Attributes:
        rows: (T,) their numbers in the table.
        box: (T, 4) float64.
        size: (T, 2) width and height of the image as shown.
    """

    rows: NDArray[np.int64]
    box: NDArray[np.float64]
    size: NDArray[np.float64]

    @cached_property
    def ratio(self) -> NDArray[np.float64]:
        """(T,) height / width: what was divided by the other side is off by this factor."""
        return np.asarray(self.size[:, 1] / self.size[:, 0])

    def scaled(self, *, shown: bool) -> NDArray[np.float64]:
        """(T, 4) the right boxes, if they were drawn on the shown picture, or else on the stored pixels.

        In both cases they were divided by the sides of the other frame.
        """
        x = self.ratio if shown else 1 / self.ratio
        return self.box * np.column_stack([x, 1 / x, x, 1 / x])

    @cached_property
    def out(self) -> NDArray[np.bool_]:
        """(T,) which boxes reach out of their images."""
        return reaches_out(self.box)

    def some(self, chosen: NDArray[np.bool_]) -> Turned:
        """Some of them."""
        return Turned(self.rows[chosen], self.box[chosen], self.size[chosen])


def reaches_out(box: NDArray[np.floating[Any]], far: float = SPILL) -> NDArray[np.bool_]:
    """(R,) which boxes reach out of their images by more than the share `far`."""
    half = np.abs(box[:, 2:]) / 2
    return np.asarray(((box[:, :2] + half > 1 + far) | (box[:, :2] - half < -far)).any(axis=1))


def turned_rows(table: Table, notes: Notes) -> Turned | None:
    """The rows of images that EXIF rotates by 90 degrees; None without any, or if other findings tell."""
    if any(note.defect in _TOLD for note in notes):
        return None
    images = (table.turn >= QUARTER) & (table.width != table.height) & (table.width > 0)
    if not images.any():
        return None
    rows = np.flatnonzero(table.of_rows(images))
    rows = rows[np.isfinite(table.row_box[rows]).all(axis=1)]
    image = table.row_image[rows]
    size = np.column_stack([table.width[image], table.height[image]]).astype(np.float64)
    return Turned(rows, table.row_box[rows].astype(np.float64), size) if len(rows) else None


@rule("IM035", Severity.ERROR, Effect.DROPS, LABELLED, autofix=unsafe(Operation.UNSWAP_TURNED))
def turned_sides_swapped(table: Table, config: DataConfig, notes: Notes) -> Iterator[Hit]:
    """Labels of images that EXIF rotates were divided by the wrong sides: width and height are swapped.

    Why: boxes are stretched along one side and squeezed along the other, and many reach out of the image.
    Ultralytics: rotates the image by EXIF, and drops images with rows beyond 1.
    Example: boxes drawn on the upright picture of 3000x4000, divided by 4000 and 3000, the sides of the stored pixels.
    Fix: multiply x and widths of these rows by one ratio of the sides, y and heights by the other; never clip them.
    """
    turned = turned_rows(table, notes)
    if turned is not None and (found := _swap(table, turned)) is not None:
        yield _swapped(table, config, found)


class Swap(NamedTuple):
    """Rows that were divided by the sides of the wrong frame.

    Attributes:
        turned: the rows.
        shown: whether the boxes are of the shown picture, and divided by the sides of the stored pixels; else the
            other way round.
        stray: (T,) the boxes that reach out even if that is corrected.
        others: whether other images that EXIF rotates are not of this kind.
    """

    turned: Turned
    shown: bool
    stray: NDArray[np.bool_]
    others: bool = False


def _swap(table: Table, turned: Turned) -> Swap | None:
    """By which sides the rows were divided, if what reaches out proves that they are the wrong ones."""
    if np.count_nonzero(turned.out) < LEAST_OUT:
        return None
    share = np.count_nonzero(turned.out) / len(turned.rows)
    other = np.delete(np.arange(len(table.row_box)), turned.rows)
    if len(other) and np.count_nonzero(reaches_out(table.row_box[other])) / len(other) > RARER * share:
        return None
    for shown in (True, False):
        stray = reaches_out(turned.scaled(shown=shown))
        if np.count_nonzero(stray) <= STRAY * len(turned.rows):
            return Swap(turned, shown, stray)
    return next((found for shown in (True, False) if (found := _swap_in_some(table, turned, shown)) is not None), None)


def _swap_in_some(table: Table, turned: Turned, shown: bool) -> Swap | None:
    """Those images whose rows reach out far, and are all inside once that is corrected."""
    stray, far = reaches_out(turned.scaled(shown=shown)), reaches_out(turned.box, FAR)
    images, place = np.unique(table.row_image[turned.rows], return_inverse=True)
    proven = (np.bincount(place[far], minlength=len(images)) > 0) & (
        np.bincount(place[stray], minlength=len(images)) == 0
    )
    chosen = proven[place]
    if np.count_nonzero(proven) < SOME_IMAGES or np.count_nonzero(chosen & far) < (1 - STRAY) * np.count_nonzero(far):
        return None
    return Swap(turned.some(chosen), shown, stray[chosen], others=True)


def _swapped(table: Table, config: DataConfig, swap: Swap) -> Hit:
    """The finding that sides were swapped; the row findings of these images follow from it."""
    turned, shown, stray, others = swap
    images = np.unique(table.row_image[turned.rows])
    first = int(images[0])
    says = (
        "width and height are swapped in the labels of {images}{others: of the|} images that EXIF rotates by 90 "
        "degrees: boxes of {shown:0=the stored pixels|the shown picture} were divided by the sides of the other frame "
        "({first}: by {x_by} and {y_by}, {shown:0=those of the shown picture|the sides of the stored pixels}); {out} "
        "of {rows} boxes reach out, {stray} if that is put right"
    )
    own = table.row_image[turned.rows[stray]].tolist()
    without = {
        (table.labels[i], line) for i, line in zip(own, table.row_line[turned.rows[stray]].tolist(), strict=True)
    }
    files = tuple(table.labels[i] for i in images.tolist())
    sides = int(table.width[first]), int(table.height[first])
    x_by, y_by = sides[::-1] if shown else sides
    values = {
        "shown": int(shown),
        "images": len(images),
        "others": others,
        "first": table.files[first].replace("\\", "/").rpartition("/")[2],
        "x_by": x_by,
        "y_by": y_by,
        "out": int(turned.out.sum()),
        "stray": int(stray.sum()),
        "rows": len(turned.rows),
        "dims": config.kpt_dims,
        "files": files if others else (),
    }
    hit = Hit(str(config.yaml_file), says, values=values, explains=_FOLLOW)
    return hit._replace(explains_in=frozenset(files), explains_not=frozenset(without))


@rule("IM036", Severity.WARNING, Effect.GARBAGE, LABELLED, autofix=unsafe(Operation.TURN_LABELS))
def turned_labels_unturned(table: Table, config: DataConfig, notes: Notes) -> Iterator[Hit]:
    """Labels of images that EXIF rotates seem to be drawn on the stored pixels, which lie on their side.

    Why: the picture is rotated and the labels are not, so hardly a box lies on its object.
    Ultralytics: rotates the image by EXIF when it loads it, and takes the labels as they are.
    Example: boxes that lie on whole pixels of 4000x3000, the stored pixels, and not of 3000x4000, the picture; people
        that are tall boxes on upright images, and wide ones on photographs of a phone that was held upright.
    Fix: look at some of these images with their labels; if they do not fit, remove the orientation from their EXIF, or
        rotate the labels, too.
    """
    turned = turned_rows(table, notes)
    if turned is None or _swap(table, turned) is not None:
        return
    if (shares := _shares_on_pixels(turned)) is not None and grid_exchanged(boxes_of(table, sample(table))) is None:
        says = (
            "{stored:.0%} of {boxes} boxes of images that EXIF rotates by 90 degrees lie on whole pixels if they are "
            "normalised by the stored pixels, {shown:.0%} if by the shown picture"
            "{sure:0=; whether they were drawn on the shown picture is not known|}"
        )
        values: dict[str, Any] = {
            "stored": shares[0],
            "shown": shares[1],
            "boxes": len(turned.rows),
            "sure": int(
                np.count_nonzero(reaches_out(turned.scaled(shown=True))) >= LEAST_OUT
            ),  # not of the shown picture
        }
        yield Hit(str(config.yaml_file), says, values=values | {"dims": config.kpt_dims})
        return
    speaking, images = _votes(table, turned)
    unturned = int(np.count_nonzero(speaking > 0))
    if unturned < VOTES or np.count_nonzero(speaking < 0) > AGAINST * np.count_nonzero(speaking):
        return
    says = (
        "on {images} of {of} images that EXIF rotates by 90 degrees and whose boxes tell, they have the shape of their "
        "class only if they are rotated, too: {first}"
    )
    first = table.files[int(images[int(np.argmax(speaking > 0))])]
    values = {"images": unturned, "of": int(np.count_nonzero(speaking)), "first": first}
    yield Hit(str(config.yaml_file), says, values=values | {"sure": 0, "dims": config.kpt_dims})


def _shares_on_pixels(turned: Turned) -> tuple[float, float] | None:
    """The shares of boxes on whole pixels of the stored frame, and of the shown one; None if that proves nothing.

    Tools draw on whole pixels: sides are whole numbers of them, centres multiples of a half.
    """
    rows = slice(None, None, max(1, len(turned.rows) // SAMPLE_ROWS))
    box, size = turned.box[rows], turned.size[rows]
    if len(box) < GRID_LEAST or np.count_nonzero(turned.out) > STRAY * len(turned.rows):
        return None
    stored, shown = (float(on_pixels(box, sides).mean()) for sides in (size[:, ::-1], size))
    return (stored, shown) if stored >= GRID_SHARE and shown <= GRID_CHANCE else None


def _votes(table: Table, turned: Turned) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """(n,) 1 if the boxes of a rotated image look unrotated, -1 if they look right, else 0; and the (n,) images."""
    box, rows = turned.box, turned.rows
    asked = np.ones(len(table.row_box), np.bool_)
    asked[rows] = False
    asked &= (table.row_box[:, 2:] > 0).all(axis=1) & table.of_rows(table.width > 0)
    image = table.row_image[asked]
    known = np.log(table.row_box[asked, 2] * table.width[image]) - np.log(table.row_box[asked, 3] * table.height[image])
    good = (box[:, 2:] > 0).all(axis=1) & (box[:, 2:] < LARGE_BOX).all(axis=1)
    box, rows, length = box[good], rows[good], -np.log(turned.ratio[good])
    right = np.log(box[:, 2] / box[:, 3]) + length
    unturned = 2 * length - right
    gain = np.zeros(len(rows))
    for cls in np.unique(table.row_cls[rows]).tolist():
        shapes = known[table.row_cls[asked] == cls]
        if len(shapes) < ENOUGH_UPRIGHT:
            continue
        middle = float(np.median(shapes))
        spread = max(_TIGHT, 1.4826 * float(np.median(np.abs(shapes - middle))))
        own = (table.row_cls[rows] == cls) & (abs(middle) > np.abs(length) + LONGER)
        gain[own] = ((right[own] - middle) ** 2 - (unturned[own] - middle) ** 2) / spread**2
    images, place = np.unique(table.row_image[rows], return_inverse=True)
    speaks = np.where(np.abs(gain) >= SHARP, np.sign(gain), 0)
    return np.sign(np.bincount(place, speaks, minlength=len(images))).astype(np.int8), images
