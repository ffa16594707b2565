"""Notes of the readers of annotation files, and the checks of values that they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, NamedTuple, TypeGuard

from yolo_nanfix.dataset.formats.defects import Defect
from yolo_nanfix.wording import cut

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


def side(value: Any) -> int:
    """A width or height in pixels; 0 if it is none."""
    return int(value) if type(value) in (int, float) and 0 < value < 1 << 30 else 0


def brief(value: Any) -> str:
    """A value as text for a message."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def plain(value: Any) -> Any:
    """A value out of a file as findings can hold it: text, a number, None, or a tuple of them; else as text."""
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if value is None or (isinstance(value, (int, float)) and abs(value) < 1 << 62):
        return value
    return brief(value)


FOLDED_FROM = 4
"""If all of so many entries or more have one defect, it is one finding."""
OF_IMAGES = frozenset((
    Defect.ID_NOT_WHOLE, Defect.IMAGE_SIZE_ZERO, Defect.IMAGE_SIZE_DIFFERS, Defect.IMAGE_SUFFIX_UNLISTED,
    Defect.PATH_OUTSIDE, Defect.FILE_NAME_DIFFERS,
))  # fmt: skip
"""Defects of images; others are of annotations."""


class Note(NamedTuple):
    """One thing wrong with an annotation file.

    Attributes:
        defect: what it is.
        file: the annotation file.
        says: a constant text, with the names of `values` in braces: see `wording.sentence`.
        values: the facts by name, including the id of the entry.
        line: 1-based line in the file, if known.
        split: the split of the image that it is about.
        image: the image that it is about.
    """

    defect: Defect
    file: str
    says: str
    values: Mapping[str, Any]
    line: int | None = None
    split: str | None = None
    image: str | None = None


Notes = tuple[Note, ...]


class Total(NamedTuple):
    """How many images and annotations a file holds, or all files of a set that has one for each image."""

    images: int
    annotations: int


def folded(notes: Iterable[Note], totals: Mapping[str, Total], whole: str) -> Iterator[Note]:
    """The notes; of those of one defect of all images or annotations of a file there is one.

    Args:
        notes: what was noted.
        totals: how many entries there are, by the path of the file, or by `whole` for all files.
        whole: the dataset.
    """
    groups: dict[tuple[Defect, str], list[Note]] = {}
    for note in notes:
        groups.setdefault((note.defect, note.file if note.file in totals else whole), []).append(note)
    for (defect, place), found in groups.items():
        total = totals.get(place)
        what = "images" if defect in OF_IMAGES else "annotations"
        if total is None or len(found) < FOLDED_FROM or len(found) != getattr(total, what):
            yield from found
        else:
            first = found[0]
            says = f"all {{all}} {what}, the first: {first.says}"
            line = first.line if first.file == place else None
            yield Note(defect, place, says, {"all": len(found), **first.values}, line)
