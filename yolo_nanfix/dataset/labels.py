"""All rows of all label files as columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.grounds import ground


class BadRow(NamedTuple):
    """A row (or a whole file, `line` None) that cannot become numbers of the expected shape.

    Attributes:
        file: index of the label file.
        line: 1-based line, or None for the whole file.
        kind: `unreadable`, `number`, `comma`, `comment`, `columns`, `mixed`, or for a file that is too large a kind of
            `LabelsTooLarge`; for rows that can be read `spelling` (a number with underscores or digits outside
            ASCII), `mark` (the file begins with a byte order mark) or `ends` (lines end in two ways).
        text: the offending text, or the reader's message.
        number: the columns; for `mixed` the rows that are boxes; for `ends` the bare carriage returns, 0 if CR LF and
            LF are mixed; for a file that is too large its `number`.
        of: for `mixed` all rows.
        head: the first two numbers of a row with one column too many, if the second one is whole: one of the two is an
            instance or track number. Else None.
        behind: how many columns, 1 or 2, a prediction may have appended: a confidence, a track number, or both. Else 0.
        ahead: whether one such column may as well be before the outline: there the numbers jump more.
        masked: whether `text` has 9 for each digit and x for each letter, see `masked`.
    """

    file: int
    line: int | None
    kind: str
    text: str = ""
    number: int = 0
    of: int = 0
    head: tuple[float, float] | None = None
    behind: int = 0
    ahead: bool = False
    masked: bool = False


@dataclass(frozen=True)
class Labels:
    """The F label files that exist, and their N rows, as columns.

    Attributes:
        paths: of the files.
        image: (F,) int64, the index of the image of each file.
        rows: (F,) int64, rows of each file, those among them that cannot be read.
        polygons: (F,) bool, whether Ultralytics reads the file as polygons.
        bad: rows and files that could not be read.
        file: (N,) int32, the index of the file of each row.
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

    paths: tuple[str, ...]
    image: NDArray[np.int64]
    rows: NDArray[np.int64]
    polygons: NDArray[np.bool_]
    bad: tuple[BadRow, ...]
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

    @cached_property
    def row_image(self) -> NDArray[np.int64]:
        """(N,) int64, the index of the image of each row."""
        return self.image[self.file]


OF_ROWS = ("line", "cls", "box", "columns", "shape", "extra")
"""The columns of rows, except `file`, that are the same in a part of a table as in the whole."""


def join_labels(parts: Sequence[Labels]) -> Labels:
    """Several label tables as one, sorted by the image of each file, then by line."""
    paths, image = [path for part in parts for path in part.paths], np.concatenate([part.image for part in parts])
    by_image = np.argsort(image, kind="stable")
    number = np.empty(len(paths), np.int32)
    number[by_image] = np.arange(len(paths))
    numbers = np.split(number, np.cumsum([len(part.paths) for part in parts])[:-1])
    file = np.concatenate([own[part.file] for own, part in zip(numbers, parts, strict=True)])
    line = np.concatenate([part.line for part in parts])
    order = np.lexsort((line, file))
    counts = np.concatenate([np.diff(part.first) for part in parts])
    starts = np.concatenate([part.first[:-1] + shift for part, shift in zip(parts, _shifts(parts), strict=True)])
    first = np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64)
    spots = np.repeat(starts[order] - first[:-1], counts[order]) + np.arange(first[-1])
    return Labels(
        paths=tuple(paths[i] for i in by_image.tolist()),
        image=image[by_image],
        rows=np.concatenate([part.rows for part in parts])[by_image],
        polygons=np.concatenate([part.polygons for part in parts])[by_image],
        bad=tuple(
            bad._replace(file=int(own[bad.file])) for own, part in zip(numbers, parts, strict=True) for bad in part.bad
        ),
        file=file[order],
        **{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in OF_ROWS},
        points=np.concatenate([part.points for part in parts])[spots],
        visible=np.concatenate([part.visible for part in parts])[spots],
        first=first,
    )


def _shifts(parts: Sequence[Labels]) -> list[int]:
    """How many points come before those of each part."""
    return [sum(len(part.points) for part in parts[:p]) for p in range(len(parts))]


QUOTED = ("number", "comma", "comment", "spelling")
"""The kinds of bad rows whose text is quoted in messages."""
_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")


def masked(labels: Labels, config: DataConfig, root: Path | None) -> Labels:
    """The labels, with `x` for each letter and `9` for each digit in text from files outside of the dataset.

    The defect of a row can still be seen in that.

    Args:
        labels: of some images.
        config: their dataset.
        root: the folder that the command names for its images.
    """
    spoken = {bad.file for bad in labels.bad if bad.kind in QUOTED}
    if not spoken:
        return labels
    within = ground(config, root)
    held = dict(zip(spoken, within.hold(labels.paths[file] for file in spoken), strict=True))
    if all(held.values()):
        return labels
    bad = (_masked(bad) if bad.kind in QUOTED and not held[bad.file] else bad for bad in labels.bad)
    return replace(labels, bad=tuple(bad))


def _masked(row: BadRow) -> BadRow:
    letters = row.text if row.kind == "spelling" else _LETTER.sub("x", row.text)
    return row._replace(text=_DIGIT.sub("9", letters), masked=True)
