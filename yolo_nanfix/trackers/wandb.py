"""Weights & Biases, through the run that Ultralytics started or found."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from yolo_nanfix.trackers.tracker import GROUP, Note, Shown
from yolo_nanfix.upstream import release, version

EPOCH_AXIS = (8, 4, 184)
"""From this release on Ultralytics writes rows as they come; before, each of its rows says its number, and is thrown
away once a later one was written, so that nothing of ours may close a row."""
AXIS = f"{GROUP}/step"


class WeightsAndBiases:
    """Writes into the current run."""

    def __init__(self, module: ModuleType, trainer: Any) -> None:
        """Nothing is written yet."""
        self.module = module
        self.closes = release(version()) >= EPOCH_AXIS
        self.rows: list[list[Any]] = []
        self._defined: Any = None

    def _run(self) -> Any:
        run = getattr(getattr(self.module, "wb", None), "run", None)
        if run is not None and run is not self._defined:
            self._defined = run
            run.define_metric(f"{GROUP}/*", step_metric=AXIS)
        return run

    def ready(self) -> bool:
        """Whether a run is under way."""
        return self._run() is not None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """A row of their own, or part of the epoch's where Ultralytics counts the rows."""
        self._log({f"{GROUP}/{name}": value for name, value in values.items()}, step)

    def note(self, note: Note) -> None:
        """A table of all events so far, since W&B has no running text."""
        self.rows.append([note.step, note.title, note.text])
        table = self.module.wb.Table(columns=["step", "event", "text"], data=[list(row) for row in self.rows])
        self._log({f"{GROUP}/events_table": table}, note.step)

    def picture(self, shown: Shown) -> None:
        """An image with its file name."""
        self._log({f"{GROUP}/suspect": self.module.wb.Image(shown.pixels, caption=shown.name)}, shown.step)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        self._run().log({**values, AXIS: step}, commit=self.closes)
