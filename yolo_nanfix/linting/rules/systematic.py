"""BX: sets whose boxes are written in another way than Ultralytics reads them; one finding for all boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from yolo_nanfix.dataset.clues import Clue
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.label_boxes import once
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.box_units import (
    Reading,
    Scale,
    boxes_of,
    contradicts,
    grid_exchanged,
    read_units,
    sample,
)
from yolo_nanfix.linting.rules.boxes import BY_CENTRE
from yolo_nanfix.linting.rules.label_text import behind, tracked

EXPLAINED = (
    "BX001", "BX002", "BX005", "BX006", "BX008", "BX011", "BX012", "BX013", "BX014", "BX015", "BX016", "BX017",
    "BX019", "BX020", "BX021", "SG001", "SG002", "SG003", "SG009", "OB001", "OB002", "OB005", "OB007", "OB008",
    "OB009", "KP003", "KP004", "KP005", "KP007", "KP008", "KP009",
)  # fmt: skip
"""What else is found where all numbers of the rows are misread."""
_FORM = (
    "{form:corners=, as two corners x1 y1 x2 y2|corner=, as upper left corner and size|"
    "unsure=; the numbers do not show whether x y is the centre or the upper left corner|}"
)
_REACH = (
    ": boxes end at x {right:.4g} and y {bottom:.4g}; the images have {one_size:|up to }{width}x{height} pixels"
    " ({fit} of {rows} boxes lie inside so, {inside} as they are read)"
)


@rule("BX022", Severity.ERROR, Effect.GARBAGE, BY_CENTRE, autofix=unsafe(Operation.REREAD))
def box_not_by_centre(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """Boxes are written by their corners (x1 y1 x2 y2), or by their upper left corner and size.

    Why: all boxes are in the wrong place, and many of the wrong size.
    Ultralytics: reads the first two numbers as the centre, and trains on the result; drops images with numbers above
    1.01.
    Example: `0 0.1 0.2 0.5 0.6` for a box from 0.1 0.2 to 0.5 0.6.
    Fix: write centre x, centre y, width and height.
    """
    says = (
        "{form:corners=the last two numbers are larger than the two before: corners x1 y1 x2 y2|read as centres, boxes "
        "reach out to the left and above only: upper left corners}, not centres ({fit} of {rows} boxes lie inside so, "
        "{inside} as they are read)"
    )
    yield from _hits(table, config, task, says, Scale.PARTS)


@rule("BX023", Severity.ERROR, Effect.DROPS, LABELLED, autofix=unsafe(Operation.REREAD))
def axes_swapped(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """x was divided by the height of the image and y by its width.

    Why: the shape of an array is (height, width), and a converter took it for (width, height): no box is in its place.
    Ultralytics: drops the images in which a number is above 1.01, and trains on the others as they are.
    Example: in images of 160x90 x ends at 1.78, which is 160 / 90, and y at 0.56, which is 90 / 160.
    Fix: divide x and width by the width of the image, y and height by its height; clipping destroys the boxes.
    """
    says = "x was divided by the height and y by the width of the images" + _REACH
    yield from _hits(table, config, task, says, Scale.SWAPPED)


@rule("BX024", Severity.ERROR, Effect.DROPS, LABELLED, autofix=unsafe(Operation.REREAD))
def set_in_pixels(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """All coordinates of the set are pixels.

    Why: almost no image remains to train on.
    Ultralytics: drops the images ("non-normalized or out of bounds coordinates"); of pose labels it looks at the
    keypoints only.
    Example: `0 320 240 64 48` in all rows.
    Fix: divide x and width by the width of the image, y and height by its height; where images were resized after
    labelling, by the sides that they had before.
    """
    says = (
        "the numbers are not normalised: pixels of images of another size? boxes end at x {right:.4g} and y "
        "{bottom:.4g}; the images have {one_size:|up to }{width}x{height} pixels ({inside} of {rows} boxes lie inside "
        "as they are read)"
    )
    yield from _hits(table, config, task, says, Scale.UNKNOWN)
    says = "the numbers are pixels{scale:pixels=|, y before x}" + _FORM + _REACH
    yield from _hits(table, config, task, says, Scale.PIXELS, Scale.PIXELS_YX)


@rule("BX025", Severity.ERROR, Effect.DROPS, LABELLED, autofix=unsafe(Operation.REREAD))
def set_in_percent(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """All coordinates of the set are percent of the image, or thousandths of it.

    Why: almost no image remains to train on.
    Ultralytics: drops the images ("non-normalized or out of bounds coordinates"); of pose labels it looks at the
    keypoints only.
    Example: `0 50 50 20 20` for a box in the middle of the image, as Label Studio counts.
    Fix: divide all coordinates by 100 (or 1000).
    """
    says = "the numbers are {scale:percent=percent|thousandths} of the image" + _FORM + _REACH
    yield from _hits(table, config, task, says, Scale.PERCENT, Scale.PERMILLE)


@rule("BX026", Severity.ERROR, Effect.GARBAGE, BY_CENTRE)
def axes_exchanged(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """y is written before x, or the images were rotated: the numbers fit the pixels of the other axis.

    Why: boxes are mirrored at the diagonal; none leaves the image, and nothing warns.
    Ultralytics: trains on it.
    Example: `0 0.5 0.25 0.1 0.05` for a box whose centre is at x 0.25, y 0.5.
    Fix: write x y width height of the image as it is now.
    """
    if not _is_text(table) or _readings(table, task):
        return
    rows = sample(table)
    boxes, image = boxes_of(table, rows), table.row_image[rows]
    for split in (None, *table.splits):
        fit = grid_exchanged(boxes if split is None else boxes.some(table.inside(split)[image]))
        if fit is None:
            continue
        says = (
            "{exchanged:.0%} of the boxes lie on whole pixels if y is before x (or the images were rotated after "
            "labelling), {as_read:.0%} as they are read"
        )
        values = {"exchanged": float(fit[0]), "as_read": float(fit[1])}
        yield Hit(str(config.yaml_file), says, split=split, values=values, explains=EXPLAINED)
        if split is None:
            return


@rule("BX027", Severity.ERROR, Effect.DROPS, LABELLED, autofix=unsafe(Operation.REREAD))
def axes_by_one_side(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """x and y were both divided by the shorter side of the image.

    Why: all boxes are out of place along the longer side, and too long.
    Ultralytics: drops the images in which a number is above 1.01, and trains on the others as they are.
    Example: in images of 160x90 x ends at 1.78, which is 160 / 90, and y at 1.
    Fix: divide x and width by the width of the image, y and height by its height; clipping destroys the boxes.
    """
    says = "x and y were both divided by the {scale} of the images" + _REACH
    yield from _hits(table, config, task, says, Scale.HEIGHT, Scale.WIDTH)


@rule("BX028", Severity.ERROR, Effect.DROPS, LABELLED, autofix=unsafe(Operation.REREAD))
def axes_by_one_size(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """The boxes of all images were divided by the size of some of them.

    Why: in images of any other size no box is in its place; upright pictures among wide ones are the usual case.
    Ultralytics: drops the images in which a number is above 1.01, and trains on the others as they are.
    Example: 640 and 480 for all images, also for those of 480x640: there y ends at 1.33.
    Fix: divide x and width by the width of each image, y and height by its height; clipping destroys the boxes.
    """
    says = "x was divided by {size[0]} and y by {size[1]} in images of any size" + _REACH
    yield from _hits(table, config, task, says, Scale.SIZE)


@rule("BX029", Severity.ERROR, Effect.GARBAGE, LABELLED, autofix=unsafe(Operation.REREAD))
def normalised_twice(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """All boxes lie in the first pixel of their images, or in the first hundredth: they were divided twice.

    Why: no box has anything in it, and nothing is learned.
    Ultralytics: trains on them; augmentation drops most of them.
    Example: a converter divides by the sides of the image what a tool has divided already.
    Fix: multiply x and width by the width of the image, y and height by its height; better, convert again: decimals
    were lost.
    """
    says = "the numbers were divided by {scale:twice=the sides of the images|100} twice" + _REACH
    yield from _hits(table, config, task, says, Scale.TWICE, Scale.HUNDREDTH)


@once
def _readings(table: Table, task: str) -> Mapping[str | None, Reading]:
    """How the rows of the set (None), or of single splits, are to be read, where Ultralytics reads them otherwise."""
    if behind(table) or (task == "detect" and tracked(table).any()):  # numbers of tracks are taken for coordinates
        return {}
    text, forms = _is_text(table), task in BY_CENTRE and not table.polygons.any()
    rows = sample(table)
    boxes, image = boxes_of(table, rows), table.row_image[rows]
    parts = {split: boxes.some(table.inside(split)[image]) for split in table.splits}
    found: dict[str | None, Reading] = {}
    for split, part in parts.items():
        reading = read_units(part, forms)
        if reading is not None and (text or reading.scale is Scale.PARTS):
            found[split] = reading
    whole = read_units(boxes, forms)
    if whole is None or not (text or whole.scale is Scale.PARTS):
        return found
    alike = all(map(whole.includes, found.values()))
    if alike and not any(contradicts(part, whole) for part in parts.values() if len(part.x)):
        return {None: whole}
    return found


def _is_text(table: Table) -> bool:
    """Whether the rows are from label files; those of annotation files are converted, and have their own rules."""
    return bool(table.labels) and table.labels[0].endswith(".txt")


def _points_move(table: Table, split: str | None, reading: Reading) -> str:
    """Whether keypoints are written as the boxes are (`too`) or not (`stay`): by wrong sides only if some reach out."""
    sides = reading.scale in (Scale.SWAPPED, Scale.HEIGHT, Scale.WIDTH, Scale.SIZE)
    return "stay" if sides and not table.clues[table.images_in(split), Clue.POINTS_OUT].any() else "too"


def _hits(table: Table, config: DataConfig, task: str, says: str, *scales: Scale) -> Iterator[Hit]:
    """The hit about the set, or about each of its splits, whose numbers are read in one of some scales."""
    for split, reading in _readings(table, task).items():
        if reading.scale not in scales:
            continue
        width, height = int(table.width.max()), int(table.height.max())
        known = (side[side.nonzero()] for side in (table.width, table.height))  # unreadable images have no size
        values = {
            "scale": reading.scale.value,
            "form": reading.form.value,
            "splits": table.splits_in(split),
            "size": reading.size,
            "dims": config.kpt_dims or 2,
            "rows": reading.rows,
            "out": reading.out,
            "fit": reading.fit,
            "points": _points_move(table, split, reading),
            "right": float(reading.reach[0]),
            "bottom": float(reading.reach[1]),
            "inside": reading.rows - reading.out,
            "width": width,
            "height": height,
            "one_size": not any(np.diff(side).any() for side in known),
        }
        yield Hit(str(config.yaml_file), says, split=split, values=values, explains=EXPLAINED)
