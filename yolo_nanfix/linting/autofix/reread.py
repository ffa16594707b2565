"""Rows that were written in another unit, or by corners, written again as Ultralytics reads them."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from yolo_nanfix.linting.autofix.row_edits import Left, Words

if TYPE_CHECKING:
    from yolo_nanfix.linting.autofix.set_edits import Spot

BOX = 4
UNITS = ("pixels", "pixels y x", "percent", "permille")
"""Of sets in these units a row that lies in its image as it stands was written as it should be."""
SMALL, TINY = ("twice", "hundredth"), 0.1
"""Scales in which no number is larger than this."""
ONLY = "only"
"""Of the keypoints: they alone are to be written again."""
SLACK = 0.02
"""A box lies in its image if it reaches out by no more than this. A row whose box does, and would not afterwards, stays
as it is."""
Box = tuple[float, float, float, float]


def reread(words: Words, spot: Spot) -> Words:
    """The row with its coordinates as parts of the image and its box by centre and size; what cannot be read stays.

    The values of the finding say how they are written: `scale` and `form` as lint names them, `size` is
    that by which all were divided, `dims` numbers belong to a keypoint.

    Raises:
        Left: how the box is written cannot be told, or the size of the image is not known.
    """
    values = spot.values
    if not spot.within():
        return words
    if values["scale"] == "unknown":
        raise Left("is in a unit that the numbers do not tell")
    if values["form"] == "unsure":
        raise Left("may begin with the centre or with a corner of the box: the numbers do not tell")
    if not (spot.file.width and spot.file.height):
        raise Left("belongs to an image whose size is not known")
    numbers = _numbers(words)
    step = int(values["dims"]) if spot.task == "pose" else 2
    body = numbers[BOX:] if spot.task == "pose" else numbers
    if len(numbers) < BOX or len(body) % step:
        return words
    new = list(numbers)
    spots = _spots(numbers, spot, step)
    for i in spots:
        new[i], new[i + 1] = _scaled(numbers[i], numbers[i + 1], spot)
    boxed = spot.task == "pose" or len(numbers) == BOX
    if boxed and values["points"] != ONLY:
        new[:BOX] = _formed((new[0], new[1], new[2], new[3]), str(values["form"]))
        if _inside(numbers, boxed) and (str(values["scale"]) in UNITS or not _inside(new, boxed)):
            return words
    elif not boxed and _inside(numbers, boxed) and (str(values["scale"]) in UNITS or not _inside(new, boxed)):
        return words
    coordinates = {j for i in spots for j in (i, i + 1)}
    return [words[0], *(f"{new[i]:.6f}" if i in coordinates else words[i + 1] for i in range(len(new)))]


def _spots(numbers: list[float], spot: Spot, step: int) -> list[int]:
    """Where the pairs begin that are to be scaled: of a pose row its keypoints only if they are in the same unit."""
    if spot.task != "pose":
        return list(range(0, len(numbers), 2))
    wanted, scale = spot.values["points"], str(spot.values["scale"])
    points = list(range(BOX, len(numbers), step))
    largest = max((numbers[j] for i in points for j in (i, i + 1)), default=0.0)
    other = (scale in UNITS and largest <= 1 + SLACK) or (scale in SMALL and largest > TINY)
    scaled = [] if wanted == "stay" or other else points
    return scaled if wanted == ONLY else [0, 2, *scaled]


def without_number(words: Words, spot: Spot) -> Words:
    """The row without the whole number beside its class, in the splits that the finding names.

    Raises:
        Left: which of the first two columns is the class cannot be told.
    """
    numbers = _numbers(words[:2])
    if not spot.within() or len(words) not in _columns(spot) or not numbers or numbers[0] != int(numbers[0]):
        return words
    if spot.values["column"] not in (0, 1):
        raise Left("begins with two numbers of which either may be the class")
    return words[1:] if spot.values["column"] == 0 else [words[0], *words[2:]]


def without_behind(words: Words, spot: Spot) -> Words:
    """The row without what a prediction put behind it, in the splits that the finding names.

    The values of the finding say what `columns` a row of a pose set has, and whether rows have `two` too many.

    Raises:
        Left: whether the column too many stands behind the row or beside the class cannot be told.
    """
    numbers = _numbers(words)
    if not spot.within() or not numbers:
        return words
    if spot.values["ahead"]:
        raise Left("has a column too many, which may stand beside the class or behind the outline")
    if numbers[0] > 1 and numbers[0] == int(numbers[0]):
        return words
    last, before = numbers[-1], numbers[-2:][0]
    if spot.task == "pose":
        more = len(words) - int(spot.values["columns"])
    elif len(words) % 2:
        more = 2 if spot.values["two"] and len(words) >= (11 if spot.task == "obb" else 9) else 0
    else:
        more = int(len(words) >= 8)
    whole = last >= 0 and last == int(last)
    if more == 1:
        return words[:-1] if whole or 0 <= last <= 1 else words
    return words[:-2] if more == 2 and whole and 0 <= before <= 1 else words


def _columns(spot: Spot) -> range | tuple[int, ...]:
    """How many columns rows have that hold one too many."""
    if spot.task == "pose":
        return (int(spot.values["columns"]) + 1,)
    return range(6, 1_000_000, 2)


def _numbers(words: Words) -> list[float]:
    """The numbers behind the class; none where one of them is no finite number."""
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        return []
    return numbers if all(map(isfinite, numbers)) else []


def _scaled(x: float, y: float, spot: Spot) -> tuple[float, float]:
    """A pair of numbers as parts of the image."""
    width, height, scale = spot.file.width, spot.file.height, str(spot.values["scale"])
    ratio = width / height
    if scale == "pixels y x":
        return y / width, x / height
    if scale == "one size":
        wide, high = spot.values["size"]
        return x * wide / width, y * high / height
    across, down = {
        "parts": (1.0, 1.0),
        "swapped": (ratio, 1 / ratio),
        "height": (ratio, 1.0),
        "width": (1.0, 1 / ratio),
        "pixels": (float(width), float(height)),
        "percent": (100.0, 100.0),
        "permille": (1000.0, 1000.0),
        "twice": (1 / width, 1 / height),
        "hundredth": (0.01, 0.01),
    }[scale]
    return x / across, y / down


def _formed(box: Box, form: str) -> Box:
    """A box by centre and size."""
    x, y, w, h = box
    if form == "corners":
        return (x + w) / 2, (y + h) / 2, w - x, h - y
    if form == "corner":
        return x + w / 2, y + h / 2, w, h
    return box


def _inside(numbers: list[float], boxed: bool) -> bool:
    """Whether a box (or a polygon) lies in its image, but for the slack."""
    if boxed:
        x, y, w, h = numbers[:BOX]
        ends = (x - w / 2, x + w / 2, y - h / 2, y + h / 2)
        return min(ends) >= -SLACK and max(ends) <= 1 + SLACK and min(w, h) >= 0
    return min(numbers) >= -SLACK and max(numbers) <= 1 + SLACK
