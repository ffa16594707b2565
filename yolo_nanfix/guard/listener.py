"""What the guard calls in code that it may not import: who is told how a run goes, and who finds causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from yolo_nanfix.events import Event
    from yolo_nanfix.incident import Incident
    from yolo_nanfix.verdicts import Verdict


Pictures = Callable[[], "Sequence[tuple[str, NDArray[np.uint8]]]"]
"""Gives the images that an event is about, when they are wanted: file, and RGB (HxWx3) as the model saw it."""


class Listener:
    """Is told how one run goes. This one does nothing; subclasses override what they need, and never raise.

    In DDP only rank 0 has another one than this.
    """

    def begins(self) -> None:
        """The trainer is set up, and its state is about to be checked."""

    def micro_batch(self) -> None:
        """A micro-batch has its row in the step log."""

    def event(self, event: Event, pictures: Pictures) -> None:
        """The guard saw something, and dealt with it."""

    def epoch_trained(self) -> None:
        """An epoch was trained, and is about to be validated."""

    def about_to_save(self) -> None:
        """An epoch was validated, and its checkpoint is about to be written."""

    def epoch_done(self) -> None:
        """An epoch was validated and saved."""

    def ends(self) -> None:
        """The trainer tears down, however the run ended."""

    def ends_instead(self) -> None:
        """Rank 0 is lost: another rank reports the end of the run."""


@dataclass(frozen=True)
class Callbacks:
    """Functions of code that the guard may not import.

    Attributes:
        listen: gives the listener of a run, from its trainer and recorder.
        examine: finds the cause of an incident, from it, the live model (which stays as it is), and the seconds it may
            take; None for no diagnosis.
        facts: gives what else an incident should hold, JSON-ready.
        came_with: whether a settings file came with the dataset of a trainer.
    """

    listen: Callable[[Any, Any], Listener] = lambda trainer, recorder: Listener()
    examine: Callable[[Incident, nn.Module, float], Verdict] | None = None
    facts: Callable[[], Mapping[str, Any]] = dict
    came_with: Callable[[Any, str], bool] = lambda trainer, file: False
