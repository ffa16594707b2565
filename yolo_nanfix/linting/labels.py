"""The label table: all rows of all label files as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class LabelFile(NamedTuple):
    """One label file that exists: its path, the index of its image, its rows, polygons or boxes."""

    path: str
    image: int
    rows: int
    polygons: bool


class BadRow(NamedTuple):
    """A row (or a whole file, `line` None) that cannot become numbers of the expected shape.

    Attributes:
        file: index into the label files.
        line: 1-based line, or None for the whole file.
        kind: `unreadable`, `number`, `comma`, `comment`, `columns` or `mixed`.
        text: the offending text, the number of columns, or what the reader said.
    """

    file: int
    line: int | None
    kind: str
    text: str


class OddNumber(NamedTuple):
    """A number that reads otherwise than it looks: with underscores or with digits outside ASCII."""

    file: int
    line: int
    text: str


@dataclass(frozen=True)
class Labels:
    """All label rows as columns; row i of each array belongs to one line of one file.

    Attributes:
        files: the label files that exist.
        bad: rows and files that could not be read.
        odd: numbers in an odd spelling.
        file: (N,) int32, index into `files`.
        line: (N,) int32, 1-based.
        cls: (N,) float32, class.
        box: (N, 4) float32, x, y, w, h; for a polygon, of the box around it.
        columns: (N,) int32, number of columns in the line.
        shape: (N,) int64, hash of a polygon's points; 0 for a plain box.
        points: (P, 2) float32, x and y of the corners of all polygons, or of the keypoints of all pose rows.
        visible: (P,) float32, of keypoints that have it, their visibility; else NaN.
        first: (N + 1,) int64; the points of row i are `points[first[i]:first[i + 1]]`, none for a plain box.
        extra: (N,) float32, the first NaN or infinite number of the row; 0 if all are finite.
    """

    files: tuple[LabelFile, ...]
    bad: tuple[BadRow, ...]
    odd: tuple[OddNumber, ...]
    file: NDArray[np.int32]
    line: NDArray[np.int32]
    cls: NDArray[np.float32]
    box: NDArray[np.float32]
    columns: NDArray[np.int32]
    shape: NDArray[np.int64]
    points: NDArray[np.float32]
    visible: NDArray[np.float32]
    first: NDArray[np.int64]
    extra: NDArray[np.float32]
