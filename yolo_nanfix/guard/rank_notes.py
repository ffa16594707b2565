"""What single ranks saw and counted that the others did not: told to the rank that writes the report of all.

What all ranks agree upon, each writes down itself. Samples that one rank left out of its own batch, or a batch of its
part of the validation, only that rank knows of.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yolo_nanfix.events import Event
from yolo_nanfix.guard import distributed
from yolo_nanfix.guard.listener import Listener
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.verdicts import Verdict

MOST, SOURCES = 100, 32
"""At most so many events does a rank tell, with so many images each; of further ones it tells how many."""
TOLD = "events"
"""Under this name stands how many further events there were; beside it how many of each check."""
COUNTS = ("left_out", "unreadable_samples", "sick_samples", "spikes")


class Notes:
    """The notes of one rank, and those that it heard.

    `wanted`: this rank shall hear the others' notes. `told` counts how often this one had new ones to tell.
    """

    def __init__(self, recorder: Recorder, listener: Listener) -> None:
        """None yet."""
        self.recorder, self.listener = recorder, listener
        self.wanted = False
        self.told = 0
        self._lock = threading.Lock()
        self._mine: list[dict[str, Any]] = []
        self._more: Counter[str] = Counter()
        self._last: Any = None
        self._not_mine = Counter(self._counts())
        self._heard: dict[int, tuple[int, Mapping[str, Any]]] = {}
        self._taken: dict[int, Mapping[str, Any]] = {}

    def add(self, event: Event, verdict: Verdict | None) -> None:
        """One more event of this rank's own."""
        suspects = sorted(event.sources, key=lambda source: not source.suspect)
        event = replace(event, sources=tuple(suspects[:SOURCES]))
        with self._lock:
            if len(self._mine) < MOST:
                self._mine.append({"event": event.as_dict(), "verdict": verdict.as_dict() if verdict else None})
            else:
                self._more.update([TOLD, *(check.value for check in event.checks)])

    def to_tell(self) -> dict[str, Any] | None:
        """All notes so far, JSON-ready; None if there are no new ones."""
        with self._lock:
            counts = {name: count - self._not_mine[name] for name, count in self._counts().items()}
            now = {"events": list(self._mine), "more": dict(self._more), "counts": counts}
            now |= {"quarantined": list(self.recorder.quarantined), "unreadable": dict(self.recorder.unreadable)}
        if now == self._last or not any((self._mine, *counts.values(), now["quarantined"])):
            return None
        self._last = now
        self.told += 1
        return now

    def news(self, rank: int, told: int) -> bool:
        """Whether a rank that told so often has notes that this one has not heard, and wants to."""
        return self.wanted and told > self._heard.get(rank, (0, {}))[0]

    def hear(self, rank: int, told: int, notes: Any) -> None:
        """Another rank's notes, as they lie on the board."""
        if isinstance(notes, Mapping):
            with self._lock:
                self._heard[rank] = told, notes

    def take_in(self) -> None:
        """Write down in this rank's recorder what was heard since the last time."""
        with self._lock:
            heard = dict(self._heard)
        for rank, (_, notes) in sorted(heard.items()):
            before = self._taken.get(rank, {"events": [], "more": {}, "counts": {}})
            self._taken[rank] = notes
            for note in notes["events"][len(before["events"]) :]:
                verdict = Verdict.from_dict(note["verdict"]) if note["verdict"] else None
                self._write_down(Event.from_dict(note["event"]), verdict)
            for check, count in notes["more"].items():
                news = int(count) - int(before["more"].get(check, 0))
                if check == TOLD:
                    self.recorder.seen += news
                else:
                    self.recorder.counts[check] += news
            for name in COUNTS:
                news = int(notes["counts"][name]) - int(before["counts"].get(name, 0))
                setattr(self.recorder, name, getattr(self.recorder, name) + news)
                self._not_mine[name] += news
            self.recorder.leave_out(map(str, notes["quarantined"]))
            self.recorder.unreadable |= {str(k): str(v) for k, v in notes["unreadable"].items()}

    def _write_down(self, event: Event, verdict: Verdict | None) -> None:
        """An event of another rank's: part of the one of the same step, if there is one."""
        known = next((other for other in reversed(self.recorder.events) if _same_step(other, event)), None)
        if known is None:
            event = distributed.joined(event, [event], event.ranks)
            self.recorder.keep(event, verdict)
            self.listener.event(event, lambda: ())
            return
        parts = tuple(sorted((*known.ranks, *event.ranks), key=lambda part: part.rank))
        both = distributed.joined(known, [known, event], parts)
        actions = tuple(dict.fromkeys((*known.actions, *event.actions)))
        self.recorder.learn(verdict)
        self.recorder.replace(known, replace(both, checks=known.checks, actions=actions))

    def _counts(self) -> dict[str, int]:
        return {name: getattr(self.recorder, name) for name in COUNTS}


def _same_step(one: Event, other: Event) -> bool:
    """Whether two events are one: the same thing met by different ranks in the same step."""
    place = ("point", "checks", "epoch", "batch", "step", "val_batch")
    apart = {part.rank for part in one.ranks}.isdisjoint(part.rank for part in other.ranks)
    return bool(one.ranks) and apart and all(getattr(one, name) == getattr(other, name) for name in place)
