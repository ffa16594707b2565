"""From which number the classes of each split are counted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.table import Table

STRAY = 0.01
"""So large a share of the rows may have a class beyond the last one, by slips of their own, without hiding the rule."""
MOST = 0.5
"""Where more than this share of the classes 1 to n is used, and 0 never, they were counted from 1."""
SOME = 0.25
"""So many are enough where 1 is among them: then both ends are those of a list that is counted from 1."""


class Start(Enum):
    """How the classes of a split are counted."""

    ZERO = "from 0"
    """Class 0 occurs, and none beyond the last."""
    ONE = "from 1"
    """Class 0 does not occur, and the number of classes does, as a class."""
    FEW = "from 1, or a new class"
    """As from 1, but too few classes occur to tell."""
    EITHER = "from 0 or 1"
    """Neither class 0 nor a class beyond the last occurs."""
    OTHER = "otherwise"
    """Class 0 occurs, and so does a class beyond the last; or many rows are further beyond."""


def starts(table: Table, nc: int) -> Mapping[str, Start]:
    """How the classes of each split that has rows are counted; nothing where no class is beyond the last one."""
    if not len(table.row_cls) or not (table.row_cls >= nc).any():
        return {}
    found = {}
    for split, images in table.members.items():
        inside = np.zeros(len(table.files), np.bool_)
        inside[images] = True
        cls = table.row_cls[table.of_rows(inside)]
        if len(cls):
            found[split] = _start(cls, nc)
    return found


def _start(cls: NDArray[np.float32], nc: int) -> Start:
    """How these classes are counted."""
    zero, last = bool(((cls >= 0) & (cls < 1)).any()), bool((cls == nc).any())
    if np.count_nonzero(cls > nc) > STRAY * len(cls) or (zero and last):
        return Start.OTHER
    if zero or not last:
        return Start.ZERO if zero else Start.EITHER
    used = np.unique(cls[(cls >= 1) & (cls <= nc)])
    share = len(used) / nc
    return Start.ONE if share > MOST or (used[0] == 1 and share >= SOME) else Start.FEW


def from_one(found: Mapping[str, Start]) -> tuple[str, ...]:
    """The splits whose classes are counted from 1; those that could be either way go with the others."""
    kinds = set(found.values())
    if Start.ONE not in kinds or Start.OTHER in kinds:
        return ()
    sure = (Start.ONE, Start.FEW) if Start.ZERO in kinds else (Start.ONE, Start.FEW, Start.EITHER)
    return tuple(split for split, start in found.items() if start in sure)
