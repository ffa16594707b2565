"""The trackers that Ultralytics supports, each used through Ultralytics' callback module, never imported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from yolo_nanfix.upstream import release, version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROUP = "nanfix"
"""The prefix of all names that are sent."""
_AXIS = f"{GROUP}/step"
_EPOCH_AXIS = (8, 4, 184)
"""From this release on Ultralytics lets W&B number its rows. Before, it gives each row a number, and W&B drops a row
whose number is lower than the last one, so that rows of ours must not end a step."""


class Tracker(ABC):
    """One tracker in one run; what its methods raise is caught by `feed.Feed`."""

    def __init__(self, module: ModuleType, trainer: Any) -> None:
        """`module` is Ultralytics' callback module of this tracker."""
        self.module, self.trainer = module, trainer

    @abstractmethod
    def target(self) -> Any:
        """The object to write to; None if the tracker has not started, has ended, or Ultralytics gave it up."""

    @abstractmethod
    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write finite numbers by name (without `GROUP`); `step` counts the micro-batches of the run."""

    @abstractmethod
    def note(self, step: int, title: str, text: str) -> None:
        """Write an event: a short title, and what was seen and done, as plain text without markup."""

    @abstractmethod
    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Write an image of an event: its file name and RGB pixels (HxWx3)."""


class _TensorBoard(Tracker):
    """Writes to the event file of the run folder; text is indented, so that markup in file names has no effect."""

    def target(self) -> Any:
        """Ultralytics' SummaryWriter; before 8.0.159 its name was lowercase."""
        return getattr(self.module, "WRITER", None) or getattr(self.module, "writer", None)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.target().add_scalar(f"{GROUP}/{name}", value, step)

    def note(self, step: int, title: str, text: str) -> None:
        self.target().add_text(f"{GROUP}/events", "\n".join(f"    {line}" for line in text.splitlines()), step)

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self.target().add_image(f"{GROUP}/suspect", pixels, step, dataformats="HWC")


class _WeightsAndBiases(Tracker):
    """Writes rows to the current run; events are one table, since W&B has no text log."""

    def __init__(self, module: ModuleType, trainer: Any) -> None:
        super().__init__(module, trainer)
        self.closes = release(version()) >= _EPOCH_AXIS
        self.rows: list[list[Any]] = []
        self._defined: Any = None

    def target(self) -> Any:
        run = getattr(getattr(self.module, "wb", None), "run", None)
        if run is not None and run is not self._defined:
            self._defined = run
            run.define_metric(f"{GROUP}/*", step_metric=_AXIS)
        return run

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._log({f"{GROUP}/{name}": value for name, value in values.items()}, step)

    def note(self, step: int, title: str, text: str) -> None:
        self.rows.append([step, title, text])
        table = self.module.wb.Table(columns=["step", "event", "text"], data=[list(row) for row in self.rows])
        self._log({f"{GROUP}/events_table": table}, step)

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self._log({f"{GROUP}/suspect": self.module.wb.Image(pixels, caption=name)}, step)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        self.target().log({**values, _AXIS: step}, commit=self.closes)


class _MLflow(Tracker):
    """Writes metrics to the run, and events and images (named by numbers only) to its artifacts."""

    def __init__(self, module: ModuleType, trainer: Any) -> None:
        super().__init__(module, trainer)
        self.texts: list[str] = []
        self.pictures = 0

    def target(self) -> Any:
        """The library while the run is active and Ultralytics tracks it; from 8.4.64 on the trainer knows that."""
        library = getattr(self.module, "mlflow", None)
        given_up = getattr(self.trainer, "_mlflow_active", True) is False
        return library if library is not None and not given_up and library.active_run() is not None else None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.target().log_metrics({f"{GROUP}/{name}": float(value) for name, value in values.items()}, step=step)

    def note(self, step: int, title: str, text: str) -> None:
        self.texts.append(f"{title}\n{text}\n")
        self.target().log_text("\n".join(self.texts), f"{GROUP}/events.txt")

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self.pictures += 1
        self.target().log_image(pixels, f"{GROUP}/suspect-step{step:06d}-{self.pictures}.png")


class _Comet(Tracker):
    """Writes curves, texts and images to the running experiment."""

    def target(self) -> Any:
        """The running experiment; older versions of Comet have only a global one."""
        library = getattr(self.module, "comet_ml", None)
        find = getattr(library, "get_running_experiment", None) or getattr(library, "get_global_experiment", None)
        return (find() or None) if find else None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.target().log_metrics({f"{GROUP}/{name}": value for name, value in values.items()}, step=step)

    def note(self, step: int, title: str, text: str) -> None:
        self.target().log_text(f"{title}\n{text}", step=step, metadata={"source": GROUP})

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self.target().log_image(pixels, name=f"{GROUP}/{name}", step=step)


class _ClearML(Tracker):
    """Reports series, console lines (not printed again) and debug samples to the logger of the task."""

    def target(self) -> Any:
        task = getattr(self.module, "Task", None)
        current = task.current_task() if task is not None else None
        return current.get_logger() if current is not None else None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.target().report_scalar(f"{GROUP}/{name}", name, value, iteration=step)

    def note(self, step: int, title: str, text: str) -> None:
        self.target().report_text(f"{GROUP}: {title}: {text}", print_console=False)

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self.target().report_image(f"{GROUP}/suspect", name, iteration=step, image=pixels)


TRACKERS: Mapping[str, tuple[str, type[Tracker]]] = {
    "tensorboard": ("TensorBoard", _TensorBoard),
    "wb": ("Weights & Biases", _WeightsAndBiases),
    "mlflow": ("MLflow", _MLflow),
    "comet": ("Comet", _Comet),
    "clearml": ("ClearML", _ClearML),
}
"""By the name of Ultralytics' callback module: the name of the tracker, and its class."""
