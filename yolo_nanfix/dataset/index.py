"""The files of a dataset before any of them is read: paths, splits, and stamps that show which have changed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset import bounded
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.listing import Folders, list_images
from yolo_nanfix.dataset.other_files import find_others, is_hidden, suffix_in
from yolo_nanfix.dataset.paths import NO_LABELS, by_folder, folder_of, label_path
from yolo_nanfix.errors import DataError

_SIZE, _MTIME, _INODE = 0, 1, 3
"""Positions in a stamp."""
TEXTS = ("files", "labels", "split_names", "strays", "label_folders", "empty", "caches")
"""What a survey has of paths and names."""


@dataclass(frozen=True)
class Survey:
    """N images, each once however often it is listed.

    Attributes:
        files: their paths, as Ultralytics lists them.
        labels: where Ultralytics looks for the label file of each; empty for classification.
        split_names: the splits, in order.
        split: (N,) int8, the split (by number) in which an image is met first.
        splits: for each split the indices of its images, repeated where a file is listed twice.
        owns: (N,) bool, whether it is the first image of that label file, for which the file is read.
        rows: (N, 3) int64, the rows of `listed` of image, label file and .npy; 0 for what does not exist.
        listed: (M, 5) int64, the stamps of all files in the folders, in the order of listing; the first is `NO_FILE`.
        strays: .txt files in the folders of images and labels that are the label file of no image.
        label_folders: the folders in which Ultralytics looks for labels, as far as they are not image folders.
        others: what else lies in the folders of images and labels, and hidden files whatever their suffix; path ->
            `file`, `folder`, `link` (to a folder), `loop` (a link to a folder above) or `broken` (a link that leads
            nowhere).
        empty: the folders among all these that hold nothing.
        caches: Ultralytics' caches of the label folders that exist.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    split_names: tuple[str, ...]
    split: NDArray[np.int8]
    splits: Mapping[str, NDArray[np.int32]]
    owns: NDArray[np.bool_]
    rows: NDArray[np.int64]
    listed: NDArray[np.int64]
    strays: tuple[str, ...]
    label_folders: tuple[str, ...]
    others: Mapping[str, str]
    empty: tuple[str, ...]
    caches: tuple[str, ...]

    def other_files(self, *suffixes: str) -> list[str]:
        """Those of the others that are files, not hidden, with one of some suffixes in lowercase; none: with any."""
        files = (path for path, kind in self.others.items() if kind == "file" and not is_hidden(path))
        return [path for path in files if not suffixes or suffix_in(path) in suffixes]

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,) bool, whether the label file exists."""
        return self._exist(self.rows[:, 1])

    def npys(self, images: NDArray[np.int64]) -> list[str | None]:
        """For each of some images the .npy that Ultralytics loads in its place: same stem, not older."""
        row = self.rows[images, 2]
        if not row.any():
            return [None] * len(images)
        npy, own = self.listed[row, _MTIME], self.listed[self.rows[images, 0], _MTIME]
        loaded = (self._exist(row) & (npy >= own)).tolist()
        files = (self.files[i] for i in images.tolist())
        return [f"{f.rpartition('.')[0]}.npy" if newer else None for f, newer in zip(files, loaded, strict=True)]

    def _exist(self, row: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether stamps are those of regular files, which may have the time 0, as from reproducible archives."""
        regular = (self.listed[row, _MTIME] != 0) | (self.listed[row, _INODE] != 0)
        return np.asarray((row != 0) & regular, np.bool_)

    def stamps(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, 5), the stamps of some images."""
        return np.asarray(self.listed[self.rows[images, 0]])

    def sizes(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,), the bytes of the label files of some images."""
        return np.asarray(self.listed[self.rows[images, 1], _SIZE])


def survey(
    config: DataConfig, folders: Folders, task: str = "detect", listed: Mapping[str, Sequence[str]] | None = None
) -> Survey:
    """List a dataset.

    Args:
        config: the resolved data.yaml.
        folders: those that were listed already.
        task: for which it is labelled.
        listed: the images of each split of a classification dataset, which has no label files; None: by `config`.

    Raises:
        DataError: train or val holds no images, or a list of images cannot be read.
    """
    yolo = listed is None
    lists = listed or {name: list_images(paths, folders, config.lists) for name, paths in config.splits.items()}
    for name in ("train", "val"):
        if name in lists and not lists[name] and config.splits[name] and not _too_long(config.splits[name]):
            where = ", ".join(map(str, config.splits[name]))
            raise DataError(f"{config.yaml_file}: '{name}' names {where}, which holds no images")
    files, split, splits = _numbered(lists)
    labels, rows, homes = _located(files, folders) if yolo else _unlabelled(files, folders)
    owns = np.ones(len(files), np.bool_)
    if len(set(labels)) < len(labels):
        owns[:] = False
        owns[list(dict(zip(reversed(labels), range(len(files) - 1, -1, -1), strict=True)).values())] = True
    return Survey(
        files=files,
        labels=labels,
        split_names=tuple(lists),
        split=split,
        splits=splits,
        owns=owns,
        rows=rows,
        listed=folders.stamps(),
        strays=_strays(config, labels, rows[:, 1], folders, homes) if yolo else (),
        **find_others(config, files, task, folders),
    )


def _too_long(paths: Sequence[Path]) -> bool:
    """Whether there is a list among some paths that is too long to be read."""
    return any(path.is_file() and bounded.excess(path) is not None for path in paths)


def _numbered(
    lists: Mapping[str, Sequence[str]],
) -> tuple[tuple[str, ...], NDArray[np.int8], dict[str, NDArray[np.int32]]]:
    """The files of all lists, each once; the list in which each is met first; and each list as numbers of files."""
    listed = [file for files in lists.values() for file in files]
    order = dict.fromkeys(listed)
    counts = [len(files) for files in lists.values()]
    split = np.repeat(np.arange(len(counts), dtype=np.int8), counts)
    if len(order) == len(listed):
        numbers = np.arange(len(listed), dtype=np.int32)
    else:
        place = dict(zip(order, range(len(order)), strict=True))
        numbers = np.fromiter(map(place.__getitem__, listed), np.int32, len(listed))
        split = split[np.unique(numbers, return_index=True)[1]]
    parts = np.split(numbers, np.cumsum(counts)[:-1])
    return tuple(order), split, dict(zip(lists, parts, strict=True))


def _located(files: Sequence[str], folders: Folders) -> tuple[tuple[str, ...], NDArray[np.int64], set[str]]:
    """The label files of images, the rows of the stamps of both, and their folders."""
    labels: list[str] = []
    rows = np.zeros((len(files), 3), np.int64)
    homes: set[str] = set()
    for head, names in by_folder(files):
        here = slice(len(labels), len(labels) + len(names))
        stems = [name[: name.rfind(".")] for name in names]
        texts = [f"{stem}.txt" for stem in stems]
        beside = label_path(f"{head}x.jpg").removesuffix("x.txt")
        labels += [beside + text for text in texts]
        folder, labelled = folder_of(head), folder_of(beside)
        rows[here, 0], rows[here, 1] = folders.rows(folder, names), folders.rows(labelled, texts)
        if any(name.endswith(".npy") for name in folders.names(folder)):
            rows[here, 2] = folders.rows(folder, [f"{stem}.npy" for stem in stems])
        homes |= {folder, labelled}
    return tuple(labels), rows, homes


def _unlabelled(files: Sequence[str], folders: Folders) -> tuple[tuple[str, ...], NDArray[np.int64], set[str]]:
    """The same for images without label files."""
    rows = np.zeros((len(files), 3), np.int64)
    rows[:, 0] = [row for head, names in by_folder(files) for row in folders.rows(folder_of(head), names)]
    return ("",) * len(files), rows, set()


def _strays(
    config: DataConfig, labels: Sequence[str], rows: NDArray[np.int64], folders: Folders, homes: set[str]
) -> tuple[str, ...]:
    """The .txt files beside images and labels that are neither a label file of an image nor a known list."""
    texts = {folder: [name for name in folders.names(folder) if name[-4:] == ".txt"] for folder in homes}
    if sum(map(len, texts.values())) == np.count_nonzero(np.unique(rows)):
        return ()  # as many as there are label files of images
    known = set(labels) | {str(path) for paths in config.splits.values() for path in paths}
    found: list[str] = []
    for folder, names in texts.items():
        strays = {f"{folder}{os.sep}{name}" for name in names} - known
        found += [path for path in strays if not _no_label(path.rpartition(os.sep)[2])]
    return tuple(sorted(found))


def _no_label(name: str) -> bool:
    """Whether a .txt is one of those that tools put beside labels: lists of classes or images, a readme."""
    return name in NO_LABELS or name.lower().startswith("readme")


def pack(seen: Survey) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Columns and texts from which `unpack` makes a survey again."""
    columns = {"owns": seen.owns, "rows": seen.rows, "listed": seen.listed, "split": seen.split}
    columns |= {f"split.{i}": seen.splits[name] for i, name in enumerate(seen.split_names)}
    texts: dict[str, Iterable[str]] = {name: getattr(seen, name) for name in TEXTS}
    texts |= {"others": seen.others, "kinds": seen.others.values()}
    return columns, {name: "\0".join(lines) for name, lines in texts.items()}


def unpack(columns: Mapping[str, NDArray[Any]], texts: Mapping[str, str], folders: Folders) -> Survey:
    """The survey of a dataset in which no file came or went since `pack`, from its columns and texts.

    The stamps are those of now.
    """
    lines = {name: tuple(texts[name].split("\0")) if texts[name] else () for name in (*TEXTS, "others", "kinds")}
    others = dict(zip(lines.pop("others"), lines.pop("kinds"), strict=True))
    if not texts["labels"].strip("\0"):
        lines["labels"] = ("",) * len(lines["files"])
    return Survey(
        split=columns["split"],
        splits={name: columns[f"split.{i}"] for i, name in enumerate(lines["split_names"])},
        owns=columns["owns"],
        rows=columns["rows"],
        listed=folders.stamps(),
        others=others,
        **lines,
    )
