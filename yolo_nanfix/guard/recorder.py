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
    `steps_taken` counts optimizer steps, `steps_refused` those that the guard held back, `steps_undone` those that
    `rollbacks` took back. `epochs_without_step` lists the epochs (1-based) in which something was dropped or refused
    and no step was taken. `epochs_redone` counts those that Ultralytics itself began again (memory ran out, or its
    NaN recovery ran). `ema_nan` names buffers, infinite by design, of which Ultralytics' EMA makes NaN. `finished`
    becomes true when the trainer reaches its own end. `readings` has a row for each micro-batch, and `audience` is
    told of all this while the run goes. `start` are checksums of the weights that the run started with, `pretrained`
    tells whether these were trained before, None if that is not known.
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
        self.steps_taken = 0
        self.steps_refused = 0
        self.rollbacks = 0
        self.steps_undone = 0
        self.epochs_without_step: list[int] = []
        self._before_epoch = (0, 0)
        self.epochs_redone = 0
        self.ema_nan: list[str] = []
        self.start: dict[str, int] = {}
        self.pretrained: bool | None = None
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

    def stepped(self) -> None:
        """The optimizer took a step."""
        self.steps_taken += 1

    def refused(self) -> None:
        """The guard held an optimizer step back."""
        self.steps_refused += 1

    def rolled_back(self, steps: int) -> None:
        """The state went back to that of an earlier step; `steps` optimizer steps are undone by it."""
        self.rollbacks += 1
        self.steps_undone += steps

    def epoch_over(self, epoch: int) -> None:
        """An epoch (1-based) was trained."""
        steps, lost = self._before_epoch
        self._before_epoch = self.steps_taken, self._lost()
        if self.steps_taken == steps and self._lost() > lost:
            self.epochs_without_step.append(epoch)

    def _lost(self) -> int:
        return self.dropped + self.steps_refused + self.scaler_skips

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {
            "micro_batches": self.micro_batches,
            "dropped_micro_batches": self.dropped,
            "steps_taken": self.steps_taken,
            "steps_refused": self.steps_refused,
            "rollbacks": self.rollbacks,
            "steps_undone": self.steps_undone,
            "epochs_without_step": list(self.epochs_without_step),
            "epochs_redone": self.epochs_redone,
            "ema_nan": list(self.ema_nan),
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
