"""Decides which trackers are given what, and when; sees to it that none of them can hurt the training."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix import upstream
from yolo_nanfix.trackers.services import TRACKERS, Tracker

KINDS = ("scalars", "notes", "pictures")
EVERY, SECONDS = 50, 10.0
"""Between epochs and events, scalars are given each so many micro-batches, and not more often than this."""
NOTES, PICTURES = 50, 20
"""At most so many events of a run as text, and so many images; all are counted in the scalars."""


def active(trainer: Any) -> dict[str, Tracker]:
    """The trackers whose callbacks Ultralytics gave this trainer, by what they are called."""
    modules = {getattr(f, "__module__", None) for functions in trainer.callbacks.values() for f in functions}
    found = {}
    for full in sorted(name for name in modules if name and ".utils.callbacks." in f".{name}"):
        name = full.rpartition(".")[2]
        if full.startswith("ultralytics.") and name in TRACKERS and full in sys.modules:
            called, kind = TRACKERS[name]
            found[called] = kind(sys.modules[full], trainer)
    return found


class Feed:
    """The trackers of one run. One that raises is left out from then on, and said so once.

    Attributes:
        given: by tracker how many calls of each kind it took.
        failed: by tracker why it was left out.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        """Nothing was given yet."""
        self.trackers = dict(trackers)
        self.given: dict[str, Counter[str]] = {name: Counter() for name in trackers}
        self.failed: dict[str, str] = {}
        self._notes = self._pictures = 0
        self._last = monotonic()

    def due(self, micro_batches: int) -> bool:
        """Whether scalars are to be given after this micro-batch."""
        return bool(self.trackers) and micro_batches % EVERY == 0 and monotonic() - self._last >= SECONDS

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Give those that are finite."""
        finite = {name: value for name, value in values.items() if isfinite(value)}
        self._last = monotonic()
        self._each("scalars", lambda tracker: tracker.scalars(finite, step))

    def note(self, step: int, title: str, text: str) -> bool:
        """Give an event, and say whether this is still one of those that are given."""
        self._notes += 1
        if self._notes <= NOTES:
            self._each("notes", lambda tracker: tracker.note(step, title, text))
        return self._notes <= NOTES

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Give an image that an event is about, by its file name."""
        self._pictures += 1
        if self._pictures <= PICTURES:
            self._each("pictures", lambda tracker: tracker.picture(step, name, pixels))

    def as_dict(self) -> dict[str, Any]:
        """For the report of the run: what each tracker took, and why one was left out."""
        took = {name: {kind: given[kind] for kind in KINDS} for name, given in self.given.items()}
        return {
            name: {**kinds, "left_out": self.failed.get(name, "")}
            for name, kinds in took.items()
            if any(kinds.values()) or name in self.failed
        }

    def _each(self, kind: str, give: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                with _same_random_numbers():
                    if tracker.target() is not None:
                        give(tracker)
                        self.given[name][kind] += 1
            except Exception as error:  # whatever a tracker, its server or its disk makes of it: training goes on
                del self.trackers[name]
                self.failed[name] = f"{type(error).__name__}: {error}"
                upstream.log(
                    f"yolo-nanfix: {name} did not take the guard's readings: {self.failed[name]}; it is left out"
                )


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """A tracker that draws random numbers, for a name, must not change the augmentation of later images."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
