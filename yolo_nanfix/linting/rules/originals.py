"""SP: several images that a tool made of one original, told by their names (Roboflow: `NAME.rf.HASH.jpg`)."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from yolo_nanfix.dataset.label_boxes import once
from yolo_nanfix.dataset.labelled import Rows
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.causes import Explains
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.file_set import some

MARK = ".rf."
"""What Roboflow writes between the name of an original and a hash of the copy."""
LEAST_COPIED = 5
"""From so many originals with copies on, a split is meant; fewer are told as pairs by --deep."""
PROVEN, LEAST_PROVEN = 0.3, 3
"""Of the originals whose copies lie in several splits so many have, and at least so many, with equal boxes in both:
others may be images of one name only."""
NEARLY = 0.03
"""Turning and mirroring leave the areas of boxes as they are, but for this part of them."""
_COPY = re.compile(re.escape(MARK) + r"[0-9A-Za-z]{8,}\.\w+$")


@once
def originals(table: Table) -> list[list[int]]:
    """The images of each original that has several, in order; in sets of class folders of each class."""
    if MARK not in "\0".join(table.files):
        return []
    found: dict[str, list[int]] = defaultdict(list)
    classes = not any(table.labels)
    for image, file in enumerate(table.files):
        if MARK in file and (copy := _COPY.search(file)):
            folder, _, name = file[: copy.start()].rpartition(os.sep)
            found[f"{os.path.basename(folder)}{os.sep}{name}" if classes else name].append(image)  # noqa: PTH119
    return [images for images in found.values() if len(images) > 1]


@rule("SP011", "augmented-copies", Severity.INFO, Effect.ACCEPTS, lasting=True)
def augmented_copies(table: Table) -> Iterator[Hit]:
    """A split holds several images of each original, which an export has augmented.

    Why: there is less to learn from than the number of images says, and Ultralytics augments anyway, anew each epoch.
    Ultralytics: trains on all of them.
    Example: a Roboflow export with three outputs for each training image.
    Fix: nothing; better export without augmentation. Count originals, not images, and split by original.
    """
    for split, members in table.members.items():
        inside = np.zeros(len(table.files), np.bool_)
        inside[members] = True
        groups = [kept for images in originals(table) if len(kept := [i for i in images if inside[i]]) > 1]
        if len(groups) < LEAST_COPIED:
            continue
        copies = {i for images in groups for i in images}
        count = len(members) - len(copies) + len(groups)
        files = frozenset(table.files[i] for i in copies)
        yield Hit(
            table.files[groups[0][0]].rpartition(os.sep)[0],
            f"{len(members)} images from {count} originals, by their names",
            split=split,
            values={"images": len(members), "originals": count},
            explains=Explains(("SP005",), files),
        )


@rule("SP012", "original-across-splits", Severity.WARNING, Effect.ACCEPTS)
def original_across_splits(table: Table) -> Iterator[Hit]:
    """Images that were made of one original lie in several splits.

    Why: evaluation on copies of what was trained on says nothing about new images.
    Ultralytics: trains and evaluates as told.
    Example: a set that was exported with augmentation and split by image afterwards.
    Fix: put all copies of an original into one split.
    """
    across = [images for images in originals(table) if len(set(table.split[images].tolist())) > 1]
    if not across:
        return
    rows = Rows(table)
    proven = [images for images in across if _same_boxes(table, rows, images)]
    if len(proven) < max(LEAST_PROVEN, PROVEN * len(across)):
        return
    later: dict[int, list[int]] = defaultdict(list)
    for images in across:
        for i in images:
            if table.split[i] != table.split[images[0]]:
                later[int(table.split[i])].append(i)
    for number, images in sorted(later.items()):
        split, files = table.split_names[number], [table.files[i] for i in images]
        yield Hit(
            files[0].rpartition(os.sep)[0],
            f"{len(images)} images of {split!r} are made of originals that another split has too, by their names and "
            f"boxes: {some(files)}",
            split=split,
            values={"images": len(images)},
            explains=Explains(("SP004",), frozenset(files)),
        )


def _same_boxes(table: Table, rows: Rows, images: list[int]) -> bool:
    """Whether the first image has as many boxes of the same areas as one of another split."""
    one = _areas(rows, images[0])
    others = (_areas(rows, i) for i in images[1:] if table.split[i] != table.split[images[0]])
    return bool(len(one)) and any(len(a) == len(one) and np.allclose(a, one, rtol=NEARLY, atol=0) for a in others)


def _areas(rows: Rows, image: int) -> np.ndarray:
    """The areas of the boxes of an image, in order."""
    return np.sort(rows.of(image)[:, 3:].astype(np.float64).prod(axis=1))
