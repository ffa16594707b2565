"""SP: images that are the same or nearly the same, and splits that cannot tell how good a model is."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import IMAGE_DROPPED, Fate
from yolo_nanfix.dataset.labelled import Rows
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Place, Severity
from yolo_nanfix.linting.near_duplicates import Likeness, Near, same_groups
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.originals import originals

FEW_VAL, MANY_TRAIN = 30, 100
LEAST_SHARE = 0.01
ENOUGH_VAL = 1000
MANY_ALIKE = 5
"""From so many images on that cannot be told apart by their looks, the set is meant."""
LITTLE = 0.95
"""Boxes of this overlap (IoU) were drawn twice around one object: no COCO threshold tells them apart."""

T = TypeVar("T")


class _Last:
    """The last answer to a costly question about a table; several rules ask the same."""

    def __init__(self) -> None:
        self._table: Callable[[], Table | None] = lambda: None
        self._answer: object = None

    def ask(self, table: Table, question: Callable[[], T]) -> T:
        """The answer, by `question` if it was not asked of this table before."""
        if self._table() is not table:
            self._answer = question()
            self._table = weakref.ref(table)
        return self._answer  # type: ignore[return-value]


_same, _near = _Last(), _Last()


def _groups(table: Table) -> list[list[int]]:
    """Groups of equal files, without those that no one can read: they are left out of every split."""

    def question() -> list[list[int]]:
        groups = same_groups(table)
        read = [[image for image in members if not table.fate[image] & IMAGE_DROPPED] for members in groups]
        return [members for members in read if len(members) > 1]

    return _same.ask(table, question)


def _alike(table: Table, config: DataConfig) -> Likeness:
    """Pairs of images that look alike; copies are told by the rules on duplicates."""

    def question() -> Likeness:
        from yolo_nanfix.linting.confirming import near_pairs  # loads the decoders

        copies = {image for members in _groups(table) for image in members[1:]}
        return near_pairs(table, config.channels, copies)

    return _near.ask(table, question)


def _hit(table: Table, image: int, other: int, message: str) -> Hit:
    """A hit on an image and its partner."""
    file, partner = table.files[image], Place(table.files[other])
    return Hit(file, message, split=table.split_of(image), image=file, related=(partner,))


def _named(table: Table, image: int) -> str:
    """Another image in a message: its path, and its split."""
    return f"{table.files[image]} ({table.split_of(image)})"


def _copies(table: Table) -> Iterator[tuple[int, int]]:
    """(original, copy) for each file that repeats an earlier one: of its own split if there is one, else of another."""
    for members in _groups(table):
        firsts: dict[int, int] = {}
        for image in members:
            split = int(table.split[image])
            if firsts:
                yield firsts.get(split, members[0]), image
            firsts.setdefault(split, image)


@rule("SP001", "duplicate-in-split", Severity.WARNING, Effect.ACCEPTS)
def duplicate_in_split(table: Table) -> Iterator[Hit]:
    """An image file is there twice in one split, under two names.

    Why: it counts twice in training or evaluation.
    Ultralytics: trains on both.
    Example: 7.jpg and "7 (copy).jpg" with the same bytes.
    Fix: remove one of the two with its label file.
    """
    for first, image in _copies(table):
        if table.split[first] == table.split[image]:
            yield _hit(table, image, first, f"the same bytes as {table.files[first]}")


@rule("SP002", "duplicate-across-splits", Severity.WARNING, Effect.ACCEPTS)
def duplicate_across_splits(table: Table) -> Iterator[Hit]:
    """An image of one split is also in another, under another name.

    Why: evaluation on images that were trained on says nothing about new ones.
    Ultralytics: trains and evaluates as told.
    Example: images/val/7.jpg has the same bytes as images/train/70.jpg.
    Fix: remove the image from one of the two splits.
    """
    for first, image in _copies(table):
        if table.split[first] != table.split[image]:
            yield _hit(table, image, first, f"the same bytes as {_named(table, first)}")


@rule("SP003", "duplicate-labelled-otherwise", Severity.ERROR, Effect.ACCEPTS, LABELLED)
def duplicate_labelled_otherwise(table: Table) -> Iterator[Hit]:
    """Two copies of one image have different labels.

    Why: at least one of the two is wrong, and the model is taught both; a warning where boxes overlap by 0.95 or more.
    Ultralytics: trains on both.
    Example: 7.jpg and 70.jpg are the same, but an object is labelled in one of them only.
    Fix: keep the better labels, and remove the other image with its label file.
    """
    groups = _groups(table)
    rows = Rows(table) if groups else None
    bare = {split for split, listed in table.splits.items() if not table.labelled[listed].any()}
    for members in groups:
        first, *copies = [image for image in members if table.split_of(image) not in bare] or members[:1]
        for image in copies:
            differ, least = rows.difference(first, image) if rows else ("", 0.0)
            if differ:
                said = f"the same image {differ} in {_named(table, first)}"
                mild = Severity.WARNING if least >= LITTLE else None
                hit = _hit(table, image, first, f"{said} (overlap at least {least:.2f})" if mild else said)
                yield hit._replace(severity=mild, values={"least_overlap": round(least, 4)})


@rule("SP004", "near-duplicate-across-splits", Severity.WARNING, Effect.ACCEPTS, deep=True)
def near_duplicate_across_splits(table: Table, config: DataConfig) -> Iterator[Hit]:
    """An image of one split repeats one of another, perhaps mirrored, turned, scaled, cropped a little or saved again.

    Why: evaluation on images that were trained on says nothing about new ones.
    Ultralytics: trains and evaluates as told.
    Example: augmented copies of one image, or frames of a film that hardly differ, dealt out to train and val.
    Fix: split by film or by original, not by image.
    """
    for pair in _alike(table, config).pairs:
        if table.split[pair.first] != table.split[pair.second]:
            yield _hit(table, pair.second, pair.first, f"looks like {_named(table, pair.first)}, {_how(pair)}")


@rule("SP005", "near-duplicate-in-split", Severity.INFO, Effect.ACCEPTS, deep=True)
def near_duplicate_in_split(table: Table, config: DataConfig) -> Iterator[Hit]:
    """An image repeats one of its split, perhaps mirrored, turned, scaled, cropped a little or saved again.

    Why: they count twice; if someone labelled both, that work was wasted, and their labels may disagree.
    Ultralytics: trains on both.
    Example: augmented copies that an export wrote to disk, or an image saved again with a caption.
    Fix: nothing if they are meant; else keep the better one.
    """
    found = _alike(table, config)
    for pair in found.pairs:
        if table.split[pair.first] == table.split[pair.second]:
            yield _hit(table, pair.second, pair.first, f"looks like {table.files[pair.first]}, {_how(pair)}")
    if found.left_out and len(found.unsure) < MANY_ALIKE:
        folder = str(Path(table.files[0]).parent)
        said = f"{found.left_out} images look like so many others"
        yield Hit(folder, f"{said} that they were compared with some of them only")


@rule("SP010", "alike-throughout", Severity.INFO, Effect.ACCEPTS, deep=True)
def alike_throughout(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Images look alike, but no more than others of the set do: their looks do not tell which of them repeat another.

    Why: if they are frames of one film or scans of one object, val is easier than what the model will meet.
    Ultralytics: trains and evaluates as told.
    Example: frames of a fixed camera or of one film, scans with a common frame, fields of view of one microscope.
    Fix: nothing if the images were taken independently; else split by film, place or object, not by image.
    """
    found = _alike(table, config)
    copies = {image for images in originals(table) for image in images}  # SP011 tells of them
    unsure = [pair for pair in zip(found.unsure, found.examples, strict=True) if pair[0] not in copies]
    if len(unsure) >= MANY_ALIKE:
        image, other = unsure[0]
        said = f"{len(unsure)} of {len(table.files)} images look alike, but no more than others of the set do"
        some = f" ({found.left_out} were compared with some of the others only)" if found.left_out else ""
        example = f"{_named(table, image)} and {_named(table, other)}"
        message = f"{said}: a fixed camera or a common frame? For one {example}{some}"
        yield Hit(str(Path(table.files[image]).parent), message)


def _how(pair: Near) -> str:
    """How two images are alike, in words."""
    from yolo_nanfix.dataset.image_stats import LOOKS

    return f"{LOOKS[pair.turn]} ({pair.alike:.0%} alike)"


@rule("SP006", "val-repeats-train", Severity.ERROR, Effect.ACCEPTS, LABELLED)
def val_repeats_train(table: Table) -> Iterator[Hit]:
    """All images of val, or of test, are in train, as the same files or as copies.

    Why: mAP, early stopping and the choice of best.pt tell how well images are remembered, not found.
    Ultralytics: trains and evaluates as told.
    Example: `val: images/train`, or a folder copied to get a val split.
    Fix: take images out of train for the other split.
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
            folder = str(Path(table.files[int(listed[0])]).parent)
            yield Hit(folder, f"all {len(table.members[split])} images of '{split}' are in 'train', too", split=split)


@rule("SP007", "split-without-objects", Severity.ERROR, Effect.GARBAGE, LABELLED)
def split_without_objects(table: Table, fates: Mapping[str, Fate]) -> Iterator[Hit]:
    """A split has label files, but no image that is kept holds an object.

    Why: train without objects teaches that there are none; with such a val, or test, mAP stays 0.
    Ultralytics: leaves out what it cannot read, warns once and goes on with the rest as background.
    Example: an export that wrote an empty label file for each image.
    Fix: export the labels again.
    """
    for split, fate in fates.items():
        if fate.found and 0 < fate.kept == fate.background:
            message = f"none of the {fate.kept} images of '{split}' that are kept holds an object"
            if fate.dropped:
                message += f", and {fate.dropped} are left out"
            listed = table.splits[split]
            first = int(listed[np.argmax(table.labelled[listed])])
            yield Hit(str(Path(table.labels[first]).parent), message, split=split)


@rule("SP008", "val-tiny", Severity.INFO, Effect.ACCEPTS)
def val_tiny(table: Table) -> Iterator[Hit]:
    """Val has fewer than 30 images although train has 100 and more.

    Why: mAP jumps by some hundredths from run to run, so differences between models are noise.
    Ultralytics: evaluates as told.
    Example: 2 000 images in train and 12 in val.
    Fix: move images from train to val until it has some hundred, or a tenth of all.
    """
    val, train = _size(table, "val"), _size(table, "train")
    if 0 < val < FEW_VAL and train >= MANY_TRAIN:
        yield _on_val(table, f"{val} images in 'val' and {train} in 'train'")


@rule("SP009", "val-share-odd", Severity.INFO, Effect.ACCEPTS)
def val_share_odd(table: Table) -> Iterator[Hit]:
    """Val is larger than train, or has less than one image in a hundred.

    Why: often the splits were swapped, or a folder was forgotten.
    Ultralytics: trains as told.
    Example: `train: images/val` and `val: images/train`.
    Fix: check both entries of data.yaml.
    """
    val, train = _size(table, "val"), _size(table, "train")
    small = FEW_VAL <= val < min(ENOUGH_VAL, LEAST_SHARE * train)
    if small or (val > train and val >= MANY_TRAIN):
        yield _on_val(table, f"{val} images in 'val' and {train} in 'train'")


def _size(table: Table, split: str) -> int:
    """How many different images a split has."""
    listed = table.splits.get(split)
    return 0 if listed is None else int(np.count_nonzero(np.bincount(listed)))


def _on_val(table: Table, message: str) -> Hit:
    """A hit on the folder of the first image of val."""
    return Hit(str(Path(table.files[int(table.splits["val"][0])]).parent), message, split="val")
