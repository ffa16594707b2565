"""ClearML, in the task that Ultralytics started or found."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from yolo_nanfix.trackers.tracker import GROUP, Note, Shown


class ClearML:
    """Reports to the logger of the current task."""

    def __init__(self, module: ModuleType, trainer: Any) -> None:
        """Nothing is written yet."""
        self.module = module

    def _task(self) -> Any:
        task = getattr(self.module, "Task", None)
        return task.current_task() if task is not None else None

    def ready(self) -> bool:
        """Whether a task is under way."""
        return self._task() is not None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One series each, all in one plot's group."""
        logger = self._task().get_logger()
        for name, value in values.items():
            logger.report_scalar(f"{GROUP}/{name}", name, value, iteration=step)

    def note(self, note: Note) -> None:
        """A line of the task's console, without printing it here once more."""
        self._task().get_logger().report_text(f"{GROUP}: {note.title}: {note.text}", print_console=False)

    def picture(self, shown: Shown) -> None:
        """A debug sample."""
        logger = self._task().get_logger()
        logger.report_image(f"{GROUP}/suspect", shown.name, iteration=shown.step, image=shown.pixels)
