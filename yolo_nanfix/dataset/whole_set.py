"""Makes the columns of `Table`, and divides a set that was read whole into pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from yolo_nanfix.dataset.clues import clues
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import fates
from yolo_nanfix.dataset.images import Columns, Images
from yolo_nanfix.dataset.labels import OF_ROWS, Labels
from yolo_nanfix.dataset.table import Table, Where


def columns(images: Images, labels: Labels, config: DataConfig, task: str, *, deep: bool) -> Columns:
    """The columns of `Table` that come from reading files, by their names."""
    polygons, lines = np.zeros(len(images), np.bool_), np.zeros(len(images), np.int32)
    polygons[labels.image], lines[labels.image] = labels.polygons, labels.rows
    looks = [image.looks or (0,) * 8 for image in images] if deep else []
    return {
        **images.columns,
        "looks": np.array(looks, np.uint64).reshape(-1, 8),
        "polygons": polygons,
        "lines": lines,
        "clues": clues(images, labels, config.ceiling, task),
        "fate": fates(images, labels, config, task),
        "row_image": labels.row_image.astype(np.int32),
        "row_line": labels.line,
        "row_cls": labels.cls,
        "row_box": labels.box,
    }


def tabulate(
    images: Images,
    splits: Mapping[str, Sequence[int]],
    parts: Sequence[tuple[Images, Labels]],
    config: DataConfig,
    task: str,
    where: Mapping[str, Where],
) -> Table:
    """The table of a dataset that was read whole.

    Args:
        images: all image files, each once.
        splits: for each split the indices of its images, repeated where a file is listed twice.
        parts: the images and their label rows, in parts, as `pieces` gives them.
        config: its data.yaml, or the values used instead.
        task: `detect`, `segment`, `pose` or `obb`.
        where: how the rows of annotation files are called.
    """
    number = {name: i for i, name in enumerate(splits)}
    deep = any(image.looks for image in images)
    columned = [columns(*part, config, task, deep=deep) for part in parts]
    before = np.cumsum([0, *(len(some) for some, _ in parts)]).astype(np.int32)
    for one, shift in zip(columned, before.tolist(), strict=False):
        one["row_image"] = np.asarray(one["row_image"], np.int32) + np.int32(shift)
    found: Columns = {name: np.concatenate([one[name] for one in columned]) for name in columned[0]}
    return Table(
        files=tuple(image.file for image in images),
        labels=tuple(image.label for image in images),
        split_names=tuple(splits),
        split=np.array([number[image.split] for image in images], np.int8),
        splits={name: np.array(listed, np.int32) for name, listed in splits.items()},
        labelled=np.array([image.labelled for image in images], np.bool_),
        **found,
        config=config,
        task=task,
        where=where,
    )


SIZE = 1 << 20
"""Points of a piece at most, each row counting as `PER_ROW`; but at least one image."""
PER_ROW = 4


def pieces(images: Images, labels: Labels) -> Iterator[tuple[Images, Labels]]:
    """Images and their label rows in order, some at a time, each counted from 0; all at once if the set is small.

    Args:
        images: all of a set.
        labels: their rows, with one label file for each image, as annotation files have it.
    """
    count, rows = len(images), np.searchsorted(labels.file, np.arange(len(images) + 1))
    if labels.first[-1] + PER_ROW * len(labels.cls) <= SIZE:
        yield images, labels
        return
    ends = labels.first[rows] + PER_ROW * rows
    low = 0
    while low < count:
        high = max(low + 1, int(np.searchsorted(ends, ends[low] + SIZE, side="right")) - 1)
        yield _piece_of_images(images, low, high), _piece_of_labels(labels, low, high, int(rows[low]), int(rows[high]))
        low = high


def _piece_of_images(images: Images, low: int, high: int) -> Images:
    columns = {name: column[low:high] for name, column in images.columns.items()}
    return Images(columns, {i - low: images[i] for i in range(low, high)})


def _piece_of_labels(labels: Labels, low: int, high: int, begin: int, end: int) -> Labels:
    points, some = slice(labels.first[begin], labels.first[end]), slice(begin, end)
    return Labels(
        paths=labels.paths[low:high],
        image=labels.image[low:high] - low,
        rows=labels.rows[low:high],
        polygons=labels.polygons[low:high],
        bad=(),
        file=labels.file[some] - np.int32(low),
        points=labels.points[points],
        visible=labels.visible[points],
        first=labels.first[begin : end + 1] - labels.first[begin],
        **{name: getattr(labels, name)[some] for name in OF_ROWS},
    )
