"""The dataset as the rules about files see it: images and label columns, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.clues import clues
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import fates
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.table import Table

Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Dataset:
    """A dataset that was read whole, as annotation files are.

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
    images: Images
    splits: Mapping[str, tuple[int, ...]]
    labels: Labels
    strays: tuple[str, ...]


def columns(images: Images, labels: Labels, config: DataConfig, task: str, *, deep: bool) -> Columns:
    """The columns of `Table` that come from reading files, by their names."""
    polygons, lines = np.zeros(len(images), np.bool_), np.zeros(len(images), np.int32)
    owner = np.array([file.image for file in labels.files], np.int32)
    polygons[owner] = [file.polygons for file in labels.files]
    lines[owner] = [file.rows for file in labels.files]
    looks = [image.looks or (0,) * 8 for image in images] if deep else []
    return {
        **images.columns._asdict(),
        "looks": np.array(looks, np.uint64).reshape(-1, 8),
        "polygons": polygons,
        "lines": lines,
        "clues": clues(images, labels, config.ceiling, task),
        "fate": fates(images, labels, config, task),
        "row_image": owner[labels.file] if len(labels.file) else np.zeros(0, np.int32),
        "row_line": labels.line,
        "row_cls": labels.cls,
        "row_box": labels.box,
    }


def tabulate(dataset: Dataset, parts: Sequence[tuple[Images, Labels]]) -> Table:
    """The columns of a dataset that was read whole, and is now in parts, one image and label file after the other."""
    images, names = dataset.images, tuple(dataset.splits)
    number = {name: i for i, name in enumerate(names)}
    deep = any(image.looks for image in images)
    columned = [columns(*part, dataset.config, dataset.task, deep=deep) for part in parts]
    before = np.cumsum([0, *(len(some) for some, _ in parts)]).astype(np.int32)
    for one, shift in zip(columned, before.tolist(), strict=False):
        one["row_image"] = np.asarray(one["row_image"], np.int32) + np.int32(shift)
    found: Columns = {name: np.concatenate([one[name] for one in columned]) for name in columned[0]}
    return Table(
        files=tuple(image.file for image in images),
        labels=tuple(image.label for image in images),
        split_names=names,
        split=np.array([number[image.split] for image in images], np.int8),
        splits={name: np.array(listed, np.int32) for name, listed in dataset.splits.items()},
        labelled=np.array([image.labelled for image in images], np.bool_),
        **found,  # type: ignore[arg-type]
    )
