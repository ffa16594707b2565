"""Moves rows from one frame of an image into another: sides that were divided by wrongly, and turned pictures."""

from __future__ import annotations

from collections.abc import Callable

from yolo_nanfix.linting.autofix.row_edits import Left, Words, numbers, spell

_BOX = 5
_BEYOND = 1e-5
"""What stands out of the image by no more than this is rounding, and is cut off."""
_TURNED: dict[int, Callable[[float, float], tuple[float, float]]] = {
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
"""Where a point of the stored pixels is on the shown picture, by the orientation of EXIF."""


def turn_row(words: Words, task: str, turn: int, *, dims: int) -> Words:
    """The row of the stored pixels as it is on the shown picture; the arguments are those of `into_shown`.

    Raises:
        Left: the image is not turned by a quarter, or a word is no number.
    """
    return into_shown(words, task, (1, 1), turn, shown=False, dims=dims)


def into_shown(words: Words, task: str, size: tuple[int, int], turn: int, *, shown: bool, dims: int) -> Words:
    """The row of an image that EXIF turns by a quarter, which was divided by the sides of the wrong frame.

    Args:
        words: class and numbers.
        task: the task whose label format it has.
        size: width and height of the shown picture.
        turn: the orientation of EXIF.
        shown: whether it was drawn on the shown picture; else on the stored pixels.
        dims: numbers of a keypoint.

    Raises:
        Left: the size is not known, the image is not turned, or a word is no number.
    """
    if min(size) <= 0 or turn not in _TURNED:
        raise Left("is of an image whose size and orientation are not known, or of several")
    values, (width, height) = numbers(words), size
    out = list(words)
    polygon = task != "pose" and len(words) > _BOX + 1
    if not polygon and len(words) < _BOX:
        raise Left("is no box")
    ratio = height / width if shown else width / height

    def point(at: int) -> None:
        x, y = values[at] * ratio, values[at + 1] / ratio
        x, y = (x, y) if shown else _TURNED[turn](x, y)
        out[at : at + 2] = spell(_inside(x)), spell(_inside(y))

    if polygon:
        for at in range(1, len(words) - 1, 2):
            point(at)
        return out
    point(1)
    sides = values[3] * ratio, values[4] / ratio
    out[3:_BOX] = map(spell, sides if shown else sides[::-1])
    if task == "pose":
        for at in range(_BOX, len(words) - 1, max(dims, 2)):
            if values[at] or values[at + 1]:  # what is not labelled stands at 0, 0
                point(at)
    return out


def _inside(value: float) -> float:
    """The value without what is rounding."""
    return min(max(value, 0.0), 1.0) if -_BEYOND <= value <= 1 + _BEYOND else value
