"""Which rows of a label file are equal, as Ultralytics compares them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.linting.rules.box_columns import columns
from yolo_nanfix.linting.rules.row_hits import once

_MIX = np.uint64(0x9E3779B97F4A7C15)


@once
def first_equal(labels: Labels, images: Images) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row the first row of its file that is equal, and the first whose box is; itself if it is the first.

    Polygons and keypoints count in the one; of the other only polygons do.
    """
    boxes = columns(labels, images)
    key = labels.file.astype(np.uint64) ^ labels.shape.view(np.uint64)
    with np.errstate(over="ignore"):
        for column in (boxes.x, boxes.y, boxes.w, boxes.h):
            key ^= (column + np.float32(0)).view(np.uint32)  # no negative zero
            key *= _MIX
            key ^= key >> np.uint64(29)
    ranked = np.sort(key)
    twice = ranked[1:][ranked[1:] == ranked[:-1]]
    number = np.arange(len(key))
    if not len(twice):
        return number, number
    rows = np.flatnonzero(np.isin(key, twice) & np.isfinite(labels.extra))  # nan and inf are no box, so none twice
    first_row, first_box = number.copy(), number.copy()
    seen_rows: dict[tuple[object, ...], int] = {}
    seen_boxes: dict[tuple[object, ...], int] = {}
    for row in rows.tolist():
        box = (int(labels.file[row]), int(labels.shape[row]), *labels.box[row].tolist())
        spots = slice(int(labels.first[row]), int(labels.first[row + 1]))
        points = () if labels.shape[row] else (labels.points[spots].tobytes(), labels.visible[spots].tobytes())
        first_box[row] = seen_boxes.setdefault(box, row)
        first_row[row] = seen_rows.setdefault((float(labels.cls[row]), *box, *points), row)
    return first_row, first_box
