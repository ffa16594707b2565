"""Classification datasets: folders of images, `SPLIT/CLASS/*.jpg`, as Ultralytics and torchvision read them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from yolo_nanfix.dataset.config import DataConfig, Layout
from yolo_nanfix.dataset.find_yaml import dataset_yamls, datasets_dir
from yolo_nanfix.dataset.paths import SUFFIX_FORMATS, is_image
from yolo_nanfix.errors import DataError

VAL_FOLDERS = ("val", "validation", "valid")
"""The folders in which Ultralytics looks for the val split, in its order."""
NOT_CLASSES = frozenset((
    "images", "labels", "train", "val", "valid", "validation", "test", "annotations", "jpegimages", "imagesets",
    "masks", "obj_train_data", "obj_validation_data",
))  # fmt: skip
"""Names of folders that belong to datasets of other tasks, in lowercase."""
_TAKEN = re.compile(
    r"(19|20)\d\d([-_. ]?\d\d){1,2}([-_ T.]\S*)?|\d{3}_?[A-Z][A-Z0-9_]{3,5}"
    r"|(cam|camera|session|batch|day|part|seq|sequence|video|clip|flight|visit|site|folder|set|roll)[-_ ]?\d+",
    re.IGNORECASE,
)
"""Names of folders by time, place or camera, which are no classes: dates, `100APPLE`, `cam1`, `batch_2`."""
LOOKED_AT = 50
"""How many folders are searched to tell whether they are classes."""


def read_folder(data: str | Path) -> DataConfig:
    """The classification dataset that `data` means, with its class names.

    The classes are the folders in the train split, sorted, including hidden ones. A folder without `train` is the train
    split itself: Ultralytics would copy its images to a folder beside it and split them there.

    Args:
        data: the folder that holds `train`, or its name in Ultralytics' datasets folder.

    Raises:
        DataError: if it is no folder, cannot be read, or holds no class folders.
    """
    given = str(data).strip()
    if "://" in given or "\0" in given:
        raise DataError(f"'{given}' is no folder; download and unpack the dataset, then give the folder with 'train'")
    root = Path(given)
    if root.is_file():
        raise DataError(f"'{given}' is a file, but a classification dataset is a folder that holds 'train' and 'val'")
    if not root.is_dir():
        root = datasets_dir() / root
    if not root.is_dir():
        raise DataError(f"'{given}' does not exist; a classification dataset is a folder that holds 'train' and 'val'")
    root = root.resolve()
    train = root / "train" if (root / "train").is_dir() else root
    splits = {"train": (train,)}
    if train != root:
        val = next((root / name for name in VAL_FOLDERS if (root / name).is_dir()), None)
        splits |= {name: (path,) for name, path in (("val", val), ("test", root / "test")) if path and path.is_dir()}
    names = class_folders(train)
    if not names:
        raise DataError(f"{train} holds no class folders; images belong into {train / 'CLASS'}")
    return DataConfig(
        yaml_file=root,
        root=root,
        splits=splits,
        names=dict(enumerate(names)),
        nc=len(names),
        raw={"names": names},
        layout=Layout.CLASS_FOLDERS,
    )


def holds_classes(data: str | Path) -> bool:
    """Whether a folder without a yaml holds images sorted into folders of their classes, and no labels beside them.

    In `train` one such folder is enough; without `train` there must be two, and no image beside them. Folders that are
    all named by dates, cameras or numbers of a series are no classes.
    """
    try:
        root = Path(str(data).strip())
        if not root.is_dir() or dataset_yamls(root):
            return False
        train = root / "train" if (root / "train").is_dir() else root
        entries = [entry for entry in train.iterdir() if not entry.name.startswith((".", "__"))]
        classes = [entry for entry in entries if entry.is_dir()]
        if any(entry.name.lower() in NOT_CLASSES for entry in classes):
            return False
        with_images = sum(_holds_images(entry) for entry in classes[:LOOKED_AT])
        if classes and all(_TAKEN.fullmatch(entry.name) for entry in classes):
            return False
        alone = train == root and any(is_image(entry.name) for entry in entries)
    except (OSError, ValueError):
        return False
    return with_images >= (2 if train == root else 1) and 2 * with_images > len(classes[:LOOKED_AT]) and not alone


def _holds_images(folder: Path) -> bool:
    """Whether there are images in a folder or below it, most of them without a label file beside them."""
    for place, _, files in os.walk(folder):
        if os.path.basename(place).lower() in NOT_CLASSES:  # noqa: PTH119
            return False
        images = [file.rpartition(".")[0] for file in files if is_image(file)]
        if images:
            texts = {file[:-4] for file in files if file.endswith(".txt")}
            return 2 * len(texts.intersection(images)) < len(images)
    return False


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in `folder`, sorted, hidden ones and links to folders among them.

    Raises:
        DataError: if the folder cannot be read.
    """
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}") from error


def list_folders(config: DataConfig) -> dict[str, list[str]]:
    """The images in the class folders of each split, at any depth, by class and path.

    Raises:
        DataError: if a split cannot be read.
    """
    return {
        split: [file for name in class_folders(paths[0]) for file in _class_images(f"{paths[0]}", name)]
        for split, paths in config.splits.items()
    }


def _class_images(folder: str, name: str) -> Iterator[str]:
    """The image files in one class folder; links are followed, except to a folder above."""
    found = walk(f"{folder}{os.sep}{name}")
    for place, files in sorted(found.items()):
        for file in sorted(files):
            if file.rpartition(".")[2].lower() in SUFFIX_FORMATS:
                yield f"{place}{os.sep}{file}"


def walk(top: str) -> Mapping[str, list[str]]:
    """For `top` and each folder below the names of its files; links to a folder above are not entered."""
    found: dict[str, list[str]] = {}
    above: dict[str, frozenset[tuple[int, int]]] = {}
    for place, folders, files in os.walk(top, followlinks=True):
        try:
            status = os.stat(place)  # noqa: PTH116 - once a folder, but datasets may have many
        except OSError:
            folders.clear()
            continue
        here, chain = (status.st_dev, status.st_ino), above.get(place.rpartition(os.sep)[0], frozenset())
        if here in chain:
            folders.clear()
            continue
        above[place] = chain | {here}
        found[place] = files
    return found


def class_of(file: str, split: Path) -> str:
    """The class of an image file: the first folder below that of its split."""
    return file[len(str(split)) + 1 :].partition(os.sep)[0]
