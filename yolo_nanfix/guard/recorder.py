"""Counts everything and keeps the events; what the run's report is made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

from yolo_nanfix.guard.audience import Audience, Pictures
from yolo_nanfix.guard.events import Event
from yolo_nanfix.guard.readings import Readings
from yolo_nanfix.verdicts import Verdict

KEPT = 1000
INCIDENTS = "incidents"
"""The folder in a run's own that holds its incident files."""


class Recorder:
    """What happened in one training run.

    The first 1 000 events are kept whole, all are counted, and the latest is known, of each check, too. `quarantined`
    lists the images that the guard left out from some batch on, `left_out` counts the samples that this kept out.
    `spikes` counts alarms about finite losses and norms that were not severe, so that nothing was done about each.
    `finished` becomes true when the trainer reaches its own end. `readings` has a row for each micro-batch, and
    `audience` is told of all this while the run goes.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.events: list[Event] = []
        self.last: Event | None = None
        self.counts: Counter[str] = Counter()
        self.latest: dict[str, Event] = {}
        self.finished = False
        self.micro_batches = 0
        self.dropped = 0
        self.scaler_skips = 0
        self.left_out = 0
        self.spikes = 0
        self.quarantined: list[str] = []
        self.verdicts: list[Verdict] = []
        self.readings = Readings()
        self.audience = Audience()

    @property
    def step(self) -> int:
        """How many micro-batches the run has had, those before it was resumed included."""
        return self.readings.before + self.micro_batches

    def add(
        self, event: Event, dropped: int = 0, verdict: Verdict | None = None, pictures: Pictures = lambda: ()
    ) -> None:
        """Count an event, how many micro-batches it cost, keep what it was found to come from, and tell of it."""
        if verdict is not None and not any(_same(verdict, known) for known in self.verdicts):
            self.verdicts.append(verdict)
        self.counts[event.check] += 1
        self.dropped += dropped
        self.latest[event.check] = self.last = event
        if len(self.events) < KEPT:
            self.events.append(event)
        self.audience.event(event, pictures)

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {
            "micro_batches": self.micro_batches,
            "dropped_micro_batches": self.dropped,
            "steps_skipped_by_grad_scaler": self.scaler_skips,
            "quarantined": list(self.quarantined),
            "quarantined_samples": self.left_out,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "spikes": self.spikes,
            "events_by_check": dict(self.counts),
            "events": [event.as_dict() for event in self.events],
            "events_left_out": sum(self.counts.values()) - len(self.events),
        }


def _same(one: Verdict, other: Verdict) -> bool:
    """Whether two verdicts say the same, whatever the evidence."""
    return all(getattr(one, n) == getattr(other, n) for n in ("cause", "op", "module", "tensor", "images", "labels"))
