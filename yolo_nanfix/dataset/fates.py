"""What Ultralytics does with each image when it scans a split, by its own checks, not by findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.classification import class_of
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.image_header import SOUND, Header
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import HIGH, LOW, first_equal, label_boxes
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.options import UNLABELLED
from yolo_nanfix.dataset.paths import SUFFIX_FORMATS
from yolo_nanfix.dataset.table import Table

IMAGE_DROPPED, LABELS_DROPPED, RESTORED, DEDUPLICATED, EMPTY = 1, 2, 4, 8, 16
"""Bits: the image is refused; its label file is; the image file is rewritten; repeated rows are left out; no rows."""
DROPPED = IMAGE_DROPPED | LABELS_DROPPED
REWRITTEN = RESTORED | DEDUPLICATED
OF_LABELS = LABELS_DROPPED | DEDUPLICATED | EMPTY
"""The bits that images with the same label file share."""
MIN_SIDE = 10
"""Ultralytics takes no image with a shorter side."""
ACCEPTED = frozenset(name.upper() for name in SUFFIX_FORMATS) | {"JPEG2000"}
"""Pillow's names of the formats that it takes."""
_HARMLESS = ("spelling", "mark", "ends", "large", "many", "numbers", "long")
"""Kinds of `BadRow` that Ultralytics accepts, or of which nothing more is known."""


Fates = Mapping[str, Mapping[str, int]]
"""What Ultralytics does with the images of each split, by name; those listed twice count twice.

- `images`: how many there are;
- `kept`: how many the dataset holds when training starts;
- `dropped`: how many it leaves out: image or labels cannot be used, or the class folder is not one of train;
- `background`: how many it keeps without an object;
- `rewritten`: how many files it rewrites on disk, or whose repeated rows it leaves out;
- `found`: how many have a label file that is looked at; with none in train, training does not start;
- `aside`: how many that it would keep the run leaves out.
"""


def fates(images: Images, labels: Labels, config: DataConfig, task: str) -> NDArray[np.uint8]:
    """(N,) the bits of each image."""
    found = np.full(len(images), 0 if task in ("classify", UNLABELLED) else EMPTY, np.uint8)
    for i, image in images.made.items():
        if not image.usual:
            found[i] |= of_header(image.header)
    if labels.paths:
        found[labels.image] &= ~np.uint8(EMPTY)
        found[labels.image] |= _of_labels(labels, images, config, pose=task == "pose")
    return found


def of_header(header: Header) -> int:
    """The bits of an image, from its header."""
    if header.fault not in SOUND or min(header.width, header.height) < MIN_SIDE:
        return IMAGE_DROPPED
    if header.format and header.format not in ACCEPTED:
        return IMAGE_DROPPED
    return RESTORED if header.fault == "trailing" else 0


def _of_labels(labels: Labels, images: Images, config: DataConfig, *, pose: bool) -> NDArray[np.uint8]:
    """(F,) the bits of each label file."""
    dropped, repeated = np.zeros((2, len(labels.paths)), np.bool_)
    for bad in labels.bad:
        if bad.kind not in _HARMLESS:
            dropped[bad.file] = True
    rows = _bad_class(labels, config) | _bad_place(labels, images, pose=pose)
    if rows.any():
        dropped[labels.file[rows]] = True
    first = first_equal(labels, images)[0]
    again = first != np.arange(len(first))
    if again.any():
        repeated[labels.file[again]] = True
    bits = dropped * LABELS_DROPPED + (repeated & ~dropped) * DEDUPLICATED + (labels.rows == 0) * EMPTY
    return np.asarray(bits, np.uint8)


def _bad_class(labels: Labels, config: DataConfig) -> NDArray[np.bool_]:
    """(R,) whether Ultralytics refuses the class of a row."""
    bad = (labels.cls < 0) | (labels.cls >= config.nc) | (np.floor(labels.cls) != labels.cls) | ~np.isfinite(labels.cls)
    if not config.in_order:  # it refuses the whole set; these numbers are valid once the names are corrected
        bad &= ~np.isin(labels.cls, list(config.names))
    return np.asarray(bad, np.bool_)


def _bad_place(labels: Labels, images: Images, *, pose: bool) -> NDArray[np.bool_]:
    """(R,) whether Ultralytics refuses the numbers behind the class of a row."""
    boxes = label_boxes(labels, images)
    bad = (boxes.centre < LOW) | (boxes.side < 0)
    if not pose:
        return np.asarray(bad | (boxes.largest > HIGH) | ~np.isfinite(labels.extra), np.bool_)
    bad |= np.isnan(labels.extra)
    points, seen = labels.points, labels.visible
    spots = (points > HIGH).any(axis=1) | (points < LOW).any(axis=1) | (seen < LOW)
    if spots.any():
        owners = np.searchsorted(labels.first, np.flatnonzero(spots), side="right") - 1
        bad[owners] = True
    return np.asarray(bad, np.bool_)


def shared(fate: NDArray[np.uint8], labels: Sequence[str], owns: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(N,) the bits of images; those of a shared label file, read for one image alone, are copied to the others."""
    first = {labels[i]: i for i in np.flatnonzero(owns).tolist()}
    others = np.flatnonzero(~owns)
    owners = [first[labels[i]] for i in others.tolist()]
    fate = fate.copy()
    fate[others] = (fate[others] & ~np.uint8(OF_LABELS)) | (fate[owners] & OF_LABELS)
    return fate


def of_splits(table: Table) -> Fates:
    """The fate of each split."""
    config = table.config
    if table.task != "classify":
        return {split: _of_split(table, listed, 0) for split, listed in table.splits.items()}
    names = set(config.names.values())
    return {split: _of_split(*_of_known(table, split, config.splits[split][0], names)) for split in table.splits}


def left(table: Table, aside: Set[str]) -> Fates:
    """The fate of each split if a run leaves out some image files."""
    out = np.array([file in aside for file in table.files], np.bool_)
    fate = table.fate | np.where(out, IMAGE_DROPPED, 0).astype(np.uint8)
    before, after = of_splits(table), of_splits(replace(table, fate=fate))
    return {
        split: {**after[split], "dropped": one["dropped"], "aside": one["kept"] - after[split]["kept"]}
        for split, one in before.items()
    }


def _of_known(table: Table, split: str, top: Path, names: set[str]) -> tuple[Table, NDArray[np.int32], int]:
    """The images of a split of class folders whose class is one of `names`, and how many others there are."""
    listed = table.splits[split]
    if split == "train":
        return table, listed, 0
    known = np.array([class_of(table.files[i], top) in names for i in listed.tolist()], np.bool_)
    return table, listed[known], int((~known).sum())


def _of_split(table: Table, listed: NDArray[np.int32], more: int) -> dict[str, int]:
    """The fate of the listed images; `more` others are left out."""
    fate = table.fate[listed]
    kept = (fate & DROPPED) == 0
    found = table.labelled[listed] & ((fate & IMAGE_DROPPED) == 0)
    return {
        "images": len(listed) + more,
        "kept": int(kept.sum()),
        "dropped": int((~kept).sum()) + more,
        "background": int((kept & ((fate & EMPTY) != 0)).sum()),
        "rewritten": int(((fate & REWRITTEN) != 0).sum()),
        "found": int(found.sum()),
        "aside": 0,
    }
