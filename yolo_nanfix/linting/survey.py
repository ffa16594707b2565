"""What a dataset consists of, before any file of it is read: names, splits, and stamps that tell what has changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.listing import Folders, list_images
from yolo_nanfix.linting.paths import folder_of, label_paths
from yolo_nanfix.linting.store import Memory

STAMPS = 10
"""Numbers that tell whether an image has changed: four of its file, three of its label file, three of its .npy."""
_NO_LABELS = ("classes.txt", "labels.txt", "train.txt", "val.txt", "test.txt")


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
        rows: (N, 3) int64, where the stamps of image, label file and .npy stand among those of `Folders`.
        stamps: (N, STAMPS) int64; 0 for what does not exist.
        strays: .txt files in the folders of images and labels that are the label file of no image.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    split_names: tuple[str, ...]
    split: NDArray[np.int8]
    splits: Mapping[str, NDArray[np.int32]]
    owns: NDArray[np.bool_]
    rows: NDArray[np.int64]
    stamps: NDArray[np.int64]
    strays: tuple[str, ...]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,) bool, whether the label file exists."""
        return np.asarray((self.rows[:, 1] != 0) & (self.stamps[:, 5] != 0), np.bool_)

    def npy(self, image: int) -> str | None:
        """The .npy that Ultralytics loads in place of an image: same stem, not older."""
        if not self.stamps[image, 8] or self.stamps[image, 8] < self.stamps[image, 1]:
            return None
        return self.files[image].rpartition(".")[0] + ".npy"


def survey(config: DataConfig, folders: Folders, listed: Mapping[str, Sequence[str]] | None = None) -> Survey:
    """List a dataset.

    Args:
        config: the resolved data.yaml.
        folders: where they were listed already.
        listed: the images of each split of a classification dataset, which has no label files; None: by `config`.

    Raises:
        DataError: train or val holds no images, or a list of images cannot be read.
    """
    yolo = listed is None
    lists = listed or {split: list_images(paths, folders) for split, paths in config.splits.items()}
    for split in ("train", "val"):
        if split in lists and not lists[split]:
            where = ", ".join(map(str, config.splits[split]))
            raise DataError(f"{config.yaml_file}: '{split}' names {where}, which holds no images")
    names = tuple(lists)
    first = {file: names.index(split) for split in reversed(names) for file in lists[split]}
    files = tuple(dict.fromkeys(file for split in names for file in lists[split]))
    order = {file: i for i, file in enumerate(files)}
    labels = tuple(label_paths(files)) if yolo else ("",) * len(files)
    rows = _rows(files, labels, folders)
    owns = np.zeros(len(files), np.bool_)
    owns[list(dict(zip(reversed(labels), range(len(files) - 1, -1, -1), strict=True)).values())] = True
    return Survey(
        files=files,
        labels=labels,
        split_names=names,
        split=np.fromiter((first[file] for file in files), np.int8, len(files)),
        splits={s: np.fromiter((order[f] for f in lists[s]), np.int32, len(lists[s])) for s in names},
        owns=owns,
        rows=rows,
        stamps=_stamps(rows, folders),
        strays=_strays(config, files, labels, folders) if yolo else (),
    )


def _stamps(rows: NDArray[np.int64], folders: Folders) -> NDArray[np.int64]:
    known = folders.stamps()
    image, label, npy = (known[column] for column in rows.T)
    return np.concatenate([image, label[:, [0, 1, 3]], npy[:, [0, 1, 3]]], axis=1)


def _rows(files: Sequence[str], labels: Sequence[str], folders: Folders) -> NDArray[np.int64]:
    rows = np.zeros((len(files), 3), np.int64)
    rows[:, 0] = folders.rows(files)
    if files and labels[0]:
        rows[:, 1] = folders.rows(labels)
        arrays = {f for f in set(map(folder_of, files)) if any(name.endswith(".npy") for name in folders.names(f))}
        beside = [i for i, file in enumerate(files) if folder_of(file) in arrays] if arrays else []
        rows[beside, 2] = folders.rows([f"{files[i].rpartition('.')[0]}.npy" for i in beside])
    return rows


def _strays(config: DataConfig, files: Sequence[str], labels: Sequence[str], folders: Folders) -> tuple[str, ...]:
    """The .txt files beside images and labels that are neither a label file of an image nor a known list."""
    known = set(labels) | {str(path) for paths in config.splits.values() for path in paths}
    found: list[str] = []
    for folder in {*map(folder_of, labels), *map(folder_of, files)}:
        texts = {f"{folder}{os.sep}{name}" for name in folders.names(folder) if name[-4:] == ".txt"}
        found += [path for path in texts - known if not _no_label(path.rpartition(os.sep)[2])]
    return tuple(sorted(found))


def _no_label(name: str) -> bool:
    """Whether a .txt is one of those that tools put beside labels: lists of classes or images, a readme."""
    return name in _NO_LABELS or name.lower().startswith("readme")


def pack(seen: Survey) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Columns and texts from which `unpack` makes a survey again."""
    columns = {"owns": seen.owns, "rows": seen.rows, "stamps": seen.stamps, "split": seen.split}
    columns |= {f"split.{i}": seen.splits[name] for i, name in enumerate(seen.split_names)}
    texts = {"files": seen.files, "labels": seen.labels, "strays": seen.strays, "split_names": seen.split_names}
    return columns, {name: "\0".join(lines) for name, lines in texts.items()}


def unpack(memory: Memory, folders: Folders) -> Survey:
    """The survey of a dataset in which no file came or went since it was remembered; with the stamps of now."""
    files, labels, strays, names = (_lines(memory.text(n)) for n in ("files", "labels", "strays", "split_names"))
    rows = memory.column("rows")
    return Survey(
        files=files,
        labels=labels if len(labels) == len(files) else ("",) * len(files),
        split_names=names,
        split=memory.column("split"),
        splits={name: memory.column(f"split.{i}") for i, name in enumerate(names)},
        owns=memory.column("owns"),
        rows=rows,
        stamps=_stamps(rows, folders),
        strays=strays,
    )


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.split("\0")) if text else ()
