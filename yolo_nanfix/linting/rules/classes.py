"""CL: class numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import once
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.data_yaml import key_hit
from yolo_nanfix.linting.rules.row_hits import row_hits

_SHOWN = 8
LEARNABLE = 20
"""A class with this many training examples is expected in val, too."""
FEW_EXAMPLES, MANY_EXAMPLES = 10, 100
"""A class with fewer examples than the first is rare, if another one has at least the second."""
COUNTED_CLASSES = 100_000
_BLOCK = 1 << 14
"""Rows checked at once: mostly the first block has all classes."""
STRAY = 0.01
"""At most this share of the rows may be slips, with a class further beyond the last one."""
MOST_USED = 0.5
"""If more than this share of the classes 1 to n is used, and 0 never, they are counted from 1."""
SOME_USED = 0.25
"""This share is enough if 1 is among them: both ends are then those of a list that is counted from 1."""
SLIPS, SLIP_SHARE = 3, 0.05
"""This many rows with class -1, and this share of all, are no slips; fewer are reported row by row."""


@rule("CL001", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.DROP))
def class_not_whole(labels: Labels, images: Images) -> Iterator[Hit]:
    """A class is not a whole number.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("non-integer class labels").
    Example: `1.5 0.5 0.5 0.2 0.2`, or a row that begins with x.
    Fix: write the class number first in the row.
    """
    rows = np.flatnonzero(np.isfinite(labels.cls) & (np.floor(labels.cls) != labels.cls))
    yield from row_hits(labels, images, rows, "class {cls} is not a whole number", cls=labels.cls[rows])


@rule("CL002", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.DROP))
def class_negative(labels: Labels, images: Images) -> Iterator[Hit]:
    """A class is negative.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("negative label values").
    Example: `-1 0.5 0.5 0.2 0.2`.
    Fix: give the object its class number, counted from 0.
    """
    rows = np.flatnonzero(np.isfinite(labels.cls) & (labels.cls <= -1))
    yield from row_hits(labels, images, rows, "class {cls} is negative", cls=labels.cls[rows])


@rule("CL003", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.DROP))
def class_over_nc(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A class number is not below the number of classes.

    Why: one such row takes the whole image out of training; numbers that start at 1 do it to the last class.
    Ultralytics: drops the image ("Label class 3 exceeds dataset class count 3").
    Example: class 3 where data.yaml names three classes, 0 to 2.
    Fix: correct the number, or add the class to `names`.
    """
    finite = np.isfinite(labels.cls)
    if config.in_order:
        rows = np.flatnonzero(finite & (labels.cls >= config.nc))
        says = "class {cls}, but data.yaml has the classes 0 to {last}"
        yield from row_hits(labels, images, rows, says, cls=labels.cls[rows], last=config.nc - 1)
        return
    whole = finite & (labels.cls >= 0) & (np.floor(labels.cls) == labels.cls)  # CF003 is about the keys
    rows = np.flatnonzero(whole & ~np.isin(labels.cls, list(config.names)))
    says, known = "class {cls}, but data.yaml has the classes {classes:,}{more:0=|, ...}", tuple(config.names)[:_SHOWN]
    yield from row_hits(labels, images, rows, says, cls=labels.cls[rows], classes=known, more=config.nc - len(known))


@rule("CL004", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_unused(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Some classes occur in no label.

    Why: they are never learned, and no average counts them; the class list may be of another dataset.
    Ultralytics: builds the model with all classes.
    Example: 80 classes of COCO for a set that labels 3.
    Fix: nothing if they come later; else remove them from `names` and renumber the labels.
    """
    if not len(table.row_cls):
        return  # other rules tell why
    used = np.zeros(config.nc, np.bool_)
    numbers = np.array(list(config.names)) if not config.in_order else None
    for start in range(0, len(table.row_cls), _BLOCK):
        cls = table.row_cls[start : start + _BLOCK]
        if numbers is None:
            used[cls[(cls >= 0) & (cls < config.nc) & (np.floor(cls) == cls)].astype(np.int64)] = True
        else:
            used |= np.isin(numbers, cls)
        if used.all():
            return
    unused = [name for name, is_used in zip(config.names.values(), used.tolist(), strict=True) if not is_used]
    if unused:
        says = "{count} of {classes:class|classes} occur in no label: {names:,8}"
        yield key_hit(config, "names", says, count=len(unused), classes=config.nc, names=unused)


@rule("CL005", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def class_not_in_train(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A class occurs in val or test, but not in train.

    Why: it is never learned, and its mAP of 0 pulls down the mean of all classes.
    Ultralytics: trains and evaluates as configured.
    Example: a rare class whose three images all went to val.
    Fix: split the images again, so that each class is in train.
    """
    counts = _class_counts(table, config.ceiling)
    missing = np.flatnonzero((counts["train"] == 0) & (np.sum(list(counts.values()), axis=0) > 0))
    if len(missing) and counts["train"].any():
        says = "in other splits, but not in train ({count}): {names:,8}"
        yield key_hit(config, "names", says, count=len(missing), names=[config.name(c) for c in missing.tolist()])


@rule("CL006", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_not_in_val(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A class with 20 or more examples in train has none in val, or none in test.

    Why: nothing says how well it is learned.
    Ultralytics: leaves the class out of the mean.
    Example: a class recorded on one day, all of whose images went to train.
    Fix: split the images again, so that each class is in all splits.
    """
    counts = _class_counts(table, config.ceiling)
    for split in ("val", "test"):
        if split in counts and counts[split].any():
            missing = np.flatnonzero((counts["train"] >= LEARNABLE) & (counts[split] == 0))
            if len(missing):
                says, names = "in train, but not in {split} ({count}): {names:,8}", map(config.name, missing.tolist())
                yield key_hit(config, "names", says, split=split, count=len(missing), names=list(names))


@rule("CL007", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_rare(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A class has fewer than 10 examples in train, another one 100 or more.

    Why: it will hardly be learned.
    Ultralytics: weighs all objects alike.
    Example: 3 bicycles among 4000 cars.
    Fix: collect more examples, repeat the images that have it, or leave the class out.
    """
    train = _class_counts(table, config.ceiling)["train"]
    rare = np.flatnonzero((train > 0) & (train < FEW_EXAMPLES))
    if len(rare) and train.max() >= MANY_EXAMPLES:
        says = "fewer than {few} examples in train ({count}): {examples:,8:{0} ({1})}"
        yield key_hit(config, "names", says, few=FEW_EXAMPLES, count=len(rare), examples=_examples(config, rare, train))


@rule("CL008", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_imbalance(table: Table, config: DataConfig) -> Iterator[Hit]:
    """The most frequent class of train has a hundred times as many examples as the rarest.

    Why: the frequent class dominates the loss; the rare one is overlooked.
    Ultralytics: weighs all objects alike, unless `cls_pw` is set.
    Example: 40 000 cars and 300 buses.
    Fix: set `cls_pw`, repeat the images that have the rare class, or collect more of it.
    """
    train = _class_counts(table, config.ceiling)["train"]
    used = np.flatnonzero(train)
    if len(used) and train.max() >= 100 * train[used].min():
        ends = np.array([np.argmax(train), used[np.argmin(train[used])]])
        says = "from the most frequent to the rarest class: {examples:,:{0} ({1})}"
        yield Hit(str(config.yaml_file), says, values={"examples": _examples(config, ends, train)})


@rule("CL009", Severity.INFO, Effect.ACCEPTS, LABELLED)
def background_share(table: Table) -> Iterator[Hit]:
    """More than half of the images of train hold no object.

    Why: a few background images help against false alarms; so many make the model see nothing.
    Ultralytics: trains on them as background.
    Example: frames of a camera, most of them empty.
    Fix: leave some of them out, or label what is missing.
    """
    listed = table.members["train"]
    objects = table.each > 0
    empty = int((~objects[listed]).sum())
    if len(listed) >= LEARNABLE and objects[listed].any() and empty > len(listed) / 2:
        first = int(listed[np.argmin(objects[listed])])
        says, values = "{empty} of {images} images of train hold no object", {"empty": empty, "images": len(listed)}
        yield Hit(table.files[first], says, split="train", image=table.files[first], values=values)


@rule("CL010", Severity.ERROR, Effect.DROPS, LABELLED, autofix=unsafe(Operation.SHIFT_CLASSES))
def classes_from_one(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Class numbers start at 1, in all splits or in some: class 0 does not occur, and the number of classes does.

    Why: all objects are trained as the class after their own, and those of the last class are dropped.
    Ultralytics: drops images with the last class, and trains the others with the wrong names.
    Example: classes 1, 2 and 3 where data.yaml names three classes, 0 to 2; class 1 where it names one.
    Fix: subtract 1 from the class numbers of all label files of these splits.
    """
    if not config.in_order:
        return  # CF003 is about the keys
    found = starts(table, config.nc)
    if splits := from_one(found):
        some = len(splits) < len(found)
        yield _shifted(table, config, splits, -1, some, ("CL003",) if some else ("CL003", "CL004"))


@rule(
    "CL057",
    Severity.ERROR,
    Effect.DROPS,
    LABELLED,
    autofix=unsafe(Operation.SHIFT_CLASSES, "adds 1 to all class numbers"),
)
def classes_from_minus_one(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Class numbers start at -1, and the last class does not occur: 1 was subtracted from numbers that began at 0.

    Why: all objects are trained as the class before their own, and those of the first class are dropped.
    Ultralytics: drops images with class -1, and trains the others with the wrong names.
    Example: `convert_coco` with `cls91to80=False` on categories that are numbered from 0, as Label Studio does.
    Fix: add 1 to the class numbers of all label files of these splits.
    """
    if not config.in_order:
        return  # CF003 is about the keys
    known = {split: cls for split in table.splits if len(cls := table.row_cls[table.rows_in(split)])}
    below = {split for split, cls in known.items() if (cls == -1).sum() >= max(SLIPS, SLIP_SHARE * len(cls))}
    whole = {split for split, cls in known.items() if cls.min() >= -1 and cls.max() < config.nc - 1}
    if below and below <= whole:
        some = len(whole) < len(known)
        splits = tuple(split for split in known if split in (below if some else whole))
        yield _shifted(table, config, splits, 1, some, ("CL002",) if some else ("CL002", "CL004", "CL005", "CL006"))


def _shifted(
    table: Table, config: DataConfig, splits: tuple[str, ...], by: int, some: bool, codes: tuple[str, ...]
) -> Hit:
    """The finding that all class numbers of some or all splits are off by one."""
    alone = "labels{whole:| of }{of:,} have class {first} alone; data.yaml has class 0"
    several = "labels{whole:| of }{of:,} have the classes {first} to {last}; data.yaml has 0 to {top}"
    says = several if config.nc > 1 else alone
    top = config.nc - 1
    values = {"splits": splits, "by": by, "nc": config.nc, "first": -by, "last": top - by, "top": top}
    values |= {"whole": not some, "of": splits if some else ()}
    files = frozenset(table.labels[i] for split in splits for i in table.members[split].tolist()) if some else None
    return key_hit(config, "names", says, **values)._replace(explains=codes, explains_in=files)


class Start(Enum):
    """How the classes of a split are counted."""

    ZERO = "from 0"
    """Class 0 occurs, and none beyond the last."""
    ONE = "from 1"
    """Class 0 does not occur, and the number of classes does, as a class."""
    FEW = "from 1, or a new class"
    """As from 1, but too few classes occur to tell."""
    EITHER = "from 0 or 1"
    """Neither class 0 nor a class beyond the last one occurs."""
    OTHER = "otherwise"
    """Class 0 and a class beyond the last one occur; or many rows are further beyond."""


def starts(table: Table, nc: int) -> Mapping[str, Start]:
    """How the classes of each split that has rows are counted; empty if no class is beyond the last one."""
    if not len(table.row_cls) or not (table.row_cls >= nc).any():
        return {}
    classes = {split: table.row_cls[table.rows_in(split)] for split in table.splits}
    return {split: _start(cls, nc) for split, cls in classes.items() if len(cls)}


def _start(cls: NDArray[np.float32], nc: int) -> Start:
    zero, last = bool(((cls >= 0) & (cls < 1)).any()), bool((cls == nc).any())
    if np.count_nonzero(cls > nc) > STRAY * len(cls) or (zero and last):
        return Start.OTHER
    if zero or not last:
        return Start.ZERO if zero else Start.EITHER
    used = np.unique(cls[(cls >= 1) & (cls <= nc)])
    share = len(used) / nc
    return Start.ONE if share > MOST_USED or (used[0] == 1 and share >= SOME_USED) else Start.FEW


def from_one(found: Mapping[str, Start]) -> tuple[str, ...]:
    """The splits whose classes are counted from 1; those that may be either way are treated as the others are."""
    kinds = set(found.values())
    if Start.ONE not in kinds or Start.OTHER in kinds:
        return ()
    sure = (Start.ONE, Start.FEW) if Start.ZERO in kinds else (Start.ONE, Start.FEW, Start.EITHER)
    return tuple(split for split, start in found.items() if start in sure)


@once
def _class_counts(table: Table, nc: int) -> dict[str, NDArray[np.int64]]:
    """For each split how many rows each class has; numbers that are no class are not counted."""
    nc = min(nc, COUNTED_CLASSES)
    number = class_numbers(table.row_cls, nc)
    counts = {}
    for split in table.splits:
        rows = table.rows_in(split)
        first, count = int(np.argmax(rows)) if len(rows) else 0, np.count_nonzero(rows)
        together = number[first : first + count] if rows[first : first + count].all() else number[rows]
        counts[split] = np.bincount(together, minlength=nc + 1)[:nc]
    return counts


def class_numbers(cls: NDArray[np.float32], nc: int) -> NDArray[np.int64]:
    """The class of each row as a whole number; `nc` for what is no class."""
    return np.where(cls >= 0, np.minimum(cls, nc), nc).astype(np.int64)


def _examples(config: DataConfig, classes: NDArray[np.int64], counts: NDArray[np.int64]) -> list[tuple[str, int]]:
    return [(config.name(c), int(counts[c])) for c in classes.tolist()]
