"""What all trackers can be given, and how one is reached: through Ultralytics' own callbacks, never by an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROUP = "nanfix"
"""All that is given stands under this name."""


@dataclass(frozen=True)
class Note:
    """An event as text.

    Attributes:
        step: micro-batches of the run so far.
        title: where and what, in a few words.
        text: what was seen and done; may hold file names, so it is plain text, never markup.
    """

    step: int
    title: str
    text: str


@dataclass(frozen=True)
class Shown:
    """An image that an event is about: micro-batches so far, its file name, RGB pixels (uint8, HxWx3)."""

    step: int
    name: str
    pixels: NDArray[np.uint8]


class Tracker(Protocol):
    """One tracker in one run. What its methods raise is caught by `feed.Feed`."""

    def ready(self) -> bool:
        """Whether it takes anything now: it may not have begun, have ended, or have been given up by Ultralytics."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Take finite numbers by their names without the group."""

    def note(self, note: Note) -> None:
        """Take an event."""

    def picture(self, shown: Shown) -> None:
        """Take an image."""


class Reach(Protocol):
    """Makes a tracker of Ultralytics' callback module and the trainer."""

    def __call__(self, module: ModuleType, trainer: Any) -> Tracker:
        """Nothing is written yet."""
