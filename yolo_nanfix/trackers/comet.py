"""Comet, in the experiment that Ultralytics started or found."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from yolo_nanfix.trackers.tracker import GROUP, Note, Shown


class Comet:
    """Writes into the running experiment."""

    def __init__(self, module: ModuleType, trainer: Any) -> None:
        """Nothing is written yet."""
        self.module = module

    def _experiment(self) -> Any:
        """The running experiment; older versions of Comet have only a global one."""
        library = getattr(self.module, "comet_ml", None)
        find = getattr(library, "get_running_experiment", None) or getattr(library, "get_global_experiment", None)
        return find() if find else None

    def ready(self) -> bool:
        """Whether an experiment is running."""
        return bool(self._experiment())

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One curve each."""
        self._experiment().log_metrics({f"{GROUP}/{name}": value for name, value in values.items()}, step=step)

    def note(self, note: Note) -> None:
        """Text among the experiment's samples."""
        self._experiment().log_text(f"{note.title}\n{note.text}", step=note.step, metadata={"source": GROUP})

    def picture(self, shown: Shown) -> None:
        """An image by its file name."""
        self._experiment().log_image(shown.pixels, name=f"{GROUP}/{shown.name}", step=shown.step)
