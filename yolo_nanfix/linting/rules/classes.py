"""CL: class numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import once
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.causes import Explains
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.class_numbering import from_one, starts
from yolo_nanfix.linting.rules.row_hits import row_hits

_SHOWN = 8
LEARNABLE = 20
"""A class with so many training examples is expected in val too."""
FEW, MANY = 10, 100
"""A class with fewer examples than `FEW` is rare, where another one has at least `MANY`."""
MAX_CLASSES = 100_000
_BLOCK = 1 << 14
"""Rows looked at at once: mostly the first ones have all classes."""


@rule("CL001", "class-not-whole", Severity.ERROR, Effect.DROPS)
def class_not_whole(labels: Labels, images: Images) -> Iterator[Hit]:
    """A class is not a whole number.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("non-integer class labels").
    Example: `1.5 0.5 0.5 0.2 0.2`, or a row that begins with x.
    Fix: write the class number first in the row.
    """
    mask = np.isfinite(labels.cls) & (np.floor(labels.cls) != labels.cls)
    yield from row_hits(labels, images, mask, lambda row: f"class {labels.cls[row]:g} is not a whole number")


@rule("CL002", "class-negative", Severity.ERROR, Effect.DROPS)
def class_negative(labels: Labels, images: Images) -> Iterator[Hit]:
    """A class is negative.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("negative label values").
    Example: `-1 0.5 0.5 0.2 0.2`.
    Fix: give the object its class number, counted from 0.
    """
    mask = np.isfinite(labels.cls) & (labels.cls <= -1)
    yield from row_hits(labels, images, mask, lambda row: f"class {labels.cls[row]:g} is negative")


@rule("CL003", "class-over-nc", Severity.ERROR, Effect.DROPS)
def class_over_nc(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A class number is not below the number of classes.

    Why: one such row takes the whole image out of training; numbers that start at 1 do it to the last class.
    Ultralytics: drops the image ("Label class 3 exceeds dataset class count 3").
    Example: class 3 where data.yaml names three classes, 0 to 2.
    Fix: correct the number, or add the class to `names`.
    """
    mask = np.isfinite(labels.cls) & (labels.cls >= config.nc)
    known = f"0 to {config.nc - 1}"
    if not config.in_order:  # then CF003 tells of the keys, and a number that is one of them is right
        whole = np.isfinite(labels.cls) & (labels.cls >= 0) & (np.floor(labels.cls) == labels.cls)
        mask = whole & ~np.isin(labels.cls, list(config.names))
        known = ", ".join(map(str, list(config.names)[:_SHOWN])) + (", ..." if config.nc > _SHOWN else "")

    def message(row: int) -> str:
        return f"class {labels.cls[row]:g}, but data.yaml has the classes {known}"

    yield from row_hits(labels, images, mask, message)


@rule("CL004", "class-unused", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_unused(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Some classes occur in no label.

    Why: they are never learned, and count in no average; the class list may be of another dataset.
    Ultralytics: builds the model with all classes.
    Example: 80 classes of COCO for a set that labels 3.
    Fix: nothing if they come later; else remove them from `names` and renumber the labels.
    """
    if not len(table.row_cls):
        return  # a class is missing for a reason that other rules tell
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
    unused = [name for name, there in zip(config.names.values(), used.tolist(), strict=True) if not there]
    if unused:
        shown = ", ".join(unused[:_SHOWN]) + (", ..." if len(unused) > _SHOWN else "")
        message = f"{len(unused)} of {config.nc} classes occur in no label: {shown}"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("names"))


@rule("CL005", "class-not-in-train", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def class_not_in_train(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A class occurs in val or test, but not in train.

    Why: it is never learned, and its mAP of 0 pulls down the mean of all classes.
    Ultralytics: trains and evaluates as told.
    Example: a rare class whose three images all went to val.
    Fix: split the images again, so that each class is in train.
    """
    counts = _counts(table, config.ceiling)
    missing = np.flatnonzero((counts["train"] == 0) & (np.sum(list(counts.values()), axis=0) > 0))
    if len(missing) and counts["train"].any():
        message = f"in other splits, but not in train ({len(missing)}): {_names(config, missing)}"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("names"))


@rule("CL006", "class-not-in-val", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_not_in_val(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A class with 20 or more examples in train has none in val, or none in test.

    Why: nothing says how well it is learned.
    Ultralytics: leaves the class out of the mean.
    Example: a class recorded on one day, all of whose images went to train.
    Fix: split the images again, so that each class is in all splits.
    """
    counts = _counts(table, config.ceiling)
    for split in ("val", "test"):
        if split in counts and counts[split].any():
            missing = np.flatnonzero((counts["train"] >= LEARNABLE) & (counts[split] == 0))
            if len(missing):
                message = f"in train, but not in {split} ({len(missing)}): {_names(config, missing)}"
                yield Hit(str(config.yaml_file), message, config.key_lines.get("names"))


@rule("CL007", "class-rare", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_rare(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A class has fewer than 10 examples in train, another one 100 or more.

    Why: it will hardly be learned.
    Ultralytics: weighs all objects alike.
    Example: 3 bicycles among 4000 cars.
    Fix: collect more examples, repeat the images that have it, or leave the class out.
    """
    train = _counts(table, config.ceiling)["train"]
    rare = np.flatnonzero((train > 0) & (train < FEW))
    if len(rare) and train.max() >= MANY:
        message = f"fewer than {FEW} examples in train ({len(rare)}): {_names(config, rare, train)}"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("names"))


@rule("CL008", "class-imbalance", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_imbalance(table: Table, config: DataConfig) -> Iterator[Hit]:
    """The most frequent class of train has a hundred times as many examples as the rarest.

    Why: the frequent class rules the loss; the rare one is overlooked.
    Ultralytics: weighs all objects alike, unless `cls_pw` is set.
    Example: 40 000 cars and 300 buses.
    Fix: set `cls_pw`, repeat the images that have the rare class, or collect more of it.
    """
    train = _counts(table, config.ceiling)["train"]
    used = np.flatnonzero(train)
    if len(used) > 1 and train.max() >= 100 * train[used].min():
        rarest, largest = used[np.argmin(train[used])], int(np.argmax(train))
        shown = _names(config, np.array([largest, rarest]), train)
        yield Hit(str(config.yaml_file), f"from the most frequent to the rarest class: {shown}")


@rule("CL009", "background-share", Severity.INFO, Effect.ACCEPTS, LABELLED)
def background_share(table: Table) -> Iterator[Hit]:
    """More than half of the images of train hold no object.

    Why: a few images of background help against false alarms; so many make the model see nothing.
    Ultralytics: trains on them as background.
    Example: frames of a camera, most of them empty.
    Fix: leave some of them out, or label what is missing.
    """
    listed = table.members["train"]
    objects = table.each > 0
    empty = int((~objects[listed]).sum())
    if len(listed) >= LEARNABLE and objects[listed].any() and empty > len(listed) / 2:
        first = int(listed[np.argmin(objects[listed])])
        message = f"{empty} of {len(listed)} images of train hold no object"
        yield Hit(table.files[first], message, split="train", image=table.files[first])


@rule("CL010", "classes-from-one", Severity.ERROR, Effect.DROPS, LABELLED)
def classes_from_one(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Class numbers start at 1: class 0 does not occur, and the number of classes does; in all splits or in some.

    Why: all objects are trained as the class after their own, and those of the last class are dropped.
    Ultralytics: drops images with the last class, and trains the others with the wrong names.
    Example: classes 1, 2 and 3 where data.yaml names three classes, 0 to 2; class 1 where it names one.
    Fix: subtract 1 from the class numbers of all label files of these splits.
    """
    if not config.in_order:
        return  # CF003 tells of the keys
    found = starts(table, config.nc)
    splits = from_one(found)
    if not splits:
        return
    numbers = f"the classes 1 to {config.nc}" if config.nc > 1 else "class 1 alone"
    known = f"data.yaml has 0 to {config.nc - 1}" if config.nc > 1 else "data.yaml has class 0"
    some = () if len(splits) == len(found) else splits
    files = frozenset(table.labels[i] for split in some for i in table.members[split].tolist())
    yield Hit(
        str(config.yaml_file),
        f"labels{' of ' + ' and '.join(some) if some else ''} have {numbers}; {known}",
        config.key_lines.get("names"),
        values={"splits": splits, "by": -1, "nc": config.nc},
        explains=Explains(("CL003",) if some else ("CL003", "CL004"), files if some else None),
    )


@once
def _counts(table: Table, nc: int) -> dict[str, NDArray[np.int64]]:
    """For each split how many rows each class has; classes that are no class are left out."""
    nc = min(nc, MAX_CLASSES)
    cls = table.row_cls
    sound = len(cls) and cls.min() >= 0 and cls.max() < nc
    number = (cls if sound else np.where((cls >= 0) & (cls < nc), cls, nc)).astype(np.int64)
    counts = {}
    for split, listed in table.splits.items():
        inside = np.zeros(len(table.files), np.bool_)
        inside[listed] = True
        rows = table.of_rows(inside)
        first, count = int(np.argmax(rows)) if len(rows) else 0, np.count_nonzero(rows)
        together = number[first : first + count] if rows[first : first + count].all() else number[rows]
        counts[split] = np.bincount(together, minlength=nc + 1)[:nc]
    return counts


def _names(config: DataConfig, classes: NDArray[np.int64], counts: NDArray[np.int64] | None = None) -> str:
    """The names of some classes, with their counts."""
    shown = [config.name(c) + (f" ({counts[c]})" if counts is not None else "") for c in classes[:_SHOWN].tolist()]
    return ", ".join(shown) + (", ..." if len(classes) > _SHOWN else "")
