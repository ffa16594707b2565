"""What a dataset consists of, before any file of it is read: names, splits, and stamps that tell what has changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.listing import Folders, list_images
from yolo_nanfix.linting.paths import folder_of, label_paths

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
        labelled: (N,) bool, whether the label file exists.
        owns: (N,) bool, whether it is the first image of that label file, for which the file is read.
        stamps: (N, STAMPS) int64; 0 for what does not exist.
        strays: .txt files in the folders of images and labels that are the label file of no image.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    split_names: tuple[str, ...]
    split: NDArray[np.int8]
    splits: Mapping[str, NDArray[np.int32]]
    labelled: NDArray[np.bool_]
    owns: NDArray[np.bool_]
    stamps: NDArray[np.int64]
    strays: tuple[str, ...]

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
    labelled = listed is None
    lists = listed or {split: list_images(paths, folders) for split, paths in config.splits.items()}
    for split in ("train", "val"):
        if split in lists and not lists[split]:
            where = ", ".join(map(str, config.splits[split]))
            raise DataError(f"{config.yaml_file}: '{split}' names {where}, which holds no images")
    names = tuple(lists)
    first = {file: names.index(split) for split in reversed(names) for file in lists[split]}
    files = tuple(dict.fromkeys(file for split in names for file in lists[split]))
    order = {file: i for i, file in enumerate(files)}
    labels = tuple(label_paths(files)) if labelled else ("",) * len(files)
    stamps = _stamps(files, labels, folders)
    owns = np.zeros(len(files), np.bool_)
    owns[list(dict(zip(reversed(labels), range(len(files) - 1, -1, -1), strict=True)).values())] = True
    return Survey(
        files=files,
        labels=labels,
        split_names=names,
        split=np.fromiter((first[file] for file in files), np.int8, len(files)),
        splits={s: np.fromiter((order[f] for f in lists[s]), np.int32, len(lists[s])) for s in names},
        labelled=np.asarray(stamps[:, 4:7].any(axis=1)),
        owns=owns,
        stamps=stamps,
        strays=_strays(config, files, labels, folders) if labelled else (),
    )


def _stamps(files: Sequence[str], labels: Sequence[str], folders: Folders) -> NDArray[np.int64]:
    found = np.zeros((len(files), STAMPS), np.int64)
    found[:, :4] = folders.stamps(files)
    if not files or not labels[0]:
        return found
    found[:, 4:7] = folders.stamps(labels)[:, [0, 1, 3]]
    arrays = {f for f in set(map(folder_of, files)) if any(name.endswith(".npy") for name in folders.names(f))}
    beside = [i for i, file in enumerate(files) if folder_of(file) in arrays] if arrays else []
    found[beside, 7:] = folders.stamps([f"{files[i].rpartition('.')[0]}.npy" for i in beside])[:, [0, 1, 3]]
    return found


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
