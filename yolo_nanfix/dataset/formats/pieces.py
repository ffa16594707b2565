"""Annotations piece by piece: rules on rows make many arrays of a piece, each as long as there are corners in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from yolo_nanfix.dataset.file_views import Dataset
from yolo_nanfix.dataset.images import Columns, Images
from yolo_nanfix.dataset.labels import Labels

SIZE = 1 << 20
"""Points of a piece, with `PER_ROW` for each row, but at least one image."""
PER_ROW = 4


class Piece(NamedTuple):
    """Some images, and their label rows; both count from 0."""

    images: Images
    labels: Labels


def pieces(dataset: Dataset) -> Iterator[Piece]:
    """The images and rows of a dataset, in order; of a small one all of them at once.

    Args:
        dataset: one with one label file for each image, as annotation files have it.
    """
    images, labels = dataset.images, dataset.labels
    count, rows = len(images), np.searchsorted(labels.file, np.arange(len(images) + 1))
    if labels.first[-1] + PER_ROW * len(labels.cls) <= SIZE:
        yield Piece(images, labels)
        return
    ends = labels.first[rows] + PER_ROW * rows
    low = 0
    while low < count:
        high = max(low + 1, int(np.searchsorted(ends, ends[low] + SIZE, side="right")) - 1)
        yield Piece(_images(images, low, high), _labels(labels, low, high, int(rows[low]), int(rows[high])))
        low = high


def _images(images: Images, low: int, high: int) -> Images:
    columns = Columns(*(column[low:high] for column in images.columns))  # type: ignore[arg-type]
    return Images(columns, {i - low: images[i] for i in range(low, high)})


def _labels(labels: Labels, low: int, high: int, begin: int, end: int) -> Labels:
    points, some = slice(labels.first[begin], labels.first[end]), slice(begin, end)
    return Labels(
        files=tuple(file._replace(image=file.image - low) for file in labels.files[low:high]),
        bad=(),
        odd=(),
        file=labels.file[some] - np.int32(low),
        line=labels.line[some],
        cls=labels.cls[some],
        box=labels.box[some],
        columns=labels.columns[some],
        shape=labels.shape[some],
        points=labels.points[points],
        visible=labels.visible[points],
        first=labels.first[begin : end + 1] - labels.first[begin],
        extra=labels.extra[some],
    )
