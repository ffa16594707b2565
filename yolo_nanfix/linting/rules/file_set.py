"""FS: which files there are, and which belong together."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import Fate
from yolo_nanfix.dataset.images import Image
from yolo_nanfix.dataset.neighbours import Near, find_labels
from yolo_nanfix.dataset.other_files import Census
from yolo_nanfix.dataset.paths import folder_of, is_image
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.causes import Explains
from yolo_nanfix.linting.registry import LABELLED, Hit, rule

Images = tuple[Image, ...]
FEW_BARE, BARE_SHARE = 3, 0.1
"""From so many images without a label file on, and from this share of a split, their labels are looked for."""


def some(paths: Iterable[str]) -> str:
    """The names of the first three files, and how many more there are."""
    names = [Path(path).name for path in paths]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def twins(strays: tuple[str, ...], table: Table, census: Census) -> dict[str, tuple[int, str]]:
    """Label files that would belong to an image if their name were spelt a little otherwise.

    Returns:
        for each such file the image and how the names differ: in `case`, in their `unicode` form, or in a `suffix`.
    """
    suspects = [*strays, *(o.path for o in census.others if o.kind == "file" and o.suffix == "txt")]
    if not suspects:
        return {}
    bare = {_plain(table.labels[i]): int(i) for i in np.flatnonzero(~table.labelled)}
    found = {}
    for path in suspects:
        stem = path[:-4]
        for name, how in ((path, ""), (stem if is_image(stem) else "", "suffix"), (stem, "suffix")):
            image = bare.get(_plain(name if not how else f"{name.rpartition('.')[0]}.txt"))
            if image is not None:
                found[path] = (image, how or _difference(path, table.labels[image]))
                break
    return found


def _plain(path: str) -> str:
    """A path as NFC, in small letters, without blanks around its name and its suffix."""
    folder, slash, name = unicodedata.normalize("NFC", path).rpartition(os.sep)
    stem, dot, suffix = name.strip().lower().rpartition(".")
    return f"{folder}{slash}{stem.strip()}{dot}{suffix}"


def _difference(path: str, wanted: str) -> str:
    """How two paths differ that are the same when plain."""
    one, other = unicodedata.normalize("NFC", path), unicodedata.normalize("NFC", wanted)
    if one == other:
        return "unicode"
    return "case" if one.lower() == other.lower() else "suffix"


@rule("FS001", "image-missing", Severity.ERROR, Effect.DROPS)
def image_missing(unusual: Images) -> Iterator[Hit]:
    """A list names an image that is not there, or a link in a folder leads nowhere.

    Why: the image and all its labels are missing from training.
    Ultralytics: drops the entry with one line in the log.
    Example: train.txt written before images were moved; a link to a disk that is gone.
    Fix: restore the image, or write the list anew.
    """
    for image in unusual:
        if image.header.fault == "missing":
            link = os.path.islink(image.file)  # noqa: PTH114
            message = "a link that leads nowhere" if link else "listed, but there is no such file"
            yield Hit(image.file, message, split=image.split, image=image.file)


@rule("FS002", "label-missing", Severity.INFO, Effect.ACCEPTS, LABELLED)
def label_missing(table: Table) -> Iterator[Hit]:
    """Some images of a split have no label file.

    Why: they are trained as pure background; right if nothing is on them, harmful if their labels got lost.
    Ultralytics: trains on them as background and counts them in the log.
    Example: images/train/7.jpg without labels/train/7.txt.
    Fix: nothing if the images are meant as background; an empty label file says so clearly.
    """
    for split, indices in table.members.items():
        bare = [table.files[i] for i in indices[~table.labelled[indices]]]
        if bare and len(bare) < len(indices):
            message = f"{len(bare)} of {len(indices)} images have no label file: {some(bare)}"
            yield Hit(str(Path(bare[0]).parent), message, split=split)


@rule("FS061", "labels-elsewhere", Severity.WARNING, Effect.GARBAGE, LABELLED)
def labels_elsewhere(table: Table, strays: tuple[str, ...], config: DataConfig) -> Iterator[Hit]:
    """Many images of a split have no label file, and files of their names lie in another folder of the dataset.

    Why: the images are trained as pure background although someone labelled them.
    Ultralytics: replaces the last folder `images` of the path by `labels`, and looks nowhere else.
    Example: half of labels/val was moved to labels/test, which no split names.
    Fix: put the labels where Ultralytics looks for them; nothing if the folder is an old copy.
    """
    for split, chosen in table.members.items():
        bare = chosen[~table.labelled[chosen]]
        if len(bare) < len(chosen) and len(bare) >= max(FEW_BARE, BARE_SHARE * len(chosen)):
            near = _near(table, bare.tolist(), config, strays)
            if near is not None:
                message = f"{len(bare)} of {len(chosen)} images have no label file; {near.said()}"
                values = {"images": len(bare), "folder": near.folder, "matching": near.matching}
                explains = Explains(("FS002",))
                yield Hit(_home(table, split), message, split=split, values=values, explains=explains)


@rule("FS003", "train-unlabelled", Severity.FATAL, Effect.CRASHES, LABELLED)
def train_unlabelled(fates: Mapping[str, Fate], table: Table, config: DataConfig) -> Iterator[Hit]:
    """No image of the train split has a label file.

    Why: there is nothing to learn from; usually the labels are in a place where no one looks.
    Ultralytics: raises ValueError ("No labels found").
    Example: labels beside the folder `images` under another name than `labels`.
    Fix: put the labels where the finding says, one .txt per image.
    """
    fate = fates["train"]
    if fate.kept and not fate.found and table.labelled[table.splits["train"]].any():
        message = f"the images of all label files are left out; the other {fate.kept} images have none"
        yield Hit(_home(table, "train"), f"{message}; training does not start: ValueError", split="train")
    elif fate.kept:
        yield from _unlabelled("train", table, config, "; training does not start: ValueError")


@rule("FS004", "val-unlabelled", Severity.ERROR, Effect.GARBAGE, LABELLED)
def val_unlabelled(table: Table, config: DataConfig) -> Iterator[Hit]:
    """No image of the val split has a label file.

    Why: mAP stays 0, so early stopping and the choice of best.pt work on nothing.
    Ultralytics: warns once and validates against an empty truth.
    Example: val labels in labels/train while the images are in images/val.
    Fix: put the labels where the finding says, one .txt per image.
    """
    yield from _unlabelled("val", table, config)


@rule("FS057", "test-unlabelled", Severity.WARNING, Effect.GARBAGE, LABELLED)
def test_unlabelled(table: Table, config: DataConfig) -> Iterator[Hit]:
    """No image of the test split has a label file.

    Why: an evaluation on the split gives a mAP of 0, whatever the model does.
    Ultralytics: warns once and evaluates against an empty truth.
    Example: `test: images/test` without labels/test.
    Fix: put the labels where the finding says, one .txt per image, or take `test` out of data.yaml.
    """
    yield from _unlabelled("test", table, config)


def _unlabelled(split: str, table: Table, config: DataConfig, so: str = "") -> Iterator[Hit]:
    """A hit if no image of the split is labelled; where its labels lie, if they can be found."""
    chosen = table.members.get(split)
    if chosen is None or not len(chosen) or table.labelled[chosen].any():
        return
    first = int(chosen[0])
    message = f"none of {len(chosen)} images has a label file; the first is looked for at {table.labels[first]}"
    roots, images = [str(config.root), str(config.home)], [table.files[i] for i in chosen.tolist()]
    near = find_labels(images, roots, {table.labels[i] for i in np.flatnonzero(table.labelled).tolist()})
    if near is not None:
        message += f"; {near.said()}"
    values = {"images": len(chosen), "folder": near and near.folder, "matching": near.matching if near else 0}
    yield Hit(_home(table, split), message + so, split=split, values=values)


def _near(table: Table, bare: list[int], config: DataConfig, known: Iterable[str] = ()) -> Near | None:
    """Where the labels of some images lie; those of others, and those that are known, aside."""
    taken = {table.labels[i] for i in np.flatnonzero(table.labelled).tolist()} | set(known)
    return find_labels([table.files[i] for i in bare], [str(config.root), str(config.yaml_file.parent)], taken)


def _home(table: Table, split: str) -> str:
    """The folder of the first image of a split."""
    return str(Path(table.files[int(table.splits[split][0])]).parent)


def _bare_by_stem(table: Table) -> dict[str, int]:
    """The images without a label file, by file stem."""
    return {Path(table.files[i]).stem: int(i) for i in np.flatnonzero(~table.labelled)}


@rule("FS005", "label-orphan", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def label_orphan(strays: tuple[str, ...], table: Table, census: Census) -> Iterator[Hit]:
    """A label file has no image.

    Why: someone labelled an image that is not trained on; it was lost, renamed or put elsewhere.
    Ultralytics: never looks at the file.
    Example: labels/train/8.txt without images/train/8.jpg.
    Fix: restore the image, or remove the label file.
    """
    if not strays:
        return
    bare, folders = _bare_by_stem(table), {folder_of(label) for label in table.labels}
    known = twins(strays, table, census)
    for path in strays:
        if folder_of(path) in folders and Path(path).stem not in bare and path not in known:
            yield Hit(path, "no image belongs to this label file")


@rule("FS006", "label-misplaced", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_misplaced(strays: tuple[str, ...], table: Table) -> Iterator[Hit]:
    """The label file of an image lies where Ultralytics does not look.

    Why: the image is trained as pure background although its objects are labelled.
    Ultralytics: replaces the last folder `images` of the path by `labels`, and looks nowhere else.
    Example: labels/train/5.txt for images/val/5.jpg, or 5.txt beside images/val/5.jpg.
    Fix: move the label file to the place that the finding names.
    """
    bare = _bare_by_stem(table) if strays else {}
    for path in strays:
        image = bare.get(Path(path).stem)
        if image is not None:
            yield Hit(path, f"should be {table.labels[image]}", split=table.split_of(image), image=table.files[image])


@rule("FS007", "label-shared", Severity.WARNING, Effect.ACCEPTS, LABELLED, lasting=True)
def label_shared(table: Table) -> Iterator[Hit]:
    """Two images share one label file.

    Why: they differ only in the suffix; if they show different things, one is trained with wrong boxes.
    Ultralytics: gives both images the same labels.
    Example: a.jpg and a.png with one a.txt.
    Fix: remove one of the two, or rename it and its labels.
    """
    if len(set(table.labels)) == len(table.labels):
        return
    owners: dict[str, int] = {}
    for image, label in enumerate(table.labels):
        first = owners.setdefault(label, image)
        if first != image:
            message = f"shares the label file with {Path(table.files[first]).name}"
            yield Hit(table.files[image], message, split=table.split_of(image), image=table.files[image])


@rule("FS008", "image-repeated", Severity.WARNING, Effect.ACCEPTS)
def image_repeated(table: Table) -> Iterator[Hit]:
    """One image file is met several times in a split.

    Why: it counts several times in training and evaluation; a link to a folder above repeats it 40 times.
    Ultralytics: trains on each occurrence.
    Example: a symbolic link inside images/ that points to images/, or a line that stands twice in train.txt.
    Fix: remove the link or the repeated lines.
    """
    identity = table.identity
    for split, listed in table.splits.items():
        if table.distinct and len(listed) == len(table.members[split]):
            continue
        there = listed[identity[listed] != 0]
        times: dict[int, list[int]] = defaultdict(list)
        for i in there.tolist():
            times[int(identity[i])].append(i)
        for first, *others in times.values():
            if others:
                file = table.files[first]
                yield Hit(file, f"met {len(others) + 1} times in this split", split=split, image=file)


@rule("FS009", "image-in-two-splits", Severity.WARNING, Effect.ACCEPTS)
def image_in_two_splits(table: Table) -> Iterator[Hit]:
    """Train and another split share image files.

    Why: evaluation on images that were trained on says nothing about new ones.
    Ultralytics: trains and evaluates as told.
    Example: `train` and `val` name the same folder.
    Fix: give each split images of its own.
    """
    for split, indices in table.members.items():
        if split == "train":
            continue
        shared = [table.files[i] for i in indices[table.among(indices, table.splits["train"])]]
        if shared:
            message = f"{len(shared)} images of '{split}' are in 'train' too: {some(shared)}"
            yield Hit(str(Path(shared[0]).parent), message, split=split)
