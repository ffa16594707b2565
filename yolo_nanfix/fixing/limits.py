"""How much of a set fixes may take out of it: what strikes many rows alike is a fault of the set, not of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from yolo_nanfix.fixing.rows import Words
from yolo_nanfix.fixing.sets import LabelFile

SHARE = 0.05
"""No fix run takes more than this share of the rows out of a set: so many slips no labeller makes, an export does."""
SLIP = 1
"""A class number that data.yaml does not have is a slip if it stands in so many rows; more are a class."""
_BOX = 5

Lost = Mapping[str, Counter[float]]
"""For each rule code, the classes of the rows that its fix would take out."""


@dataclass(frozen=True)
class Whole:
    """What is known of the whole set.

    Attributes:
        labels: the label files that exist, each once.
        splits: the image files of each split.
        rows: how many rows they have, those among them that cannot be read.
        classes: how many rows have each class.
        nc: the number of classes in data.yaml.
        held: the classes of the rows of an image.
    """

    labels: tuple[LabelFile, ...]
    splits: Mapping[str, Sequence[str]]
    rows: int
    classes: Mapping[float, int]
    nc: int
    held: Callable[[str], Iterable[float]]


def class_of(words: Words) -> float | None:
    """The class of a row that may hold an object: finite numbers, a class and a box. None if it holds nothing."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    return values[0] if len(values) >= _BOX and all(map(isfinite, values)) else None


def refused(lost: Lost, whole: Whole) -> dict[str, str]:
    """The rule codes whose fixes would take out too much, each with the reason. Those that take out least go first."""
    out: dict[str, str] = {}
    gone: Counter[float] = Counter()
    for code, classes in sorted(lost.items(), key=lambda item: (item[1].total(), item[0])):
        rows, both = classes.total(), gone + classes
        wiped = sorted(c for c in classes if both[c] >= max(whole.classes.get(c, 0), _least(c, whole.nc)))
        if wiped:
            shown = ", ".join(f"{c:g}" for c in wiped[:_BOX])
            out[code] = (
                f"would take out all rows of class {shown}; a class is not dropped row by row: see what is wrong"
            )
        elif both.total() > SHARE * whole.rows:
            out[code] = (
                f"would take out {rows} of {whole.rows} rows ({rows / max(whole.rows, 1):.0%}), "
                f"with other fixes more than {SHARE:.0%} of the set: that is no slip, see what they have in common"
            )
        else:
            gone = both
    return out


def _least(number: float, nc: int) -> int:
    """How many rows make a class of a class number."""
    return 1 if 0 <= number < nc and number == int(number) else SLIP + 1
