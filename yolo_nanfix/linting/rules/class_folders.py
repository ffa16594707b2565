"""FS and CL on classification datasets: the folders are the labels."""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from yolo_nanfix.dataset.classification import class_of
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import IMAGE_DROPPED
from yolo_nanfix.dataset.index import Survey
from yolo_nanfix.dataset.other_files import suffix_in
from yolo_nanfix.dataset.paths import is_image
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Place, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.file_set import image_hit, some

OF_CLASS_FOLDERS = ("classify",)
FEW_IMAGES = 5
"""A class with fewer training images than this is small."""
TRAIN_SHARE = 0.8
"""The share of each class, rounded down, that Ultralytics copies to train if there is no split."""


def _folder_hit(config: DataConfig, split: str, name: str, says: str, /, **values: Any) -> Hit:
    """A hit on a class folder of a split; on the split itself if the name is empty."""
    return Hit(str(config.splits[split][0] / name), says, split=split, values=values)


def _images_by_class(config: DataConfig, table: Table, split: str, *, read: bool = False) -> Counter[str]:
    """How many images each class has in a split; with `read`, how many that can be read."""
    top, listed = config.splits[split][0], table.splits[split]
    if read:
        listed = listed[(table.fate[listed] & IMAGE_DROPPED) == 0]
    return Counter(class_of(table.files[i], top) for i in listed.tolist())


@rule("FS040", Severity.ERROR, Effect.GARBAGE, OF_CLASS_FOLDERS)
def class_folder_hidden(config: DataConfig) -> Iterator[Hit]:
    """A hidden folder among the class folders counts as a class.

    Why: the model gets an output for it, and every class after it in the alphabet another number.
    Ultralytics: takes each folder in train for a class, hidden and empty ones too; a dot sorts first, so it is class 0.
    Example: train/.ipynb_checkpoints, which Jupyter leaves behind.
    Fix: remove the folder.
    """
    for index, name in config.names.items():
        if name.startswith((".", "__")):
            yield _folder_hit(config, "train", name, "counts as class {index}", index=index)


@rule("FS041", Severity.WARNING, Effect.ACCEPTS, OF_CLASS_FOLDERS)
def class_missing_in_split(config: DataConfig, table: Table) -> Iterator[Hit]:
    """A class has no image in val or test that can be read.

    Why: nothing tells how well it is recognised, and the accuracy is that of the other classes.
    Ultralytics: logs that the split "requires" more classes, and trains.
    Example: train/cat, train/dog and val/cat, but no val/dog.
    Fix: move some images of the class to the split.
    """
    trained = _images_by_class(config, table, "train")
    for split in table.splits:
        if split != "train":
            counts = _images_by_class(config, table, split, read=True)
            missing = [name for name in config.names.values() if trained[name] and not counts[name]]
            if missing:
                says = "no image that can be read of {missing} of {classes} classes: {examples:,}{more:more}"
                yield _folder_hit(config, split, "", says, missing=len(missing), classes=config.nc, **some(missing))


@rule("FS042", Severity.ERROR, Effect.DROPS, OF_CLASS_FOLDERS)
def class_extra_in_split(config: DataConfig, table: Table) -> Iterator[Hit]:
    """Val or test has a class that is not in train.

    Why: its images are left out of the evaluation; often the folder is a misspelt class.
    Ultralytics: skips them ("Skipping 12 samples from classes the model lacks"); old releases give them wrong numbers.
    Example: val/dogs beside train/dog.
    Fix: rename the folder to its class in train, or add the class there.
    """
    known = set(config.names.values())
    for split in table.splits:
        if split != "train":
            for name, count in sorted(_images_by_class(config, table, split).items()):
                if name not in known:
                    says = "the class is not in train; its {images:image is|images are} skipped"
                    yield _folder_hit(config, split, name, says, images=count)


@rule("FS043", Severity.ERROR, Effect.GARBAGE, OF_CLASS_FOLDERS)
def class_folder_empty(config: DataConfig, table: Table) -> Iterator[Hit]:
    """A class folder in train holds no image.

    Why: the model gets an output that nothing trains, and the classes after it other numbers.
    Ultralytics: counts the folder as a class; with torchvision before 0.18 it raises FileNotFoundError.
    Example: train/fox without a file, left over from sorting.
    Fix: put images of the class into it, or remove the folder.
    """
    counts = _images_by_class(config, table, "train")
    for index, name in config.names.items():
        if not counts[name]:
            yield _folder_hit(config, "train", name, "no image; still it is class {index}", index=index)


@rule("FS059", Severity.ERROR, Effect.GARBAGE, OF_CLASS_FOLDERS)
def class_unreadable(config: DataConfig, table: Table) -> Iterator[Hit]:
    """A class has images in train, but none of them can be read.

    Why: the model gets an output that nothing trains: it never finds the class.
    Ultralytics: leaves out the images one by one, and counts the folder as a class.
    Example: train/oak with ten images of 0 bytes after a copy that broke off.
    Fix: copy or download the images of the class again, or remove its folder.
    """
    counts, read = _images_by_class(config, table, "train"), _images_by_class(config, table, "train", read=True)
    for index, name in config.names.items():
        if counts[name] and not read[name]:
            says = "not one of {images:image|images} can be read; still it is class {index}"
            yield _folder_hit(config, "train", name, says, images=counts[name], index=index)


@rule("FS044", Severity.ERROR, Effect.DROPS, OF_CLASS_FOLDERS)
def image_outside_class(config: DataConfig) -> Iterator[Hit]:
    """Images lie in a split, but in no class folder.

    Why: they are not trained on, and nothing says so.
    Ultralytics: never lists them; in its log they count as one class more than there are.
    Example: train/17.jpg beside train/cat/.
    Fix: move them into the folders of their classes.
    """
    for split, paths in config.splits.items():
        try:
            names = sorted(entry.name for entry in os.scandir(paths[0]) if is_image(entry.name) and not entry.is_dir())
        except OSError:
            continue
        if names:
            says = "{images:image|images} in no class folder: {examples:,}{more:more}"
            yield _folder_hit(config, split, "", says, images=len(names), **some(names))


@rule("FS045", Severity.WARNING, Effect.GARBAGE, OF_CLASS_FOLDERS)
def class_folder_nested(config: DataConfig, table: Table) -> Iterator[Hit]:
    """A class folder holds its images in several folders.

    Why: only the first level names the class; what looks like several classes is trained as one.
    Ultralytics: takes all images below a class folder for that class.
    Example: train/animals/cat/1.jpg and train/animals/dog/1.jpg are one class, animals.
    Fix: give each class a folder directly in the split; nothing if the folders below are no classes.
    """
    for split, listed in table.splits.items():
        top = config.splits[split][0]
        start, inner = len(str(top)) + 1, defaultdict(set)
        for i in listed.tolist():
            parts = table.files[i][start:].split(os.sep, 2)
            if len(parts) == 3:
                inner[parts[0]].add(parts[1])
        for name, folders in sorted(inner.items()):
            if len(folders) > 1:
                says = "{folders} folders in one class: {examples:,}{more:more}"
                yield _folder_hit(config, split, name, says, folders=len(folders), **some(sorted(folders)))


@rule("FS046", Severity.FATAL, Effect.CRASHES, OF_CLASS_FOLDERS)
def split_missing(config: DataConfig, table: Table) -> Iterator[Hit]:
    """There is no folder for validation, or none for training.

    Why: without val and test training does not start; where Ultralytics finds a way, a warning.
    Ultralytics: without val it validates on test, and raises without that; without train it copies all images to
        a folder NAME_split beside yours, of each class 80 % to train and the rest to val.
    Example: a folder with train/ alone.
    Fix: move a fifth of the images of each class to val/CLASS.
    """
    if config.splits["train"][0] == config.root:
        yield _unsplit(config, table)
    elif "val" not in config.splits:
        says = "no folder 'val', 'validation' or 'valid': training does not start"
        if "test" in config.splits:
            says = "no folder 'val', 'validation' or 'valid': validation happens on 'test'"
            yield Hit(str(config.root), says, severity=Severity.WARNING, effect=Effect.ACCEPTS)
        else:
            yield Hit(str(config.root), says)


def _unsplit(config: DataConfig, table: Table) -> Hit:
    """A hit on class folders without a split: what Ultralytics makes of them."""
    counts = _images_by_class(config, table, "train")
    trained = {name: int(count * TRAIN_SHARE) for name, count in counts.items()}
    train, total = sum(trained.values()), counts.total()
    says = "no folder 'train'; Ultralytics copies the images to a new folder"
    bare = sorted(name for name, count in trained.items() if not count)
    values = {"train": train, "val": total - train, **some(bare)}
    if not train:
        return Hit(str(config.root), says + ", and all {val} of them to val: training does not start", values=values)
    says += ", {train} for train and {val} for val"
    says += "; none of class {examples:,}{more:more} is trained on" if bare else ""
    return Hit(str(config.root), says, values=values, severity=Severity.WARNING, effect=Effect.ACCEPTS)


@rule("FS047", Severity.ERROR, Effect.GARBAGE, OF_CLASS_FOLDERS)
def class_alone(config: DataConfig) -> Iterator[Hit]:
    """There is only one class.

    Why: the loss is 0 from the first step, the accuracy 100 %, and nothing is learned.
    Ultralytics: trains a model with one output.
    Example: train/cat, and no folder for what is not a cat.
    Fix: add a folder with images of everything else.
    """
    if config.nc == 1:
        yield _folder_hit(config, "train", "", "the only class is {name!r}", name=config.names[0])


@rule("CL040", Severity.WARNING, Effect.ACCEPTS, OF_CLASS_FOLDERS)
def class_few_images(config: DataConfig, table: Table) -> Iterator[Hit]:
    """A class has very few images while others have many.

    Why: the model hardly ever sees it, and a class that it never predicts costs it little.
    Ultralytics: draws images at random; rare classes are not drawn more often.
    Example: 3 images of foxes among 2000 of cats.
    Fix: collect more images of the class, or merge it with another one.
    """
    counts = _images_by_class(config, table, "train")
    most = max(counts.values(), default=0)
    for name, count in sorted(counts.items()):
        if count < FEW_IMAGES and most >= 10 * count:
            says = "{images:training image|training images}; the largest class has {most}"
            yield _folder_hit(config, "train", name, says, images=count, most=most)


@rule("CL041", Severity.ERROR, Effect.GARBAGE, OF_CLASS_FOLDERS)
def image_in_two_classes(config: DataConfig, table: Table) -> Iterator[Hit]:
    """The same image, byte for byte, lies in two classes.

    Why: the two contradict each other; one of them is wrong.
    Ultralytics: trains on both.
    Example: train/cat/7.jpg and train/dog/12.jpg are copies of one file.
    Fix: keep the image in the right class only.
    """
    order = np.argsort(table.content, kind="stable")
    content = table.content[order]
    same = (content[1:] == content[:-1]) & (content[1:] != 0)
    same &= (table.fate[order[1:]] & IMAGE_DROPPED) == 0
    for i in np.flatnonzero(same).tolist():
        one, other = sorted((int(order[i]), int(order[i + 1])))
        names = [class_of(table.files[j], config.splits[table.split_of(j)][0]) for j in (one, other)]
        if names[0] != names[1] and _equal(table.files[one], table.files[other]):
            says, first = "the same file as {other}, which is of class {class!r}", table.files[one]
            hit = image_hit(table, other, says, **{"other": first, "class": names[0]})
            yield hit._replace(related=(Place(first),))


def _equal(one: str, other: str) -> bool:
    """Whether two files hold the same bytes; files that cannot be read are not equal to any."""
    with contextlib.suppress(OSError):
        return filecmp.cmp(one, other, shallow=False)
    return False


@rule("CL042", Severity.WARNING, Effect.ACCEPTS, OF_CLASS_FOLDERS)
def class_folders_alike(config: DataConfig) -> Iterator[Hit]:
    """Two class folders differ only in case, spaces or underscores.

    Why: probably one class was named twice; each is trained as what the other is not.
    Ultralytics: trains two classes.
    Example: train/Cat and train/cat.
    Fix: move the images into one folder.
    """
    first: dict[str, str] = {}
    for name in config.names.values():
        other = first.setdefault("".join(c for c in name.casefold() if c.isalnum()) or name, name)
        if other != name:
            yield _folder_hit(config, "train", name, "differs from {other!r} in spelling only", other=other)


@rule("CL043", Severity.INFO, Effect.ACCEPTS, OF_CLASS_FOLDERS)
def class_numbers_sorted_as_text(config: DataConfig) -> Iterator[Hit]:
    """Class folders are named by numbers, which sort in another order as text.

    Why: the class number in the predictions is not the number of the folder.
    Ultralytics: sorts folder names as text: 0, 1, 10, 11, 2.
    Example: folders 0 to 11; predicted class 2 is folder 10.
    Fix: use `model.names[index]`, or name the folders with leading zeros: 00, 01, ..., 11.
    """
    numbers = [name for name in config.names.values() if name.isascii() and name.isdigit()]
    off = [(i, name) for i, name in config.names.items() if name.isdigit() and str(i) != name.lstrip("0")]
    if len(numbers) == config.nc and numbers != sorted(numbers, key=int):
        says = "{classes} class numbers differ, the first: {index} is folder {folder}"
        yield _folder_hit(config, "train", "", says, classes=len(off), index=off[0][0], folder=off[0][1])


@rule("FS048", Severity.INFO, Effect.ACCEPTS, OF_CLASS_FOLDERS)
def stray_file_in_class(config: DataConfig, survey: Survey) -> Iterator[Hit]:
    """Class folders hold files that are not images.

    Why: usually harmless; if they are labels, the dataset was made for another task.
    Ultralytics: lists only files with the suffix of an image.
    Example: train/cat/1.txt, or a notebook among the images.
    Fix: remove the files, or choose the task that they belong to.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for path in survey.other_files():
        folder, _, name = path.rpartition(os.sep)
        if suffix_in(path) not in ("npy", "db", "ini"):
            found[folder].append(name)
    for folder, names in sorted(found.items()):
        says = "{files:file that is no image|files that are no images}: {examples:,}{more:more}"
        yield Hit(folder, says, values={"files": len(names), **some(sorted(names))})
