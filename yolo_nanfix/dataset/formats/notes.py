"""What the readers of annotation files note, and the small judgements on values that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, NamedTuple, TypeGuard

_KINDS = frozenset((int, float))


def whole(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number of a sane size; True and 1.0 are not."""
    return type(value) is int and abs(value) < 1 << 62


def numbers(value: Any) -> TypeGuard[list[float]]:
    """Whether a value is a list of finite numbers."""
    try:
        return type(value) is list and _KINDS.issuperset(map(type, value)) and all(map(isfinite, value))
    except OverflowError:  # too large for a float
        return False


def _real(value: float) -> float:
    """A number as a float; infinite if it is too large."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def side(value: Any) -> int:
    """A width or height in pixels; 0 if it is none."""
    real = _real(value) if type(value) in (int, float) else 0.0
    return int(real) if 0 < real < 1 << 30 else 0


def brief(value: Any) -> str:
    """A value as it may stand in a message."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


MANY = 4
"""Where all of so many entries and more have one defect, it is one finding."""
OF_IMAGES = frozenset((
    "id-not-whole", "image-size-zero", "image-size-differs", "image-suffix-unlisted", "path-outside",
    "file-name-differs",
))  # fmt: skip
"""Kinds of notes on images; others are on annotations."""


class Note(NamedTuple):
    """One thing wrong with an annotation file.

    Attributes:
        kind: the rule that says it, by its name (`image-id-repeated`).
        file: the annotation file.
        text: what is wrong, with the id of the entry.
        line: 1-based line in the file, where known.
        split: the split of the image that it is about.
        image: the image that it is about.
    """

    kind: str
    file: str
    text: str
    line: int | None = None
    split: str | None = None
    image: str | None = None


Notes = tuple[Note, ...]


class Total(NamedTuple):
    """How many images and annotations a file holds, or all files of a set that has one for each image."""

    images: int
    annotations: int


def folded(notes: Iterable[Note], totals: Mapping[str, Total], whole: str) -> Iterator[Note]:
    """The notes; of those of one kind on all images or annotations of a file there is one.

    Args:
        notes: what was noted.
        totals: how many entries there are, by the path of the file, or by `whole` for all files.
        whole: the dataset.
    """
    groups: dict[tuple[str, str], list[Note]] = {}
    for note in notes:
        groups.setdefault((note.kind, note.file if note.file in totals else whole), []).append(note)
    for (kind, place), found in groups.items():
        total = totals.get(place)
        what = "images" if kind in OF_IMAGES else "annotations"
        if total is None or len(found) < MANY or len(found) != getattr(total, what):
            yield from found
        else:
            first = found[0]
            line = first.line if first.file == place else None
            yield Note(kind, place, f"all {len(found)} {what}, the first: {first.text}", line)
