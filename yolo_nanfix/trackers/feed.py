"""Sends readings and events to the trackers of a run, at a limited rate; their errors never reach the training."""

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

GIVEN = ("scalars", "notes", "pictures")
EVERY, SECONDS = 50, 10.0
"""Between epochs and events, scalars are sent every so many micro-batches, and at most once in so many seconds."""
MOST_NOTES, MOST_PICTURES = 50, 20
"""At most this many events of a run are sent as text, and this many images; the scalars count all."""


def active(trainer: Any) -> dict[str, Tracker]:
    """The trackers whose callbacks Ultralytics added to this trainer, by their names."""
    modules = {getattr(f, "__module__", None) for functions in trainer.callbacks.values() for f in functions}
    found = {}
    for full in sorted(name for name in modules if name and ".utils.callbacks." in f".{name}"):
        name = full.rpartition(".")[2]
        if full.startswith("ultralytics.") and name in TRACKERS and full in sys.modules:
            called, kind = TRACKERS[name]
            found[called] = kind(sys.modules[full], trainer)
    return found


class Feed:
    """The trackers of one run. One that raises is removed, with one line in the log.

    Attributes:
        given: by tracker the number of calls of each kind.
        failed: by tracker why it was removed.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self.trackers = dict(trackers)
        self.given: dict[str, Counter[str]] = {name: Counter() for name in trackers}
        self.failed: dict[str, str] = {}
        self._notes = self._pictures = 0
        self._last = monotonic()

    def due(self, micro_batches: int) -> bool:
        """Whether scalars are to be sent after this micro-batch."""
        return bool(self.trackers) and micro_batches % EVERY == 0 and monotonic() - self._last >= SECONDS

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Send the finite values."""
        finite = {name: value for name, value in values.items() if isfinite(value)}
        self._last = monotonic()
        self._each("scalars", lambda tracker: tracker.scalars(finite, step))

    def note(self, step: int, title: str, text: str) -> bool:
        """Send an event as text, up to `MOST_NOTES`; returns whether it was one of these."""
        self._notes += 1
        if self._notes <= MOST_NOTES:
            self._each("notes", lambda tracker: tracker.note(step, title, text))
        return self._notes <= MOST_NOTES

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Send an image of an event (HxWx3 RGB), up to `MOST_PICTURES`."""
        self._pictures += 1
        if self._pictures <= MOST_PICTURES:
            self._each("pictures", lambda tracker: tracker.picture(step, name, pixels))

    def as_dict(self) -> dict[str, Any]:
        """For the report of the run: what was sent to each tracker, and why one was removed."""
        return {
            name: {**{kind: given[kind] for kind in GIVEN}, "left_out": self.failed.get(name, "")}
            for name, given in self.given.items()
            if given.total() or name in self.failed
        }

    def _each(self, kind: str, give: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                with _same_random_numbers():
                    if tracker.target() is not None:
                        give(tracker)
                        self.given[name][kind] += 1
            except Exception as error:  # of the tracker, its server or its disk: training continues
                del self.trackers[name]
                self.failed[name] = f"{type(error).__name__}: {error}"
                upstream.log(
                    f"yolo-nanfix: {name} did not take the guard's readings: {self.failed[name]}; it is left out"
                )


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Restore the random states: a tracker that draws a name must not change the augmentation of later images."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
