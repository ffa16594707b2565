"""MLflow, in the run that Ultralytics has active."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from yolo_nanfix.trackers.tracker import GROUP, Note, Shown


class MLflow:
    """Writes metrics into the run, and events and images to its artifacts."""

    def __init__(self, module: ModuleType, trainer: Any) -> None:
        """Nothing is written yet."""
        self.module, self.trainer = module, trainer
        self.texts: list[str] = []
        self.pictures = 0

    def ready(self) -> bool:
        """Whether Ultralytics tracks this run (from 8.4.64 on it says so), and the run is still open."""
        library = getattr(self.module, "mlflow", None)
        given_up = getattr(self.trainer, "_mlflow_active", True) is False
        return library is not None and not given_up and library.active_run() is not None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One metric each."""
        self.module.mlflow.log_metrics({f"{GROUP}/{name}": float(v) for name, v in values.items()}, step=step)

    def note(self, note: Note) -> None:
        """All events so far in one text file."""
        self.texts.append(f"{note.title}\n{note.text}\n")
        self.module.mlflow.log_text("\n".join(self.texts), f"{GROUP}/events.txt")

    def picture(self, shown: Shown) -> None:
        """A PNG file; its name is made of numbers only."""
        self.pictures += 1
        self.module.mlflow.log_image(shown.pixels, f"{GROUP}/suspect-step{shown.step:06d}-{self.pictures}.png")
