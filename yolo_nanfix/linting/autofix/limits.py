"""How much of a set fixes may take out of it: what strikes many rows alike is a fault of the set, not of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

from yolo_nanfix.linting.autofix.row_edits import Words
from yolo_nanfix.linting.autofix.set_edits import LabelFile

SHARE = 0.05
"""No fix run takes more than this share of the rows out of a set: so many slips no labeller makes, an export does."""
SLIP = 1
"""A class number that data.yaml does not have is a slip if it stands in so many rows; more are a class."""
_BOX = 5


class Loss(NamedTuple):
    """One row that a fix would take out of the set.

    Attributes:
        code: of the finding that asks for it.
        split: the split in which it is.
        number: its class.
        sound: whether it may hold an object: a class and a box of finite numbers.
    """

    code: str
    split: str
    number: float
    sound: bool


class Refused(NamedTuple):
    """What may not be taken out, each with the reason: all rows that a code asks for, all of a class in a split."""

    codes: dict[str, str]
    classes: dict[tuple[str, float], str]


@dataclass(frozen=True)
class Whole:
    """What is known of the whole set.

    Attributes:
        labels: the label files that exist, each once.
        splits: the image files of each split.
        rows: how many rows they have, those among them that cannot be read.
        classes: for each split how many rows have each class.
        nc: the number of classes in data.yaml.
        held: the classes of the rows of an image.
    """

    labels: tuple[LabelFile, ...]
    splits: Mapping[str, Sequence[str]]
    rows: int
    classes: Mapping[str, Mapping[float, int]]
    nc: int
    held: Callable[[str], Iterable[float]]

    def has(self, split: str, number: float) -> int:
        """How many rows of a split have this class."""
        return self.classes.get(split, {}).get(number, 0)


def read(words: Words) -> tuple[float, bool] | None:
    """The class of a row, and whether it may hold an object; None if it is no row of numbers."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    if len(values) < _BOX or not isfinite(values[0]):
        return None
    return values[0], all(map(isfinite, values))


def refused(lost: Sequence[Loss], whole: Whole) -> Refused:
    """What would be too much: all rows of a class, or many rows of the set; codes that ask for least go first.

    Rows that hold nothing may vanish from a split, not from the set.
    """
    out = Refused({}, {})
    counted = [loss for loss in lost if loss.sound or whole.has(loss.split, loss.number)]
    by_class = Counter((loss.split, loss.number) for loss in counted)
    everywhere = Counter(loss.number for loss in counted)
    sound = {(loss.split, loss.number) for loss in counted if loss.sound}
    for (split, number), count in sorted(by_class.items()):
        known = 0 <= number < whole.nc and number == int(number)
        in_split = (split, number) in sound and count >= whole.has(split, number)
        in_set = everywhere[number] >= sum(whole.has(one, number) for one in whole.classes)
        if (in_split or in_set) and (known or everywhere[number] > SLIP):
            where = "the set" if in_set else split
            out.classes[split, number] = (
                f"would take all rows of class {number:g} out of {where}; a class is not dropped row by row: "
                f"see what is wrong with it"
            )
    by_code = Counter(loss.code for loss in lost if loss.sound and (loss.split, loss.number) not in out.classes)
    gone = 0
    for code, rows in sorted(by_code.items(), key=lambda item: (item[1], item[0])):
        if gone + rows > SHARE * whole.rows:
            more = f" and with other fixes {gone + rows}," if gone else ","
            out.codes[code] = (
                f"would take out {rows} of {whole.rows} rows{more} more than {SHARE:.0%} of the set: "
                f"that is no slip, see what they have in common"
            )
        else:
            gone += rows
    return out
