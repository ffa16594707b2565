"""The dataset, read once into frozen values: the image table and the label columns."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.classify import list_folders
from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.deep import Deep, look
from yolo_nanfix.linting.headers import Header, read_header
from yolo_nanfix.linting.label_reader import LabelReader
from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.pixels import Pixels, needs_decoding, read_image, read_npy
from yolo_nanfix.linting.suffixes import SUFFIX_FORMATS
from yolo_nanfix.linting.table import Table

Progress = Callable[[int, int, str], None]
_REPORT_EVERY = 256
_NO_LABELS = ("classes.txt", "labels.txt", "train.txt", "val.txt", "test.txt")


class Image(NamedTuple):
    """One image file, read once however often it is listed.

    Attributes:
        file: its path, as Ultralytics lists it.
        split: the split in which it is met first.
        suffix: in small letters, without the dot.
        label: the path at which Ultralytics looks for its label file.
        labelled: whether that file exists.
        header: what the file says about itself.
        npy: the sibling .npy that is loaded in its place, if there is a current one.
        pixels: what was decoded (the .npy if there is one); None if the header was enough.
        looks: eight perceptual hashes of 64 bits, of the image, mirrored and turned; empty unless images are decoded,
            and 0 where the image shows nothing.
        deep: what decoding the image told; None unless images are decoded, or if this one cannot be.
    """

    file: str
    split: str
    suffix: str
    label: str
    labelled: bool
    header: Header
    npy: str | None
    pixels: Pixels | None
    looks: tuple[int, ...] = ()
    deep: Deep | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset as the rules see it.

    Attributes:
        config: the resolved data.yaml.
        task: `detect`, `segment`, `pose` or `obb`.
        images: all image files, each once.
        splits: for each split the indices of its images, repeated where a file is listed twice.
        labels: the label rows as columns.
        strays: .txt files in the folders of images and labels that are the label file of no image.
    """

    config: DataConfig
    task: str
    images: tuple[Image, ...]
    splits: Mapping[str, tuple[int, ...]]
    labels: Labels
    strays: tuple[str, ...]


def label_path(image: str) -> str:
    """Where Ultralytics looks for labels: the last folder `images` becomes `labels`, the suffix .txt."""
    head, found, tail = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{head}{os.sep}labels{os.sep}{tail}" if found else image
    return path.rpartition(".")[0] + ".txt"


def folder_of(path: str) -> str:
    """The folder part of a path; text handling only, for it is asked for every file."""
    return path.rpartition(os.sep)[0] or "."


def list_images(paths: tuple[Path, ...]) -> list[str]:
    """The image paths that folders and .txt lists name, sorted; repeated where they are named twice.

    Raises:
        DataError: if a list cannot be read as UTF-8 text.
    """
    found: list[str] = []
    for path in paths:
        if path.is_dir():
            found += glob.glob(os.path.join(glob.escape(str(path)), "**", "*.*"), recursive=True)  # noqa: PTH118,PTH207
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig").strip().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a folder and cannot be read as a list of images: {error}") from error
        found += [f"{path.parent}{os.sep}{line[2:]}" if line.startswith("./") else line for line in lines]
    return sorted(f.replace("/", os.sep) for f in found if f.rpartition(".")[2].lower() in SUFFIX_FORMATS)


def read_dataset(config: DataConfig, task: str, progress: Progress | None = None, *, deep: bool = False) -> Dataset:
    """Read all images and labels that `config` names, with `deep` also the pixels; nothing is written.

    Raises:
        DataError: if train or val holds no images, or a list of images cannot be read.
    """
    folders = task == "classify"
    listed = list_folders(config) if folders else {split: list_images(paths) for split, paths in config.splits.items()}
    for split in ("train", "val"):
        if split in listed and not listed[split]:
            where = ", ".join(map(str, config.splits[split]))
            raise DataError(f"{config.yaml_file}: '{split}' names {where}, which holds no images")
    first = {file: split for split in reversed(listed) for file in listed[split]}
    order = {file: i for i, file in enumerate(dict.fromkeys(f for files in listed.values() for f in files))}
    reader, siblings = LabelReader(task, config.kpt_shape), _NpyFiles()
    images: list[Image] = []
    seen: dict[str, bool] = {}
    verbosity = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)  # the decoders print what the findings say
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for i, file in enumerate(order):
                if progress is not None and i % _REPORT_EVERY == 0:
                    progress(i, len(order), "images")
                label = "" if folders else label_path(file)
                if label not in seen:
                    seen[label] = reader.read(label, i)
                images.append(_read_image(file, first[file], label, seen[label], config.channels, siblings, deep))
    finally:
        cv2.utils.logging.setLogLevel(verbosity)
    if progress is not None:
        progress(len(order), len(order), "images")
    splits = {split: tuple(order[file] for file in files) for split, files in listed.items()}
    strays = () if folders else _strays(config, images)
    return Dataset(config, task, tuple(images), splits, reader.finish(), strays)


def tabulate(dataset: Dataset) -> Table:
    """The columns of a dataset that was read whole."""
    images, labels = dataset.images, dataset.labels
    names = tuple(dataset.splits)
    number = {name: i for i, name in enumerate(names)}
    owner = np.array([file.image for file in labels.files], np.int32)
    polygons = np.zeros(len(images), np.bool_)
    polygons[[file.image for file in labels.files if file.polygons]] = True
    return Table(
        files=tuple(image.file for image in images),
        labels=tuple(image.label for image in images),
        split_names=names,
        split=np.array([number[image.split] for image in images], np.int8),
        splits={name: np.array(listed, np.int32) for name, listed in dataset.splits.items()},
        labelled=np.array([image.labelled for image in images], np.bool_),
        size=np.array([image.header.size for image in images], np.int64),
        inode=np.array([image.header.inode for image in images], np.int64).reshape(-1, 2),
        width=np.array([image.header.width for image in images], np.int32),
        height=np.array([image.header.height for image in images], np.int32),
        content=np.array([image.header.content for image in images], np.uint64),
        looks=np.array([image.looks for image in images if image.looks], np.uint64).reshape(-1, 8),
        polygons=polygons,
        npy=np.array([_npy_kind(image) for image in images], np.int8),
        row_image=owner[labels.file] if len(labels.file) else np.zeros(0, np.int32),
        row_line=labels.line,
        row_cls=labels.cls,
        row_box=labels.box,
    )


def _npy_kind(image: Image) -> int:
    """1 for a .npy of the image's size and of 8 bits, 2 for any other, 0 for none."""
    if image.npy is None:
        return 0
    return 1 if npy_difference(image) == "" else 2


def npy_difference(image: Image) -> str | None:
    """How the usable array beside an image differs from it: empty if not at all, None if it is unusable."""
    pixels, header = image.pixels, image.header
    if pixels is None or not pixels.dtype or pixels.dtype == "uint16":
        return None
    if sorted(pixels.shape[:2]) != sorted((header.width, header.height)):
        return f"is {pixels.shape[1]}x{pixels.shape[0]}, not {header.width}x{header.height}"
    return "" if pixels.dtype == "uint8" else f"holds {pixels.dtype}"


def _strays(config: DataConfig, images: list[Image]) -> tuple[str, ...]:
    """The .txt files beside images and labels that are neither a label file of an image nor a known list."""
    known = {image.label for image in images} | {str(path) for paths in config.splits.values() for path in paths}
    folders = {folder_of(image.label) for image in images} | {folder_of(image.file) for image in images}
    found = []
    for folder in sorted(folders):
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".txt"))
        except (OSError, ValueError):
            continue
        paths = (f"{folder}{os.sep}{name}" for name in names if not _no_label(name))
        found += [path for path in paths if path not in known]
    return tuple(found)


def _no_label(name: str) -> bool:
    """Whether a .txt is one of those that tools put beside labels: lists of classes or images, a readme."""
    return name in _NO_LABELS or name.lower().startswith("readme")


class _NpyFiles:
    """The .npy files in each folder, listed once a folder."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}

    def beside(self, file: str, header: Header) -> str | None:
        """The .npy that Ultralytics loads in place of `file`: same stem, not older."""
        folder, _, name = file.rpartition(os.sep)
        if folder not in self._folders:
            try:
                self._folders[folder] = frozenset(p.name for p in Path(folder).glob("*.npy"))
            except (OSError, ValueError):
                self._folders[folder] = frozenset()
        npy = name.rpartition(".")[0] + ".npy"
        if npy not in self._folders[folder]:
            return None
        path = f"{folder}{os.sep}{npy}" if folder else npy
        try:
            return path if Path(path).stat().st_mtime_ns >= header.mtime_ns else None
        except OSError:
            return None


def _read_image(
    file: str, split: str, label: str, labelled: bool, channels: int, siblings: _NpyFiles, deep: bool
) -> Image:
    """Header, sibling and, where needed, pixels of one image."""
    suffix = file.rpartition(".")[2].lower()
    header = read_header(file)
    npy = pixels = seen = None
    looks: tuple[int, ...] = (0,) * 8 if deep else ()
    if header.fault in ("", "trailing"):
        npy = siblings.beside(file, header) if label else None  # of classification sets no .npy is loaded
        if npy is not None:
            pixels = read_npy(npy)
        if deep:
            seen, looks, decoded = look(file, suffix, header, channels)
            pixels = pixels or decoded
        elif npy is None and needs_decoding(suffix, header, channels):
            pixels = read_image(file, suffix, channels)
    return Image(file, split, suffix, label, labelled, header, npy, pixels, looks, seen)
