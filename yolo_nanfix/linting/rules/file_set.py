"""FS: images, labels and arrays: what is missing, misplaced or shared, and whether training can start."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import DROPPED, IMAGE_DROPPED, Fates
from yolo_nanfix.dataset.images import Image, npy_differs
from yolo_nanfix.dataset.index import Survey
from yolo_nanfix.dataset.other_files import suffix_in
from yolo_nanfix.dataset.paths import folder_of, is_image
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.dataset.unlisted import find_labels
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import LABELLED, Hit, rule

FEW_BARE, BARE_SHARE = 3, 0.1
"""If this many images of a split, and this share, have no label file, their labels are looked for."""
_NO_START = "; training does not start: {error}"
TRAINED = ("train", "val")
"""The splits that are scanned before the first step."""


def some(paths: Iterable[str]) -> dict[str, Any]:
    """The names of the first three files, and how many more there are: the values `examples` and `more`."""
    names = [Path(path).name for path in paths]
    return {"examples": tuple(names[:3]), "more": max(0, len(names) - 3)}


def image_hit(table: Table, image: int, says: str, file: str = "", /, **values: Any) -> Hit:
    """A hit on an image of the table, or on a file that belongs to it."""
    path = table.files[image]
    return Hit(file or path, says, split=table.split_of(image), image=path, values=values)


def home_of(table: Table, split: str) -> str:
    """The folder of the first image of a split."""
    return str(Path(table.files[int(table.splits[split][0])]).parent)


def twins(survey: Survey, table: Table) -> dict[str, tuple[int, str]]:
    """Label files that would belong to an image if their names differed a little.

    Returns:
        for each such file the image and how the names differ: in `case`, in their `unicode` form, or in a `suffix`.
    """
    suspects = [*survey.strays, *(p for p, kind in survey.others.items() if kind == "file" and suffix_in(p) == "txt")]
    if not suspects:
        return {}
    bare = {_normal_path(table.labels[i]): int(i) for i in np.flatnonzero(~table.labelled)}
    found = {}
    for path in suspects:
        stem = path[:-4]
        for name, how in ((path, ""), (stem if is_image(stem) else "", "suffix"), (stem, "suffix")):
            image = bare.get(_normal_path(name if not how else f"{name.rpartition('.')[0]}.txt"))
            if image is not None:
                found[path] = (image, how or _difference(path, table.labels[image]))
                break
    return found


def _normal_path(path: str) -> str:
    """A path in Unicode form NFC, its name in lowercase, without spaces around stem and suffix."""
    folder, slash, name = unicodedata.normalize("NFC", path).rpartition(os.sep)
    stem, dot, suffix = name.strip().lower().rpartition(".")
    return f"{folder}{slash}{stem.strip()}{dot}{suffix}"


def _difference(path: str, wanted: str) -> str:
    """How two paths differ that `_normal_path` makes equal."""
    one, other = unicodedata.normalize("NFC", path), unicodedata.normalize("NFC", wanted)
    if one == other:
        return "unicode"
    return "case" if one.lower() == other.lower() else "suffix"


@rule("FS001", Severity.ERROR, Effect.DROPS)
def image_missing(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """A list names an image that does not exist, or a link in a folder leads nowhere.

    Why: the image and all its labels are missing from training.
    Ultralytics: drops the entry with one line in the log.
    Example: train.txt written before images were moved; a link to a disk that is gone.
    Fix: restore the image, or write the list again.
    """
    for image in unusual:
        if image.header.fault == "missing":
            link = os.path.islink(image.file)  # noqa: PTH114
            says = "a link that leads nowhere" if link else "listed, but there is no such file"
            yield Hit(image.file, says, split=image.split, image=image.file, values={"link": link})


@rule("FS002", Severity.INFO, Effect.ACCEPTS, LABELLED)
def label_missing(table: Table) -> Iterator[Hit]:
    """Some images of a split have no label file.

    Why: they are trained as pure background: right if nothing is on them, harmful if their labels got lost.
    Ultralytics: trains on them as background and counts them in the log.
    Example: images/train/7.jpg without labels/train/7.txt.
    Fix: nothing if the images are meant as background; an empty label file makes that clear.
    """
    for split, indices in table.members.items():
        bare = [table.files[i] for i in indices[~table.labelled[indices]]]
        if bare and len(bare) < len(indices):
            says = "{bare} of {images} images have no label file: {examples:,}{more:more}"
            values = {"bare": len(bare), "images": len(indices), **some(bare)}
            yield Hit(str(Path(bare[0]).parent), says, split=split, values=values)


@rule("FS061", Severity.WARNING, Effect.GARBAGE, LABELLED)
def labels_elsewhere(table: Table, survey: Survey, config: DataConfig) -> Iterator[Hit]:
    """Many images of a split have no label file, and files with their names lie in another folder of the dataset.

    Why: the images are trained as pure background although someone labelled them.
    Ultralytics: replaces the last folder `images` of the path by `labels`, and looks nowhere else.
    Example: half of labels/val was moved to labels/test, which no split names.
    Fix: put the labels where Ultralytics looks for them; nothing if the folder is an old copy.
    """
    for split, chosen in table.members.items():
        bare = chosen[~table.labelled[chosen]]
        if len(bare) < len(chosen) and len(bare) >= max(FEW_BARE, BARE_SHARE * len(chosen)):
            near = _labels_near(table, bare.tolist(), config, survey.strays)
            if near:
                says = "{bare} of {images} images have no label file" + _near_says(near)
                values = {"bare": len(bare), "images": len(chosen), **near}
                yield Hit(home_of(table, split), says, split=split, values=values, explains=("FS002",))


@rule("FS003", Severity.FATAL, Effect.CRASHES, LABELLED)
def train_unlabelled(fates: Fates, table: Table, config: DataConfig) -> Iterator[Hit]:
    """No image of the train split has a label file.

    Why: there is nothing to learn from; usually the labels are where Ultralytics does not look.
    Ultralytics: raises ValueError ("No labels found").
    Example: labels beside the folder `images` under another name than `labels`.
    Fix: put the labels where the finding says, one .txt per image.
    """
    fate = fates["train"]
    if fate["kept"] and not fate["found"] and table.labelled[table.splits["train"]].any():
        says = "the images of all label files are left out; the other {images:image has|images have} none" + _NO_START
        values = {"images": fate["kept"], "error": "ValueError"}
        yield Hit(home_of(table, "train"), says, split="train", values=values)
    elif fate["kept"]:
        yield from _without_labels("train", table, config, "ValueError")


@rule("FS004", Severity.ERROR, Effect.GARBAGE, LABELLED)
def val_unlabelled(table: Table, config: DataConfig) -> Iterator[Hit]:
    """No image of the val split has a label file.

    Why: mAP stays 0, so early stopping and the choice of best.pt are meaningless.
    Ultralytics: warns once and validates against no objects.
    Example: val labels in labels/train while the images are in images/val.
    Fix: put the labels where the finding says, one .txt per image.
    """
    yield from _without_labels("val", table, config)


@rule("FS057", Severity.WARNING, Effect.GARBAGE, LABELLED)
def test_unlabelled(table: Table, config: DataConfig) -> Iterator[Hit]:
    """No image of the test split has a label file.

    Why: an evaluation on the split gives a mAP of 0, whatever the model does.
    Ultralytics: warns once and evaluates against no objects.
    Example: `test: images/test` without labels/test.
    Fix: put the labels where the finding says, one .txt per image, or take `test` out of data.yaml.
    """
    yield from _without_labels("test", table, config)


def _without_labels(split: str, table: Table, config: DataConfig, error: str = "") -> Iterator[Hit]:
    """A hit if no image of the split has labels; it says where they lie, if they can be found.

    Args:
        split: the split.
        table, config: the dataset.
        error: what Ultralytics raises at start.
    """
    chosen = table.members.get(split)
    if chosen is None or not len(chosen) or table.labelled[chosen].any():
        return
    first = int(chosen[0])
    says = "none of {images} images has a label file; the first is looked for at {wanted}"
    roots, images = [str(config.root), str(config.home)], [table.files[i] for i in chosen.tolist()]
    near = find_labels(images, roots, {table.labels[i] for i in np.flatnonzero(table.labelled).tolist()})
    says += _near_says(near) if near else ""
    says += _NO_START if error else ""
    values = {
        "images": len(chosen),
        "wanted": table.labels[first],
        "folder": None,
        "matching": 0,
        **near,
        "error": error,
    }
    yield Hit(home_of(table, split), says, split=split, values=values)


def _near_says(near: Mapping[str, Any]) -> str:
    """The format text about where labels were found, for the values of `find_labels`."""
    says = "; {folder} holds {files} .txt files, {matching} of them named as these images"
    if near["capitals"]:
        says += ": only 'images' and 'labels' in lowercase are known; rename {capitals:,}"
    elif near["nameless"]:
        says += ": the images lie in no folder 'images', which would be replaced by 'labels'"
    says += ": the labels lack the folders in which the images lie" if near["above"] else ""
    more = "; {repeated:name is|names are} of several images each, so it is not known whose labels they are"
    return says + (more if near["repeated"] else "")


def _labels_near(table: Table, bare: list[int], config: DataConfig, known: Iterable[str] = ()) -> dict[str, Any]:
    """Where the labels of some images lie, without label files of other images and known ones."""
    taken = {table.labels[i] for i in np.flatnonzero(table.labelled).tolist()} | set(known)
    return find_labels([table.files[i] for i in bare], [str(config.root), str(config.yaml_file.parent)], taken)


def _bare_by_stem(table: Table) -> dict[str, int]:
    return {Path(table.files[i]).stem: int(i) for i in np.flatnonzero(~table.labelled)}


@rule("FS005", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def label_orphan(survey: Survey, table: Table) -> Iterator[Hit]:
    """A label file has no image.

    Why: someone labelled an image that is not trained on: it was lost, renamed or moved.
    Ultralytics: never reads the file.
    Example: labels/train/8.txt without images/train/8.jpg.
    Fix: restore the image, or remove the label file.
    """
    if not survey.strays:
        return
    bare, folders = _bare_by_stem(table), {folder_of(label) for label in table.labels}
    known = twins(survey, table)
    for path in survey.strays:
        if folder_of(path) in folders and Path(path).stem not in bare and path not in known:
            yield Hit(path, "no image belongs to this label file")


@rule("FS006", Severity.ERROR, Effect.GARBAGE, LABELLED)
def label_misplaced(survey: Survey, table: Table) -> Iterator[Hit]:
    """The label file of an image lies where Ultralytics does not look.

    Why: the image is trained as pure background although its objects are labelled.
    Ultralytics: replaces the last folder `images` of the path by `labels`, and looks nowhere else.
    Example: labels/train/5.txt for images/val/5.jpg, or 5.txt beside images/val/5.jpg.
    Fix: move the label file to the path that the finding names.
    """
    bare = _bare_by_stem(table) if survey.strays else {}
    for path in survey.strays:
        image = bare.get(Path(path).stem)
        if image is not None:
            yield image_hit(table, image, "should be {wanted}", path, wanted=table.labels[image])


@rule("FS007", Severity.WARNING, Effect.ACCEPTS, LABELLED)
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
            yield image_hit(table, image, "shares the label file with {other!n}", other=table.files[first])


@rule("FS008", Severity.WARNING, Effect.ACCEPTS)
def image_repeated(table: Table) -> Iterator[Hit]:
    """One image file occurs several times in a split.

    Why: it counts several times in training and evaluation; a link to a folder above repeats it 40 times.
    Ultralytics: trains on each occurrence.
    Example: a symbolic link inside images/ that points to images/, or a repeated line in train.txt.
    Fix: remove the link or the repeated lines.
    """
    identity = table.identity
    for split, listed in table.splits.items():
        if table.distinct and len(listed) == len(table.members[split]):
            continue
        times: dict[int, list[int]] = defaultdict(list)
        for i in listed[identity[listed] != 0].tolist():
            times[int(identity[i])].append(i)
        for first, *others in times.values():
            if others:
                file = table.files[first]
                says, values = "{times} times in this split", {"times": len(others) + 1}
                yield Hit(file, says, split=split, image=file, values=values)


@rule("FS009", Severity.WARNING, Effect.ACCEPTS)
def image_in_two_splits(table: Table) -> Iterator[Hit]:
    """Train and another split share image files.

    Why: evaluation on images seen in training says nothing about new ones.
    Ultralytics: trains and evaluates as configured.
    Example: `train` and `val` name the same folder.
    Fix: put each image into one split only.
    """
    for split, indices in table.members.items():
        if split == "train":
            continue
        shared = [table.files[i] for i in indices[table.among(indices, table.splits["train"])]]
        if shared:
            says = "'train' holds {images:image|images} of '{split}', too: {examples:,}{more:more}"
            values = {"images": len(shared), "split": split, **some(shared)}
            yield Hit(str(Path(shared[0]).parent), says, split=split, values=values)


@rule("FS010", Severity.INFO, Effect.ACCEPTS)
def npy_replaces_image(table: Table) -> Iterator[Hit]:
    """There are arrays of the same size beside the images.

    Why: they are loaded in place of the images; editing an image with a tool that keeps its date has no effect.
    Ultralytics: loads x.npy instead of x.jpg unless it is older; `cache="disk"` writes such files.
    Example: x.npy beside x.jpg, left by an earlier run.
    Fix: delete the .npy files if the images changed since.
    """
    folders: dict[tuple[str, str], list[str]] = defaultdict(list)
    for image in np.flatnonzero(table.npy == 1).tolist():
        file = table.files[image]
        folders[folder_of(file), table.split_of(image)].append(file.rpartition(".")[0] + ".npy")
    for (folder, split), files in folders.items():
        says = "{arrays} .npy files are loaded in place of images: {examples:,}{more:more}"
        yield Hit(folder, says, split=split, values={"arrays": len(files), **some(files)})


@rule("FS011", Severity.ERROR, Effect.GARBAGE)
def npy_unlike_image(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """The array beside an image differs from it in size or type.

    Why: the array is trained on in place of the image, with the labels of the image.
    Ultralytics: loads x.npy instead of x.jpg unless it is older.
    Example: a mask or depth map saved as x.npy beside x.jpg.
    Fix: move arrays that are no images out of the image folder.
    """
    for image in unusual:
        if image.npy is not None and image.pixels is not None and npy_differs(image):
            pixels, header = image.pixels, image.header
            sizes = (pixels.shape[1], pixels.shape[0]), (header.width, header.height)
            says = "is loaded in place of {image!n}, but is {array[0]}x{array[1]}, not {size[0]}x{size[1]}"
            if sorted(sizes[0]) == sorted(sizes[1]):
                says = "is loaded in place of {image!n}, but holds {dtype}"
            values = {"image": image.file, "array": sizes[0], "size": sizes[1], "dtype": pixels.dtype}
            yield Hit(image.npy, says, split=image.split, image=image.file, values=values)


@rule("FS012", Severity.WARNING, Effect.REWRITES, autofix=unsafe(Operation.QUARANTINE))
def npy_unusable(unusual: tuple[Image, ...], config: DataConfig) -> Iterator[Hit]:
    """The array beside an image cannot serve as its pixels.

    Why: a file of yours that only happens to have that name is lost.
    Ultralytics: deletes a .npy it cannot read, and overwrites one with other channels or of type uint16.
    Example: x.npy with one channel beside x.jpg in a set of 3 channels.
    Fix: move arrays that are no images out of the image folder.
    """
    for image in unusual:
        pixels = image.pixels
        if image.npy is None or pixels is None:
            continue
        says = "cannot be used ({reason}) and will be deleted or overwritten"
        values: dict[str, Any] = {"reason": pixels.reason}
        if pixels.dtype:
            says = "has {channels:channel|channels} of {dtype} and will be deleted or overwritten"
            values = {"channels": pixels.shape[2], "dtype": pixels.dtype}
        if pixels.dtype in ("", "uint16") or pixels.shape[2] != config.channels:
            yield Hit(image.npy, says, split=image.split, image=image.file, values=values)


@rule("FS055", Severity.FATAL, Effect.CRASHES)
def split_unusable(fates: Fates, table: Table, task: str) -> Iterator[Hit]:
    """No image of train, or of val, can be used.

    Why: training does not start.
    Ultralytics: drops each image with a line in the log, then raises RuntimeError ("No valid images found"), for
        class folders FileNotFoundError ("No images found in 'val' split").
    Example: a pose dataset whose rows hold boxes without keypoints, or images of 0 bytes.
    Fix: look at the findings in the images and label files of the split; mostly they have one cause.
    """
    for split in TRAINED:
        if split in fates and fates[split]["images"] and not fates[split]["kept"]:
            error = "FileNotFoundError" if task == "classify" else "RuntimeError"
            yield _unusable(table, fates[split]["images"], split, error)


@rule("FS056", Severity.WARNING, Effect.CRASHES)
def test_unusable(fates: Fates, table: Table) -> Iterator[Hit]:
    """No image of test can be used.

    Why: training runs, but the model cannot be evaluated on the split.
    Ultralytics: raises RuntimeError ("No valid images found") as soon as `split=test` is asked for.
    Example: test images of 0 bytes after a copy that broke off.
    Fix: look at the findings in the images and label files of the split; mostly they have one cause.
    """
    if "test" in fates and fates["test"]["images"] and not fates["test"]["kept"]:
        yield _unusable(table, fates["test"]["images"], "test")


@rule("FS058", Severity.FATAL, Effect.CRASHES, ("segment", "obb"))
def set_of_boxes(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """All label files hold plain boxes, and the task needs polygons.

    Why: training does not start; the set is one for detection, or was exported as boxes.
    Ultralytics: raises ValueError ("requires equal numbers of boxes and segments").
    Example: a detection dataset that is linted or trained with the task segment.
    Fix: train the task detect, or export the labels again as polygons (for obb: as four corners).
    """
    rows = np.flatnonzero((table.lines > 0) & table.labelled & ((table.fate & DROPPED) == 0))
    if len(rows) > 1 and not table.polygons.any():
        says = "all {files} label files with objects hold boxes of 5 columns, no polygon: the task is not {task}"
        values = {"files": len(rows), "task": task, "error": "ValueError"}
        yield Hit(str(config.yaml_file), says + _NO_START, values=values, explains=("TX009",))


def _unusable(table: Table, images: int, split: str, error: str = "") -> Hit:
    """A hit on a split of which no image can be used: for its images or for its labels.

    Args:
        table: the dataset.
        images: how many the split has.
        split: its name.
        error: what Ultralytics raises at start.
    """
    listed = table.splits[split]
    refused = int(((table.fate[listed] & IMAGE_DROPPED) != 0).sum())
    values = {
        "images": images,
        "split": split,
        "refused": refused,
        "labels": len(listed) - refused,
        "error": error,
    }
    says = "not one of the {images} images of '{split}' can be used: "
    says += "{refused:image file is|image files are} refused" if refused else ""
    says += " and " if 0 < refused < len(listed) else ""
    says += "the label files of {labels} are refused" if refused < len(listed) else ""
    return Hit(home_of(table, split), says + _NO_START if error else says, split=split, values=values)
