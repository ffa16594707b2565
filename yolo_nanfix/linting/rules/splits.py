"""SP: images that are the same or nearly the same, and splits that cannot tell how good a model is."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.alike import Near, near_pairs, same_groups
from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.rule import LABELLED, Hit, rule
from yolo_nanfix.linting.table import Table

FEW_VAL, MANY_TRAIN = 30, 100
LEAST_SHARE = 0.01
ENOUGH_VAL = 1000
NEARLY = 0.005
"""Boxes of which no number differs by more are the same box."""
LITTLE = 0.95
"""Boxes of this overlap (IoU) were drawn twice around one object: no COCO threshold tells them apart."""
_MANY_ROWS = 1_000_000

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
    """Groups of equal files."""
    return _same.ask(table, lambda: same_groups(table))


def _pairs(table: Table, config: DataConfig) -> tuple[list[Near], int]:
    """Pairs of images that look alike, and how many were left out; copies are told by the rules on duplicates."""

    def question() -> tuple[list[Near], int]:
        copies = {image for members in _groups(table) for image in members[1:]}
        return near_pairs(table, config.channels, copies)

    return _near.ask(table, question)


def _hit(table: Table, image: int, other: int, message: str) -> Hit:
    """A hit on an image and its partner."""
    file, partner = table.files[image], table.files[other]
    return Hit(file, message, split=table.split_of(image), image=file, partner=partner)


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
    Mend: remove one of the two with its label file.
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
    Mend: remove the image from one of the two splits.
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
    Mend: keep the better labels, and remove the other image with its label file.
    """
    groups = _groups(table)
    rows = _Rows(table) if groups else None
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


class _Rows:
    """The label rows of each image."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._order = np.argsort(table.row_image, kind="stable")
        self._image = table.row_image[self._order]

    def of(self, image: int) -> NDArray[np.float32]:
        """(n, 5): class and box of each."""
        low, high = np.searchsorted(self._image, [image, image + 1])
        chosen = self._order[low:high]
        return np.column_stack([self._table.row_cls[chosen], self._table.row_box[chosen]])

    def difference(self, first: int, image: int) -> tuple[str, float]:
        """How the labels of two images differ, empty if not at all; and the least IoU of a box with its partner of the
        same class, 0 where one has none."""
        if self._table.labels[first] == self._table.labels[image]:
            return "", 1.0
        one, other = self.of(first), self.of(image)
        if len(one) != len(other):
            return f"has {len(other)} labels here and {len(one)}", 0.0
        if len(one) ** 2 > _MANY_ROWS:  # so many are compared in order
            alike = (np.abs(np.sort(one, axis=0) - np.sort(other, axis=0)) <= NEARLY).all()
            return ("", 1.0) if alike else ("has other boxes or classes here than", 0.0)
        close = (np.abs(one[:, None] - other[None]) <= NEARLY).all(axis=2)
        if close.any(axis=0).all() and close.any(axis=1).all():
            return "", 1.0
        overlap = np.where(one[:, None, 0] == other[None, :, 0], _overlaps(one[:, 1:], other[:, 1:]), 0.0)
        least = float(min(overlap.max(axis=0).min(), overlap.max(axis=1).min()))
        return "has other boxes or classes here than", least


def _overlaps(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, m) IoU of boxes x, y, w, h; 0 for boxes without area."""
    boxes = [np.asarray(part, np.float64) for part in (one[:, None], other[None])]
    low, high = ([box[..., :2] + side * box[..., 2:] / 2 for box in boxes] for side in (-1, 1))
    common = np.clip(np.minimum(*high) - np.maximum(*low), 0, None).prod(axis=2)
    union = boxes[0][..., 2:].prod(axis=2) + boxes[1][..., 2:].prod(axis=2) - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


@rule("SP004", "near-duplicate-across-splits", Severity.WARNING, Effect.ACCEPTS, deep=True)
def near_duplicate_across_splits(table: Table, config: DataConfig) -> Iterator[Hit]:
    """An image of one split looks like one of another, perhaps mirrored, turned, scaled or saved again.

    Why: evaluation on images that were trained on says nothing about new ones.
    Ultralytics: trains and evaluates as told.
    Example: neighbouring frames of a film, or augmented copies of one image, dealt out to train and val.
    Mend: split by film or by original, not by image.
    """
    for pair in _pairs(table, config)[0]:
        if table.split[pair.first] != table.split[pair.second]:
            yield _hit(table, pair.second, pair.first, f"looks like {_named(table, pair.first)}, {_how(pair)}")


@rule("SP005", "near-duplicate-in-split", Severity.INFO, Effect.ACCEPTS, deep=True)
def near_duplicate_in_split(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Two images of one split look alike, perhaps mirrored, turned, scaled or saved again.

    Why: they count twice; if someone labelled both, that work was wasted, and their labels may disagree.
    Ultralytics: trains on both.
    Example: augmented copies that an export wrote to disk, or an image saved again with a caption.
    Mend: nothing if they are meant; else keep the better one.
    """
    pairs, left_out = _pairs(table, config)
    for pair in pairs:
        if table.split[pair.first] == table.split[pair.second]:
            yield _hit(table, pair.second, pair.first, f"looks like {table.files[pair.first]}, {_how(pair)}")
    if left_out:
        folder = str(Path(table.files[0]).parent)
        yield Hit(folder, f"{left_out} images look like so many others that they were compared with some of them only")


def _how(pair: Near) -> str:
    """How two images are alike, in words."""
    from yolo_nanfix.linting.deep import LOOKS

    return f"{LOOKS[pair.turn]} ({pair.alike:.0%} alike)"


@rule("SP006", "val-repeats-train", Severity.ERROR, Effect.ACCEPTS, LABELLED)
def val_repeats_train(table: Table) -> Iterator[Hit]:
    """All images of val are in train, as the same files or as copies.

    Why: mAP, early stopping and the choice of best.pt tell how well images are remembered, not found.
    Ultralytics: trains and evaluates as told.
    Example: `val: images/train`, or a folder copied to get a val split.
    Mend: take images out of train for val.
    """
    val, train = table.splits.get("val"), table.splits.get("train")
    if val is None or train is None or not len(val):
        return
    missing = set(val[~table.among(val, train)].tolist())
    if len(missing) == len(set(val.tolist())) and not _groups(table):
        return
    listed = set(train.tolist())
    for members in _groups(table):
        if listed.intersection(members):
            missing.difference_update(members)
    if not missing:
        folder = str(Path(table.files[int(val[0])]).parent)
        yield Hit(folder, f"all {len(table.members['val'])} images of 'val' are in 'train', too", split="val")


@rule("SP007", "split-without-objects", Severity.ERROR, Effect.GARBAGE, LABELLED)
def split_without_objects(table: Table) -> Iterator[Hit]:
    """The label files of a split hold no row that can be read.

    Why: train without objects teaches that there are none; with such a val, mAP stays 0.
    Ultralytics: warns once and goes on.
    Example: an export that wrote an empty label file for each image.
    Mend: export the labels again.
    """
    rows = table.each > 0
    for split in ("train", "val"):
        listed = table.splits.get(split)
        if listed is not None and len(listed) and table.labelled[listed].any() and not rows[listed].any():
            message = f"{int(table.labelled[listed].sum())} label files of '{split}' hold no object that can be read"
            yield Hit(str(Path(table.labels[int(listed[0])]).parent), message, split=split)


@rule("SP008", "val-tiny", Severity.INFO, Effect.ACCEPTS)
def val_tiny(table: Table) -> Iterator[Hit]:
    """Val has fewer than 30 images although train has 100 and more.

    Why: mAP jumps by some hundredths from run to run, so differences between models are noise.
    Ultralytics: evaluates as told.
    Example: 2 000 images in train and 12 in val.
    Mend: move images from train to val until it has some hundred, or a tenth of all.
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
    Mend: check both entries of data.yaml.
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
