"""TensorBoard, through the writer that Ultralytics keeps in its callback module."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from yolo_nanfix.trackers.tracker import GROUP, Note, Shown


class TensorBoard:
    """Writes into the event file of the run folder."""

    def __init__(self, module: ModuleType, trainer: Any) -> None:
        """Nothing is written yet."""
        self.module = module

    def _writer(self) -> Any:
        """Ultralytics' SummaryWriter; before 8.0.159 its name was in lower case."""
        return getattr(self.module, "WRITER", None) or getattr(self.module, "writer", None)

    def ready(self) -> bool:
        """Whether the writer is open."""
        return self._writer() is not None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One curve each."""
        writer = self._writer()
        for name, value in values.items():
            writer.add_scalar(f"{GROUP}/{name}", value, step)

    def note(self, note: Note) -> None:
        """Text, indented, so that no markup in a file name is read as such."""
        lines = "\n".join(f"    {line}" for line in note.text.splitlines())
        self._writer().add_text(f"{GROUP}/events", lines, note.step)

    def picture(self, shown: Shown) -> None:
        """An image on the slider of all suspects."""
        self._writer().add_image(f"{GROUP}/suspect", shown.pixels, shown.step, dataformats="HWC")
