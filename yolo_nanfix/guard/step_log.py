"""The numbers of each micro-batch of a run: loss terms, loss, gradient norm, loss scale, learning rate.

Kept in at most 10 000 rows, in 5 MB; `guard.batched_reads` reads them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PLACE = ("step", "epoch", "batch")
TOTALS = ("loss", "grad_norm", "loss_scale", "lr")
LIMIT = 10_000
"""Most rows; beyond, neighbours are merged by twos."""


@dataclass(slots=True)
class Row:
    """One micro-batch, or several neighbours: the place of the last, and for each column sum and number of values."""

    step: int
    epoch: int
    batch: int
    size: int
    sums: list[float]
    counts: list[int]


class StepLog:
    """The rows of one run. A sum is not finite if a value was not, so such values survive merging.

    Attributes:
        before: steps that an earlier part of a resumed run had.
        latest: the last value of each column.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        """None yet; `limit` is even."""
        self.limit, self.every, self.before = limit, 1, 0
        self.rows: list[Row] = []
        self.latest: dict[str, float] = {}
        self._columns = {name: i for i, name in enumerate(TOTALS)}
        self._lines: list[str] = []

    def add(self, step: int, epoch: int, batch: int, values: Mapping[str, float]) -> None:
        """Add a micro-batch: its place, and its values by column."""
        if len(self.rows) >= self.limit and self.rows[-1].size >= self.every:
            self._halve()
        if not self.rows or self.rows[-1].size >= self.every:
            self.rows.append(Row(step, epoch, batch, 0, [], []))
        row = self.rows[-1]
        row.step, row.epoch, row.batch = step, epoch, batch
        row.size += 1
        for name, value in values.items():
            self._put(row, name, value, 1)
        self.latest.update(values)

    def norm(self, value: float) -> None:
        """Add the gradient norm of the step that the last micro-batch completed."""
        if self.rows:
            self._put(self.rows[-1], "grad_norm", value, 1)
            self.latest["grad_norm"] = value

    def go_on(self, columns: Mapping[str, Sequence[float | None]], epochs: int) -> int:
        """Load the rows of an earlier part of this run up to its first `epochs` epochs; return how many."""
        names, earlier = [name for name in columns if name not in PLACE], 0
        for i, (step, epoch, batch) in enumerate(zip(*(columns[name] for name in PLACE), strict=True)):
            if step is None or epoch is None or batch is None or epoch > epochs:
                break
            size = int(step) - earlier
            row = Row(int(step), int(epoch), int(batch), size, [], [])
            for name in names:
                if (value := columns[name][i]) is not None:
                    self._put(row, name, value * size, size)
            self.rows.append(row)
            self.every, earlier = max(self.every, size), row.step
        self.before = earlier
        while len(self.rows) > self.limit:
            self._halve()
        return len(self.rows)

    def text(self) -> str:
        """All rows as CSV. Rows that can no longer change are formatted once."""
        terms = [name for name in self._columns if name not in TOTALS]
        order = [self._columns[name] for name in (*terms, *TOTALS)]
        self._lines += [_csv_line(row, order) for row in self.rows[len(self._lines) : -1]]
        head = io.StringIO()
        csv.writer(head, lineterminator="\n").writerow([*PLACE, *terms, *TOTALS])
        last = [_csv_line(row, order) for row in self.rows[-1:]]
        return head.getvalue() + "".join([*self._lines, *last])

    def _put(self, row: Row, name: str, value: float, times: int) -> None:
        i = self._columns.get(name)
        if i is None:
            if name in PLACE:
                return
            i = self._columns[name] = len(self._columns)
            self._lines = []
        if i >= len(row.sums):
            more = len(self._columns) - len(row.sums)
            row.sums += [0.0] * more
            row.counts += [0] * more
        row.sums[i] += value
        row.counts[i] += times

    def _halve(self) -> None:
        """Merge neighbours by twos; from now on twice as many micro-batches make a row."""
        ones, others = self.rows[::2], self.rows[1::2]
        for one, other in zip(ones, others, strict=False):
            one.step, one.epoch, one.batch = other.step, other.epoch, other.batch
            one.size += other.size
            width = len(self._columns)
            for row in (one, other):
                row.sums += [0.0] * (width - len(row.sums))
                row.counts += [0] * (width - len(row.counts))
            one.sums = [a + b for a, b in zip(one.sums, other.sums, strict=True)]
            one.counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
        self.rows, self._lines = ones, []
        self.every *= 2


def _csv_line(row: Row, order: Sequence[int]) -> str:
    cells = [_cell(row.sums[i] / row.counts[i]) if i < len(row.counts) and row.counts[i] else "" for i in order]
    return f"{row.step},{row.epoch},{row.batch},{','.join(cells)}\n"


def _cell(value: float) -> str:
    """With `NaN` and `inf`, which polars, pandas and numpy all read as numbers; to polars `nan` is text."""
    return "NaN" if value != value else f"{value:.6g}"
