"""What a run tells while it goes and when it ends: its steps file and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolo_nanfix import run_report, upstream
from yolo_nanfix.errors import DataError
from yolo_nanfix.guard.audience import Audience
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.report import steps
from yolo_nanfix.report.jsonout import write_text

Force = Callable[[], Mapping[str, Any]]


class Telling(Audience):
    """Tells of one run."""

    def __init__(self, trainer: Any, recorder: Recorder, force: Force, done: Callable[[], None]) -> None:
        """Nothing is told yet.

        Args:
            trainer: Ultralytics' trainer.
            recorder: what the guard recorded.
            force: gives the patches and guard in force, as `Status.as_dict()` has them.
            done: called once all is told.
        """
        self.trainer, self.recorder, self.force, self.done = trainer, recorder, force, done
        self._unwritable = False

    def begins(self) -> None:
        """Go on after the rows of an earlier part, where this run was resumed."""
        if self.trainer.start_epoch < 1:
            return
        path = self._steps_file()
        try:
            rows = self.recorder.readings.go_on(steps.read(path), self.trainer.start_epoch)
            upstream.log(f"yolo-nanfix: {path} goes on after {rows} rows", good_news=True)
        except DataError as error:
            upstream.log(f"yolo-nanfix: the curves of this run begin where it was resumed: {error}")

    def epoch_trained(self) -> None:
        """Write the steps file."""
        self._write_steps()

    def ends(self) -> None:
        """Write the steps file and the report."""
        if self.recorder.micro_batches:
            self._write_steps()
        run_report.write_report(self.trainer, self.recorder, self.force())
        self.done()

    def _steps_file(self) -> Path:
        return Path(self.trainer.save_dir) / steps.STEPS_NAME

    def _write_steps(self) -> None:
        try:
            write_text(self._steps_file(), self.recorder.readings.text())
        except OSError as problem:
            if not self._unwritable:
                upstream.log(f"yolo-nanfix: the readings of the steps could not be written: {problem}")
            self._unwritable = True
