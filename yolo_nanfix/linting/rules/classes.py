"""CL: class numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.rule import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.rows import Images, row_hits
from yolo_nanfix.linting.table import Table

_SHOWN = 8


@rule("CL001", "class-not-whole", Severity.ERROR, Effect.DROPS)
def class_not_whole(labels: Labels, images: Images) -> Iterator[Hit]:
    """A class is not a whole number.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("non-integer class labels").
    Example: `1.5 0.5 0.5 0.2 0.2`, or a row that begins with x.
    Mend: write the class number first in the row.
    """
    finite = np.isfinite(labels.cls)
    mask = finite & (np.where(finite, labels.cls, 0) % 1 != 0)
    yield from row_hits(labels, images, mask, lambda row: f"class {labels.cls[row]:g} is not a whole number")


@rule("CL002", "class-negative", Severity.ERROR, Effect.DROPS)
def class_negative(labels: Labels, images: Images) -> Iterator[Hit]:
    """A class is negative.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("negative label values").
    Example: `-1 0.5 0.5 0.2 0.2`.
    Mend: give the object its class number, counted from 0.
    """
    mask = np.isfinite(labels.cls) & (labels.cls <= -1)
    yield from row_hits(labels, images, mask, lambda row: f"class {labels.cls[row]:g} is negative")


@rule("CL003", "class-over-nc", Severity.ERROR, Effect.DROPS)
def class_over_nc(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A class number is not below the number of classes.

    Why: one such row takes the whole image out of training; numbers that start at 1 do it to the last class.
    Ultralytics: drops the image ("Label class 3 exceeds dataset class count 3").
    Example: class 3 where data.yaml names three classes, 0 to 2.
    Mend: correct the number, or add the class to `names`.
    """
    mask = np.isfinite(labels.cls) & (labels.cls >= config.nc)

    def message(row: int) -> str:
        return f"class {labels.cls[row]:g}, but data.yaml has the classes 0 to {config.nc - 1}"

    yield from row_hits(labels, images, mask, message)


@rule("CL004", "class-unused", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_unused(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Some classes occur in no label.

    Why: they are never learned, and count in no average; the class list may be of another dataset.
    Ultralytics: builds the model with all classes.
    Example: 80 classes of COCO for a set that labels 3.
    Mend: nothing if they come later; else remove them from `names` and renumber the labels.
    """
    used = set(np.unique(table.row_cls[np.isfinite(table.row_cls)]).tolist())
    unused = [name for index, name in config.names.items() if index not in used]
    if unused:
        shown = ", ".join(unused[:_SHOWN]) + (", ..." if len(unused) > _SHOWN else "")
        message = f"{len(unused)} of {config.nc} classes occur in no label: {shown}"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("names"))
