"""Mends single rows of label files: pure functions of the row's words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container
from math import isfinite

from yolo_nanfix.dataset.label_parser import PLAIN_COLUMNS as _BOX
from yolo_nanfix.dataset.label_parser import is_polygon, numbers_of
from yolo_nanfix.linting.autofix.fix_table import TOLERANCE

Words = list[str]
Point = tuple[float, float]
_CORNERS = 3
_PIXELS = 2.0
_SMALLEST = 1e-6
_ROUND = 1e-9


ASK = "--unsafe-fixes"
"""What stands in the reason where an unsafe fix would mend it."""
OUTSIDE = "--fix-outside"
"""What stands in the reason where a file is left since it lies outside of the dataset."""


class Left(Exception):  # noqa: N818 - an answer, not an error
    """The defect is left as it is; the message says why.

    Attributes:
        to_unsafe: whether unsafe fixes would mend it.
        to_outside: whether it is left for nothing but its place, which is outside of the dataset.
    """

    def __init__(self, why: str, *, to_unsafe: bool = False, to_outside: bool = False) -> None:
        """`why` is the message."""
        super().__init__(why)
        self.to_unsafe, self.to_outside = to_unsafe, to_outside


def spell(value: float) -> str:
    """A number with at most nine decimals, never with an exponent."""
    return f"{value:.9f}".rstrip("0").rstrip(".") or "0"


def numbers(words: Words) -> list[float]:
    """The words as finite numbers.

    Raises:
        Left: one of them is none.
    """
    values = numbers_of(words)
    if values is None:
        raise Left("the row holds something that is not a number")
    if not all(map(isfinite, values)):
        raise Left("the row holds nan or inf")
    return values


def joined(line: str, words: Words) -> str:
    """The line with other words and its own line end; the line itself if the words are the same."""
    if words == line.split():
        return line
    return " ".join(words) + line[len(line.splitlines()[0]) :]


def shift_class(words: Words, by: int) -> Words:
    """The row with a number added to its class; the row itself where its first word is no class number.

    Raises:
        Left: there is no such class.
    """
    try:
        number = float(words[0])
    except ValueError:
        return words
    if not isfinite(number) or number != int(number) or number < min(-by, 0):
        return words
    if number + by < 0:
        raise Left(f"has the class {int(number)}, from which {-by} cannot be taken")
    return [str(int(number) + by), *words[1:]]


def clip(words: Words, task: str, unsafe: bool) -> Words | None:
    """The row clipped to the image; words of numbers that stay are kept as they are spelt. None: nothing is left.

    Raises:
        Left: it would take an unsafe fix, or no fix is right.
    """
    if task == "obb":
        raise Left("corners of rotated boxes are not clipped")
    values = numbers(words)
    polygon = is_polygon(len(words), task)
    if max(map(abs, values[1:] if polygon else values[1:_BOX]), default=0) > _PIXELS:
        raise Left("the numbers look like pixels; clipping would destroy them")
    if polygon:
        return _clip_polygon(words, values, unsafe)
    if len(words) < _BOX or (task != "pose" and len(words) > _BOX + 1):
        raise Left("the row is neither a box nor a polygon")
    return _clip_box(words, values, unsafe)


def _clip_box(words: Words, values: list[float], unsafe: bool) -> Words | None:
    """As `clip`, for a row that begins with class x y w h."""
    if min(values[3:_BOX]) < 0:
        raise Left("a side of the box is negative")
    out, reach = list(words), max(max(values[1:_BOX]) - 1, -min(values[1:_BOX]))
    for centre, side in ((1, 3), (2, 4)):
        low, high = values[centre] - values[side] / 2, values[centre] + values[side] / 2
        reach = max(reach, -low, high - 1)
        if low >= -_ROUND and high <= 1 + _ROUND:
            continue
        low, high = max(low, 0.0), min(high, 1.0)
        if high - low < _SMALLEST:
            return _judge_outside(unsafe)
        out[centre], out[side] = spell((low + high) / 2), spell(high - low)
    _judge(reach, unsafe)
    return out


def _clip_polygon(words: Words, values: list[float], unsafe: bool) -> Words | None:
    """As `clip`, for class and corners x y: what is just outside moves to the edge, what is far is cut off."""
    points = values[1:]
    reach = max(max(points) - 1, -min(points))
    _judge(reach, unsafe)
    if any(max(axis) <= 0 or min(axis) >= 1 for axis in (points[::2], points[1::2])):
        return _judge_outside(unsafe)
    if reach > TOLERANCE + _ROUND:
        spelt = dict(zip(points, words[1:], strict=True))
        corners = cut(list(zip(points[::2], points[1::2], strict=True)))
        if len(corners) < _CORNERS:
            return _judge_outside(unsafe)
        return words[:1] + [spelt.get(v, spell(v)) for corner in corners for v in corner]
    clipped = [min(max(value, 0.0), 1.0) for value in points]
    return words[:1] + [
        word if new == old else spell(new) for word, old, new in zip(words[1:], points, clipped, strict=True)
    ]


def cut(corners: list[Point]) -> list[Point]:
    """A polygon cut at the four edges of the image (Sutherland and Hodgman); no corner twice in a row."""
    for axis, edge, sign in ((0, 0.0, 1), (0, 1.0, -1), (1, 0.0, 1), (1, 1.0, -1)):
        out: list[Point] = []
        for one, two in zip([*corners[-1:], *corners[:-1]], corners, strict=True):
            inside = [sign * (point[axis] - edge) >= 0 for point in (one, two)]
            if inside[0] != inside[1]:
                part = (edge - one[axis]) / (two[axis] - one[axis])
                other = one[1 - axis] + part * (two[1 - axis] - one[1 - axis])
                out.append((edge, other) if axis == 0 else (other, edge))
            if inside[1]:
                out.append(two)
        corners = [point for point, before in zip(out, [*out[-1:], *out[:-1]], strict=True) if point != before]
    return corners


def _judge(reach: float, unsafe: bool) -> None:
    """Raise Left where a clip by so much is no safe one, or where nothing is to be clipped."""
    if reach <= _ROUND:
        raise Left("the box is inside the image")
    if reach > TOLERANCE + _ROUND and not unsafe:
        raise Left(f"reaches out by {reach:.1%} of the image, more than 1 %: {ASK} clips it", to_unsafe=True)


def _judge_outside(unsafe: bool) -> Words | None:
    """The answer for a box that is wholly outside: None (dropped) under unsafe fixes only."""
    if not unsafe:
        raise Left(f"nothing of the box is inside the image: {ASK} drops the row", to_unsafe=True)
    return None


def drop(words: Words, task: str, unsafe: bool) -> Words | None:
    """Drop the row."""
    return None


def commas(words: Words, task: str, unsafe: bool) -> Words | None:
    """The row with blanks for separating commas, or with points for decimal ones; None if it makes no box."""
    line = " ".join(words)
    pointed = line.replace(",", ".").replace(";", " ").split()
    spaced = line.replace(",", " ").replace(";", " ").split()
    decimal = len(words) >= _BOX or ";" in line  # where semicolons separate, commas are decimal
    for candidate in (pointed, spaced) if decimal else (spaced, pointed):
        if _reads_as_row(candidate):
            return candidate
    return None


def comment(words: Words, task: str, unsafe: bool) -> Words | None:
    """The row up to the comment; None if nothing that reads as a row stands before it."""
    before = " ".join(words).partition("#")[0].split()
    return before if _reads_as_row(before) else None


def columns(words: Words, task: str, unsafe: bool) -> Words | None:
    """Class and box of a row with a confidence behind them; None for any other width.

    Raises:
        Left: what stands behind the box is no confidence.
    """
    if task != "detect" or len(words) != _BOX + 1 or not _reads_as_row(words[:_BOX]):
        return None
    if not 0 <= numbers(words)[_BOX] <= 1:
        raise Left("the sixth number is no confidence; boxes with an angle are labels of the task obb")
    return words[:_BOX]


def seven(words: Words, task: str, unsafe: bool) -> Words | None:
    """Class and box of a row of seven columns."""
    return words[:_BOX]


def sides(words: Words, task: str, unsafe: bool) -> Words | None:
    """The box with positive sides; its centre stays.

    Raises:
        Left: it would reach out of the image, so that x and y are hardly its centre: a corner, perhaps, from which the
            box was drawn to the left or upwards.
    """
    if len(words) != _BOX:
        raise Left("the row is no plain box")
    values = numbers(words)
    reach = max(abs(c - 0.5) + abs(side) / 2 - 0.5 for c, side in zip(values[1:3], values[3:], strict=True))
    if reach > TOLERANCE + _ROUND:
        raise Left("with positive sides the box reaches out of the image: x y may be a corner of it; draw it again")
    return words[:3] + [w.lstrip("-") if v < 0 else w for w, v in zip(words[3:], values[3:], strict=True)]


def spelling(words: Words, task: str, unsafe: bool) -> Words | None:
    """The numbers that read otherwise than they look, written with plain digits; the values stay."""
    values = numbers(words)
    return [
        word if word.isascii() and "_" not in word else f"{value:.15g}"
        for word, value in zip(words, values, strict=True)
    ]


def mark(words: Words, task: str, unsafe: bool) -> Words | None:
    """The row without byte order marks."""
    return [bare for word in words if (bare := word.replace("\ufeff", ""))]


def _reads_as_row(words: Words) -> bool:
    """Whether the words are a whole class and a box or polygon with finite numbers."""
    try:
        values = numbers(words)
    except Left:
        return False
    return (len(values) == _BOX or is_polygon(len(values), "")) and values[0] >= 0 and values[0] == int(values[0])


REVEALING = ("commas", "comment", "columns", "mark")
"""The operations after which a row can be read that could not before: what else is wrong with it shows only now."""


def settled(words: Words, task: str, unsafe: bool, classes: Container[int], shapes: Collection[bool]) -> Words:
    """A row that can be read now, as it may stay: its class is known, it lies in the image, it fits the other rows.

    Args:
        words: the row.
        task: the task whose label format it has.
        unsafe: whether it may be clipped far.
        classes: the class numbers of the dataset.
        shapes: whether the other rows of the file are polygons; empty if there are none, or none can be read.

    Raises:
        Left: it is not right; mended so far, it would be another defect.
    """
    values = numbers(words)
    if int(values[0]) not in classes:
        raise Left(f"class {values[0]:g} is none of data.yaml's")
    polygon = is_polygon(len(words), task)
    if shapes and polygon not in shapes:
        raise Left(f"the row is a {'polygon among boxes' if polygon else 'box among polygons'}")
    if task == "obb" or (task != "pose" and polygon):
        if max(values[1:]) > 1 or min(values[1:]) < 0:
            raise Left("corners are outside the image")
        return words
    if min(values[3:_BOX]) <= 0:
        raise Left("a side of the box is not positive")
    if all(low >= -_ROUND and high <= 1 + _ROUND for low, high in _ends(values)):
        return words
    clipped = clip(words, task, unsafe)
    if clipped is None:
        raise Left("nothing of the box is inside the image")
    return clipped


def _ends(values: list[float]) -> tuple[tuple[float, float], ...]:
    """Where a box begins and ends, across and down."""
    return tuple((values[c] - values[c + 2] / 2, values[c] + values[c + 2] / 2) for c in (1, 2))


OPERATIONS: dict[str, Callable[[Words, str, bool], Words | None]] = {
    "clip": clip,
    "drop": drop,
    "mark": mark,
    "commas": commas,
    "comment": comment,
    "columns": columns,
    "seven": seven,
    "sides": sides,
    "spelling": spelling,
}
"""What can be done to a row: words, task and whether unsafe fixes are allowed, to words or None (dropped)."""
