"""Reads the CSV files of a run as columns of numbers, damaged ones too; the steps file also strictly.

Columns of `yolo-nanfix.csv`: `step` (1-based count of the micro-batches of the run), `epoch` and `batch` (1-based), the
terms of the loss by Ultralytics' names, then `loss` (their total), `grad_norm`, `loss_scale`, `lr`. An empty cell is
unknown; `NaN` and `inf` are values that were read. In long runs a row is for several micro-batches: it has the step,
epoch and batch of the last one, and the means of their values, non-finite if one of them was.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.errors import DataError
from yolo_nanfix.files import ANYWHERE, NotRegular, Within

LARGEST_TABLE = 64 * 2**20
"""Larger files are not read."""

STEPS_NAME = "yolo-nanfix.csv"
"""The file in a run folder with the guard's readings of each micro-batch: at most 10 000 rows, about 1 MB."""
PLACE = ("step", "epoch", "batch")
Numbers = NDArray[np.float64]
Columns = dict[str, list[float | None]]
"""By name, all of one length; None if the value is not known."""


@dataclass(frozen=True)
class Table:
    """Columns of one length.

    Attributes:
        columns: by name; NaN both for `nan` and for an empty cell.
        known: for each column whether its cells hold a number, finite or not.
        rows: their number.
        notes: what could not be read, in words.
    """

    columns: Mapping[str, Numbers] = field(default_factory=dict)
    known: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    rows: int = 0
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> Numbers | None:
        """A column; None if none of its cells holds a number."""
        return self.columns[name] if name in self.columns and bool(self.known[name].any()) else None


def read_table(path: Path, within: Within = ANYWHERE) -> Table:
    """The table in a file; an empty one, with a note, if it cannot be read or is not `within`. Never raises."""
    try:
        data = within.read(path, LARGEST_TABLE + 1)
        if len(data) > LARGEST_TABLE:
            return Table(notes=(f"{path.name} is larger than {LARGEST_TABLE // 2**20} MB and was not read.",))
        rows = list(csv.reader(data.decode("utf-8", "replace").splitlines(keepends=True)))
    except csv.Error as error:
        return Table(notes=(f"{path.name} is no CSV file: {error}.",))
    except NotRegular as error:
        return Table(notes=(f"{path.name} is {error.strerror}.",))
    except OSError as error:
        return Table(notes=(f"{path.name} cannot be read: {error.strerror}.",))
    names = [name.strip() for name in rows[0]] if rows else []
    if not any(names):
        return Table(notes=(f"{path.name} is empty.",))
    split = [row for row in rows[1:] if any(cell.strip() for cell in row)]
    whole = [row for row in split if len(row) == len(names)]
    notes = []
    if torn := len(split) - len(whole):
        notes.append(f"{torn} of {len(split)} rows of {path.name} are incomplete and left out.")
    columns, known, bad = {}, {}, 0
    for index, name in enumerate(names):
        if not name or name in columns:
            continue
        cells = [row[index].strip() for row in whole]
        columns[name], strange = _numbers(cells)
        known[name] = np.array([bool(cell) for cell in cells], bool) & ~strange
        bad += int(strange.sum())
    if bad:
        notes.append(f"{bad} cells of {path.name} hold no number and are left out.")
    return Table(columns, known, len(whole), tuple(notes))


def _numbers(cells: list[str]) -> tuple[Numbers, NDArray[np.bool_]]:
    """The cells as numbers, and which of them are neither empty nor a number."""
    try:
        return np.array([cell or "nan" for cell in cells], np.float64), np.zeros(len(cells), bool)
    except ValueError:
        pass
    found, strange = np.full(len(cells), np.nan), np.zeros(len(cells), bool)
    for index, cell in enumerate(cells):
        try:
            found[index] = float(cell or "nan")
        except ValueError:
            strange[index] = True
    return found, strange


def read_steps(path: str | Path) -> Columns:
    """The columns of a steps file, in its order; `step`, `epoch` and `batch` are whole numbers, and steps increase.

    Raises:
        DataError: there is no such file, or it is not a complete one that the guard wrote.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file; the guard writes it at the end of each epoch")
    table = read_table(path)
    if table.notes:
        raise DataError(f"{path}: not a complete steps file of yolo-nanfix: {' '.join(table.notes)}")
    if tuple(table.columns)[:3] != PLACE:
        raise DataError(f"{path}:1: not a steps file of yolo-nanfix: it must begin with {','.join(PLACE)}")
    place = np.stack([table.columns[name] for name in PLACE])
    if not path.read_bytes().endswith(b"\n"):
        raise DataError(f"{path}: the file breaks off")
    if not (place == np.floor(np.abs(place))).all() or (np.diff(place[0]) <= 0).any():
        raise DataError(f"{path}: step, epoch and batch are not whole numbers, or steps do not increase")
    steps: Columns = {
        name: [value if known else None for value, known in zip(column.tolist(), table.known[name], strict=True)]
        for name, column in table.columns.items()
    }
    return steps | {name: column.astype(np.int64).tolist() for name, column in zip(PLACE, place, strict=True)}
