"""SP: images that are the same or look alike, and splits on which a model cannot be evaluated."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import IMAGE_DROPPED, Fates
from yolo_nanfix.dataset.label_boxes import once
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Place, Severity
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.file_set import home_of, image_hit, some
from yolo_nanfix.linting.rules.label_overlap import least_overlap
from yolo_nanfix.linting.rules.near_duplicates import Near, same_groups

ROBOFLOW_MARK = ".rf."
"""What Roboflow writes between the name of an original and the hash of a copy."""
LEAST_COPIED = 5
"""From this many originals with copies on, one finding is about the split; --deep reports fewer as pairs."""
PROVEN, LEAST_PROVEN = 0.3, 3
"""At least this share, and this number, of the originals with copies in several splits have equal boxes in both: others
may just have the same name."""
NEARLY = 0.03
"""Rotating and mirroring change the areas of boxes by at most this share."""
_COPY = re.compile(re.escape(ROBOFLOW_MARK) + r"[0-9A-Za-z]{8,}\.\w+$")
FEW_VAL, MANY_TRAIN = 30, 100
LEAST_SHARE = 0.01
ENOUGH_VAL = 1000
MANY_ALIKE = 5
"""From this many images on that cannot be told apart by their looks, one finding is about the set."""
LITTLE = 0.95
"""Boxes with at least this overlap (IoU) were drawn around one object: no COCO threshold tells them apart."""


@once
def originals(table: Table) -> list[list[int]]:
    """The images of each original that has several, in order; with class folders, in each class."""
    if ROBOFLOW_MARK not in "\0".join(table.files):
        return []
    found: dict[str, list[int]] = defaultdict(list)
    classes = not any(table.labels)
    for image, file in enumerate(table.files):
        if ROBOFLOW_MARK in file and (copy := _COPY.search(file)):
            folder, _, name = file[: copy.start()].rpartition(os.sep)
            found[f"{os.path.basename(folder)}{os.sep}{name}" if classes else name].append(image)  # noqa: PTH119
    return [images for images in found.values() if len(images) > 1]


@rule("SP011", Severity.INFO, Effect.ACCEPTS)
def augmented_copies(table: Table) -> Iterator[Hit]:
    """A split holds several images of each original, which an export has augmented.

    Why: there is less to learn from than the number of images suggests, and Ultralytics augments anyway, each epoch.
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
            "{images:image|images} from {originals:original|originals}, by their names",
            split=split,
            values={"images": len(members), "originals": count},
            explains=("SP005",),
            explains_in=files,
        )


@rule("SP012", Severity.WARNING, Effect.ACCEPTS)
def original_across_splits(table: Table) -> Iterator[Hit]:
    """Images that were made of one original lie in several splits.

    Why: evaluation on copies of training images says nothing about new ones.
    Ultralytics: trains and evaluates as configured.
    Example: a set that was exported with augmentation and split by image afterwards.
    Fix: put all copies of an original into one split.
    """
    across = [images for images in originals(table) if len(set(table.split[images].tolist())) > 1]
    if not across:
        return
    proven = [images for images in across if _same_boxes(table, images)]
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
            "{images:image|images} of {split!r} are made of originals that another split has too, by their names and "
            "boxes: {examples:,}{more:more}",
            split=split,
            values={"images": len(images), "split": split, **some(files)},
            explains=("SP004",),
            explains_in=frozenset(files),
        )


def _same_boxes(table: Table, images: list[int]) -> bool:
    """Whether the first image has as many boxes of the same areas as one of another split."""
    one = _areas(table, images[0])
    others = (_areas(table, i) for i in images[1:] if table.split[i] != table.split[images[0]])
    return bool(len(one)) and any(len(a) == len(one) and np.allclose(a, one, rtol=NEARLY, atol=0) for a in others)


def _areas(table: Table, image: int) -> np.ndarray:
    return np.sort(table.labels_of(image)[:, 3:].astype(np.float64).prod(axis=1))


@once
def _groups(table: Table) -> list[list[int]]:
    """Groups of equal files, without unreadable ones: these are in no split."""
    read = ([image for image in members if not table.fate[image] & IMAGE_DROPPED] for members in same_groups(table))
    return [members for members in read if len(members) > 1]


@once
def _alike(table: Table, config: DataConfig) -> tuple[list[Near], dict[int, int], int]:
    """What `near_pairs` finds besides copies, which other rules report."""
    from yolo_nanfix.linting.rules.confirming import near_pairs  # loads the decoders

    return near_pairs(table, config.channels, {image for members in _groups(table) for image in members[1:]})


def _pair_hit(table: Table, image: int, other: int, says: str, /, **values: Any) -> Hit:
    """A hit on an image and its partner, whose path and split are among the values."""
    facts = {"other": table.files[other], "other_split": table.split_of(other), **values}
    return image_hit(table, image, says, **facts)._replace(related=(Place(table.files[other]),))


def _copies(table: Table) -> Iterator[tuple[int, int]]:
    """(original, copy) for each file that repeats an earlier one, preferably of its own split."""
    for members in _groups(table):
        firsts: dict[int, int] = {}
        for image in members:
            split = int(table.split[image])
            if firsts:
                yield firsts.get(split, members[0]), image
            firsts.setdefault(split, image)


@rule("SP001", Severity.WARNING, Effect.ACCEPTS)
def duplicate_in_split(table: Table) -> Iterator[Hit]:
    """One split holds the same image file twice, under two names.

    Why: it counts twice in training or evaluation.
    Ultralytics: trains on both.
    Example: 7.jpg and "7 (copy).jpg" with the same bytes.
    Fix: remove one of the two with its label file.
    """
    for first, image in _copies(table):
        if table.split[first] == table.split[image]:
            yield _pair_hit(table, image, first, "the same bytes as {other}")


@rule("SP002", Severity.WARNING, Effect.ACCEPTS)
def duplicate_across_splits(table: Table) -> Iterator[Hit]:
    """An image of one split is also in another, under another name.

    Why: evaluation on images seen in training says nothing about new ones.
    Ultralytics: trains and evaluates as configured.
    Example: images/val/7.jpg has the same bytes as images/train/70.jpg.
    Fix: remove the image from one of the two splits.
    """
    for first, image in _copies(table):
        if table.split[first] != table.split[image]:
            yield _pair_hit(table, image, first, "the same bytes as {other} ({other_split})")


@rule("SP003", Severity.ERROR, Effect.ACCEPTS, LABELLED)
def duplicate_labelled_otherwise(table: Table) -> Iterator[Hit]:
    """Two copies of one image have different labels.

    Why: at least one of the two is wrong, and the model learns both; a warning if the boxes overlap by 0.95 or more.
    Ultralytics: trains on both.
    Example: 7.jpg and 70.jpg are the same, but an object is labelled in one of them only.
    Fix: keep the better labels, and remove the other image with its label file.
    """
    bare = {split for split, listed in table.splits.items() if not table.labelled[listed].any()}
    for members in _groups(table):
        first, *copies = [image for image in members if table.split_of(image) not in bare] or members[:1]
        for image in copies:
            least = least_overlap(table, first, image)
            if least is None:
                continue
            counts = int(table.each[image]), int(table.each[first])
            says = "the same image has other boxes or classes here than in {other} ({other_split})"
            if counts[0] != counts[1]:
                says = "the same image has {labels:label|labels} here and {other_labels} in {other} ({other_split})"
            mild = Severity.WARNING if least >= LITTLE else None
            says += " (overlap at least {least_overlap:.2f})" if mild else ""
            values = {"labels": counts[0], "other_labels": counts[1], "least_overlap": round(least, 4)}
            yield _pair_hit(table, image, first, says, **values)._replace(severity=mild)


@rule("SP004", Severity.WARNING, Effect.ACCEPTS, deep=True)
def near_duplicate_across_splits(table: Table, config: DataConfig) -> Iterator[Hit]:
    """An image of one split repeats one of another, perhaps mirrored, rotated, scaled, cropped a little or saved again.

    Why: evaluation on images seen in training says nothing about new ones.
    Ultralytics: trains and evaluates as configured.
    Example: augmented copies of one image, or almost equal frames of a video, spread over train and val.
    Fix: split by video or by original, not by image.
    """
    for pair in _alike(table, config)[0]:
        if table.split[pair.first] != table.split[pair.second]:
            yield _near_hit(table, pair, "looks like {other} ({other_split}), {look} ({alike:.0%} alike)")


@rule("SP005", Severity.INFO, Effect.ACCEPTS, deep=True)
def near_duplicate_in_split(table: Table, config: DataConfig) -> Iterator[Hit]:
    """An image repeats one of its split, perhaps mirrored, rotated, scaled, cropped a little or saved again.

    Why: they count twice; if someone labelled both, that work was wasted, and their labels may disagree.
    Ultralytics: trains on both.
    Example: augmented copies that an export wrote to disk, or an image saved again with a caption.
    Fix: nothing if that is intended; else keep the better one.
    """
    pairs, unsure, left_out = _alike(table, config)
    for pair in pairs:
        if table.split[pair.first] == table.split[pair.second]:
            yield _near_hit(table, pair, "looks like {other}, {look} ({alike:.0%} alike)")
    if left_out and len(unsure) < MANY_ALIKE:
        says = "{images:image looks|images look} like so many others that they were compared with some of them only"
        yield Hit(str(Path(table.files[0]).parent), says, values={"images": left_out})


@rule("SP010", Severity.INFO, Effect.ACCEPTS, deep=True)
def alike_throughout(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Images look alike, but no more than others of the set do: which of them repeat another is not known.

    Why: if they are frames of one video or scans of one object, val is easier than real use.
    Ultralytics: trains and evaluates as configured.
    Example: frames of a fixed camera or of one video, scans with a common frame, fields of view of one microscope.
    Fix: nothing if the images were taken independently; else split by video, place or object, not by image.
    """
    _, similar, left_out = _alike(table, config)
    copies = {image for images in originals(table) for image in images}  # SP011 is about these
    unsure = [pair for pair in similar.items() if pair[0] not in copies]
    if len(unsure) >= MANY_ALIKE:
        image, other = unsure[0]
        says = (
            "{alike} of {images} images look alike, but no more than others of the set do: a fixed camera or a common "
            "frame? For one {pair[0]} ({splits[0]}) and {pair[1]} ({splits[1]})"
        )
        says += " ({left_out} were compared with some of the others only)" if left_out else ""
        values = {
            "alike": len(unsure),
            "images": len(table.files),
            "pair": (table.files[image], table.files[other]),
            "splits": (table.split_of(image), table.split_of(other)),
            "left_out": left_out,
        }
        yield Hit(str(Path(table.files[image]).parent), says, values=values)


def _near_hit(table: Table, pair: Near, says: str) -> Hit:
    from yolo_nanfix.dataset.image_stats import LOOKS

    return _pair_hit(table, pair.second, pair.first, says, look=LOOKS[pair.turn], alike=float(pair.alike))


@rule("SP006", Severity.ERROR, Effect.ACCEPTS, LABELLED)
def val_repeats_train(table: Table) -> Iterator[Hit]:
    """All images of val, or of test, are in train, as the same files or as copies.

    Why: mAP, early stopping and the choice of best.pt measure how well training images are remembered.
    Ultralytics: trains and evaluates as configured.
    Example: `val: images/train`, or a folder copied to get a val split.
    Fix: move some images from train to the other split.
    """
    for split in ("val", "test"):
        listed, train = table.splits.get(split), table.splits.get("train")
        if listed is None or train is None or not len(listed):
            continue
        missing = set(listed[~table.among(listed, train)].tolist())
        if len(missing) == len(set(listed.tolist())) and not _groups(table):
            continue
        trained = set(train.tolist())
        for members in _groups(table):
            if trained.intersection(members):
                missing.difference_update(members)
        if not missing:
            says, values = "all {images} images of '{split}' are in 'train', too", {"images": len(table.members[split])}
            yield Hit(home_of(table, split), says, split=split, values={**values, "split": split})


@rule("SP007", Severity.ERROR, Effect.GARBAGE, LABELLED)
def split_without_objects(table: Table, fates: Fates) -> Iterator[Hit]:
    """A split has label files, but none of the images that Ultralytics keeps has an object.

    Why: without objects in train the model learns to find none; without objects in val or test mAP stays 0.
    Ultralytics: drops what it cannot read, warns once and takes the rest as background.
    Example: an export that wrote an empty label file for each image.
    Fix: export the labels again.
    """
    for split, fate in fates.items():
        if fate["found"] and 0 < fate["kept"] == fate["background"]:
            says = "none of the {kept} images of '{split}' that are kept holds an object"
            says += ", and {dropped} are left out" if fate["dropped"] else ""
            listed = table.splits[split]
            first = int(listed[np.argmax(table.labelled[listed])])
            values = {"kept": fate["kept"], "dropped": fate["dropped"], "split": split}
            yield Hit(str(Path(table.labels[first]).parent), says, split=split, values=values)


@rule("SP008", Severity.INFO, Effect.ACCEPTS)
def val_tiny(table: Table) -> Iterator[Hit]:
    """Val has fewer than 30 images although train has 100 or more.

    Why: mAP jumps by some hundredths from run to run, so differences between models are noise.
    Ultralytics: evaluates as configured.
    Example: 2 000 images in train and 12 in val.
    Fix: move images from train to val until it has some hundred, or a tenth of all.
    """
    val, train = _size(table, "val"), _size(table, "train")
    if 0 < val < FEW_VAL and train >= MANY_TRAIN:
        yield _sizes_hit(table, val, train)


@rule("SP009", Severity.INFO, Effect.ACCEPTS)
def val_share_odd(table: Table) -> Iterator[Hit]:
    """Val is larger than train, or has less than one image in a hundred.

    Why: often the splits were swapped, or a folder was forgotten.
    Ultralytics: trains as configured.
    Example: `train: images/val` and `val: images/train`.
    Fix: check both entries of data.yaml.
    """
    val, train = _size(table, "val"), _size(table, "train")
    small = FEW_VAL <= val < min(ENOUGH_VAL, LEAST_SHARE * train)
    if small or (val > train and val >= MANY_TRAIN):
        yield _sizes_hit(table, val, train)


def _size(table: Table, split: str) -> int:
    """How many different images a split has."""
    listed = table.splits.get(split)
    return 0 if listed is None else int(np.count_nonzero(np.bincount(listed)))


def _sizes_hit(table: Table, val: int, train: int) -> Hit:
    """A hit on the folder of the first image of val, with the sizes of both splits."""
    says, values = "{val:image|images} in 'val' and {train} in 'train'", {"val": val, "train": train}
    return Hit(home_of(table, "val"), says, split="val", values=values)
