"""Facts that the ranks of a run share without a collective, so that no rank waits for another.

They lie in the key-value store (TCPStore) by which the ranks found each other, which under torchrun their launcher
keeps; each rank has its own connection to it for this. Values are JSON: nothing is unpickled. `Notes` are what single
ranks saw and counted, sent to the rank that writes the report of all: what all ranks agree upon, each records itself,
but only the rank that left a sample out of its batch knows of it.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from yolo_nanfix.events import Event
from yolo_nanfix.guard import distributed
from yolo_nanfix.guard.listener import Listener
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.verdicts import Verdict

PREFIX = "yolo-nanfix"
LARGEST_FACT = 1 << 20
"""Characters of a value; longer ones are not stored."""
PATIENCE = timedelta(seconds=10)
"""Timeout of one request to the store."""


class Board:
    """The store of one run, seen from one rank of `world`."""

    def __init__(self, store: Any, rank: int, world: int) -> None:
        self.store, self.rank, self.world = store, rank, world

    @property
    def others(self) -> tuple[int, ...]:
        """The other ranks."""
        return tuple(rank for rank in range(self.world) if rank != self.rank)

    def put(self, name: str, value: Any) -> None:
        """Store a value under this rank and a name, in place of the last one.

        Raises:
            RuntimeError: the store does not answer.
        """
        text = json.dumps(value)
        if len(text) <= LARGEST_FACT:
            self.store.set(f"{PREFIX}/{self.rank}/{name}", text)

    def read(self, rank: int, name: str) -> Any:
        """What a rank stored under a name last; None where it stored nothing yet.

        Raises:
            RuntimeError: the store does not answer.
            ValueError: something else wrote there.
        """
        key = f"{PREFIX}/{rank}/{name}"
        return json.loads(self.store.get(key)) if self.store.check([key]) else None


def connect() -> Board | None:
    """The board of the run of this process; None where its ranks did not find each other by a store."""
    address, port = os.getenv("MASTER_ADDR"), os.getenv("MASTER_PORT", "")
    if not address or not port.isdecimal():
        return None
    stores: Any = dist  # its own `__init__` re-exports the stores without naming them
    try:
        store = stores.TCPStore(address, int(port), None, False, PATIENCE, wait_for_workers=False)
    except (RuntimeError, ValueError, OSError):
        return None
    attempt = os.getenv("TORCHELASTIC_RESTART_COUNT", "0")
    return Board(stores.PrefixStore(attempt, store), dist.get_rank(), dist.get_world_size())


MOST_EVENTS, SOURCES = 100, 32
"""Most events that a rank sends, and most images of each; further events are counted."""
TOLD = "events"
"""Key of the number of further events; beside it is their number by check."""
COUNTS = ("left_out", "unreadable_samples", "bad_samples", "spikes")


class Notes:
    """The notes of one rank, and those that it received.

    `wanted`: this rank receives the others' notes. `told` counts how often this one had new ones to send.
    """

    def __init__(self, recorder: Recorder, listener: Listener) -> None:
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
            if len(self._mine) < MOST_EVENTS:
                self._mine.append({"event": event.as_dict(), "verdict": verdict.as_dict() if verdict else None})
            else:
                self._more.update([TOLD, *(check.value for check in event.checks)])

    def to_tell(self) -> dict[str, Any] | None:
        """All notes so far, JSON-ready; None if none is new."""
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
        """Whether a rank that sent notes so often has some that this one wants and has not received."""
        return self.wanted and told > self._heard.get(rank, (0, {}))[0]

    def hear(self, rank: int, told: int, notes: Any) -> None:
        """Receive another rank's notes, as the board has them."""
        if isinstance(notes, Mapping):
            with self._lock:
                self._heard[rank] = told, notes

    def take_in(self) -> None:
        """Add to this rank's recorder what was received since the last time."""
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
        """Record another rank's event: as part of the one of the same step, if there is one."""
        known = next((other for other in reversed(self.recorder.events) if _same_step(other, event)), None)
        if known is None:
            event = distributed.joined_event(event, [event], event.ranks)
            self.recorder.keep(event, verdict)
            self.listener.event(event, lambda: ())
            return
        parts = tuple(sorted((*known.ranks, *event.ranks), key=lambda part: part.rank))
        both = distributed.joined_event(known, [known, event], parts)
        actions = tuple(dict.fromkeys((*known.actions, *event.actions)))
        self.recorder.learn(verdict)
        self.recorder.replace(known, replace(both, checks=known.checks, actions=actions))

    def _counts(self) -> dict[str, int]:
        return {name: getattr(self.recorder, name) for name in COUNTS}


def _same_step(one: Event, other: Event) -> bool:
    place = ("point", "checks", "epoch", "batch", "step", "val_batch")
    apart = {part.rank for part in one.ranks}.isdisjoint(part.rank for part in other.ranks)
    return bool(one.ranks) and apart and all(getattr(one, name) == getattr(other, name) for name in place)
