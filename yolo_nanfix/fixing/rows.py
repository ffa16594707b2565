"""Mends single rows of label files: pure functions of the row's words."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from yolo_nanfix.fixing.catalogue import TOLERANCE

Words = list[str]
_BOX = 5
_PIXELS = 2.0
_SMALLEST = 1e-6
_ROUND = 1e-9


ASK = "--unsafe-fixes"
"""What stands in the reason where an unsafe fix would mend it."""


class Left(Exception):  # noqa: N818 - an answer, not an error
    """The defect is left as it is; the message says why."""


def spell(value: float) -> str:
    """A number with at most nine decimals, never with an exponent."""
    return f"{value:.9f}".rstrip("0").rstrip(".") or "0"


def numbers(words: Words) -> list[float]:
    """The words as finite numbers.

    Raises:
        Left: one of them is none.
    """
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise Left("the row holds something that is not a number") from None
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
    if not isfinite(number) or number != int(number) or number < 0:
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
    polygon = task != "pose" and len(words) > _BOX + 1
    if max(map(abs, values[1:] if polygon else values[1:_BOX]), default=0) > _PIXELS:
        raise Left("the numbers look like pixels; clipping would destroy them")
    if polygon:
        return _clip_polygon(words, values, unsafe)
    if len(words) < _BOX:
        raise Left("the row is no box")
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
    """As `clip`, for class and corners x y."""
    points = values[1:]
    _judge(max(max(points) - 1, -min(points)), unsafe)
    if any(max(axis) <= 0 or min(axis) >= 1 for axis in (points[::2], points[1::2])):
        return _judge_outside(unsafe)
    clipped = [min(max(value, 0.0), 1.0) for value in points]
    return words[:1] + [
        word if new == old else spell(new) for word, old, new in zip(words[1:], points, clipped, strict=True)
    ]


def _judge(reach: float, unsafe: bool) -> None:
    """Raise Left where a clip by so much is no safe one, or where nothing is to be clipped."""
    if reach <= _ROUND:
        raise Left("the box is inside the image")
    if reach > TOLERANCE + _ROUND and not unsafe:
        raise Left(f"reaches out by {reach:.1%} of the image, more than 1 %: {ASK} clips it")


def _judge_outside(unsafe: bool) -> Words | None:
    """The answer for a box that is wholly outside: None (dropped) under unsafe fixes only."""
    if not unsafe:
        raise Left(f"nothing of the box is inside the image: {ASK} drops the row")
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
    """Class and box of a row with a confidence behind them; None for any other width."""
    return words[:_BOX] if task == "detect" and len(words) == _BOX + 1 and _reads_as_row(words[:_BOX]) else None


def seven(words: Words, task: str, unsafe: bool) -> Words | None:
    """Class and box of a row of seven columns."""
    return words[:_BOX]


def sides(words: Words, task: str, unsafe: bool) -> Words | None:
    """The box with positive sides; its centre stays."""
    if len(words) != _BOX:
        raise Left("the row is no plain box")
    values = numbers(words)
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
    polygon = len(values) > _BOX + 1 and len(values) % 2 == 1
    return (len(values) == _BOX or polygon) and values[0] >= 0 and values[0] == int(values[0])


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
