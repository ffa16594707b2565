"""Reads `yolo-nanfix.csv`, the file in a run's folder with what the guard read of each micro-batch.

Columns: `step` (1-based count of the micro-batches of the run), `epoch` and `batch` (1-based), the terms of the loss by
Ultralytics' names, then `loss` (their total), `grad_norm`, `loss_scale`, `lr`. An empty cell is not known; `NaN` and
`inf` are what was read. In long runs a row stands for several micro-batches: its place is that of the last of them, its
values are their means, and not finite where one of them was.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from yolo_nanfix.errors import DataError

STEPS_NAME = "yolo-nanfix.csv"
"""The file in a run's folder with what the guard read of each micro-batch."""
PLACE = ("step", "epoch", "batch")
LARGEST = 64 * 2**20
"""Bytes; the guard's own files have at most 10 000 rows, about 1 MB."""

Columns = dict[str, list[float | None]]
"""By name, all of one length; None where the value is not known."""


def read(path: str | Path) -> Columns:
    """The columns of a steps file, in its order; `step`, `epoch` and `batch` are whole numbers, and steps rise.

    Raises:
        DataError: there is no such file, or it is not one that the guard wrote, whole; the message names file and line.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path}: not a steps file of yolo-nanfix: larger than {LARGEST >> 20} MB")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; the guard writes it at the end of each epoch") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: not a steps file of yolo-nanfix: {error}") from error
    names = rows[0] if rows else []
    if tuple(names[:3]) != PLACE or len(set(names)) != len(names):
        raise DataError(f"{path}:1: not a steps file of yolo-nanfix: it must begin with {','.join(PLACE)}")
    if not text.endswith("\n"):
        raise DataError(f"{path}:{len(rows)}: the file breaks off")
    columns: Columns = {name: [] for name in names}
    for number, cells in enumerate(rows[1:], 2):
        try:
            _take(columns, cells)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}") from None
    return columns


def _take(columns: Columns, cells: Sequence[str]) -> None:
    """Add one row.

    Raises:
        ValueError: it has another number of cells, holds something that is no number, or its step does not rise.
    """
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells where there are {len(columns)} columns")
    for (name, column), cell in zip(columns.items(), cells, strict=True):
        try:
            value = float(cell) if cell else None
        except ValueError:
            raise ValueError(f"{name} is not a number: {cell[:40]!r}") from None
        if name not in PLACE:
            column.append(value)
            continue
        if value is None or not isfinite(value) or value != int(value) or value < 0:
            raise ValueError(f"{name} is not a whole number: {cell[:40]!r}")
        if name == "step" and column and value <= (column[-1] or 0):
            raise ValueError(f"step {cell} comes after step {column[-1]}")
        column.append(int(value))
