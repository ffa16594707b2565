"""CL057: class numbers of a set that begin at -1; one finding for all rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.causes import Explains
from yolo_nanfix.linting.registry import LABELLED, Hit, rule

LEAST, SHARE = 3, 0.05
"""So many rows, and this share of all, are no slips: what strikes fewer is left to findings about rows."""


@rule("CL057", "classes-from-minus-one", Severity.ERROR, Effect.DROPS, LABELLED)
def classes_from_minus_one(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Class numbers start at -1, and the last class does not occur: 1 was taken from numbers that began at 0.

    Why: all objects are trained as the class before their own, and those of the first class are dropped.
    Ultralytics: drops images with class -1, and trains the others with the wrong names.
    Example: `convert_coco` with `cls91to80=False` on categories that are numbered from 0, as Label Studio does.
    Fix: add 1 to the class numbers of all label files of these splits.
    """
    if not config.in_order:
        return  # CF003 tells of the keys
    known = {split: cls for split in table.splits if len(cls := _classes(table, split))}
    below = {split for split, cls in known.items() if (cls == -1).sum() >= max(LEAST, SHARE * len(cls))}
    whole = {split for split, cls in known.items() if cls.min() >= -1 and cls.max() < config.nc - 1}
    if not below or not below <= whole:
        return
    splits = tuple(whole) if len(whole) == len(known) else tuple(split for split in known if split in below)
    some = () if len(splits) == len(known) else splits
    numbers = f"the classes -1 to {config.nc - 2}" if config.nc > 1 else "class -1 alone"
    has = f"data.yaml has 0 to {config.nc - 1}" if config.nc > 1 else "data.yaml has class 0"
    files = frozenset(table.labels[i] for split in some for i in table.members[split].tolist())
    yield Hit(
        str(config.yaml_file),
        f"labels{' of ' + ' and '.join(some) if some else ''} have {numbers}; {has}",
        config.key_lines.get("names"),
        values={"splits": splits, "by": 1, "nc": config.nc},
        explains=Explains(("CL002",) if some else ("CL002", "CL004", "CL005", "CL006"), files if some else None),
    )


def _classes(table: Table, split: str) -> NDArray[np.float32]:
    """The classes of the rows of a split."""
    inside = np.zeros(len(table.files), np.bool_)
    inside[table.members[split]] = True
    return table.row_cls[table.of_rows(inside)]
