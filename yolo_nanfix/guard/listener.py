"""Who is told how a run goes, while it goes: the guard knows no reports and no trackers, only this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yolo_nanfix.events import Event


@dataclass(frozen=True)
class Picture:
    """An image of a micro-batch as the model saw it.

    Attributes:
        file: the image file.
        pixels: RGB (uint8, HxWx3); pixels that are not finite are magenta.
    """

    file: str
    pixels: NDArray[np.uint8]


Pictures = Callable[[], Sequence[Picture]]
"""Draws the images that an event is about, if somebody wants them."""


class Listener:
    """Hears how one run goes. This one lets it pass; whoever listens overrides what it wants to hear, and never raises.

    In DDP only rank 0 has one that listens.
    """

    def begins(self) -> None:
        """The trainer is set up, and about to be looked at."""

    def micro_batch(self) -> None:
        """A micro-batch was written down."""

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
        """Rank 0 is lost: another rank tells of its own end."""


Listen = Callable[[Any, Any], Listener]
"""Gives the listener of a run, from its trainer and recorder."""
