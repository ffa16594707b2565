"""Counts what happened in a run and keeps its events; the run's report is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from yolo_nanfix.events import LOSSES, Did, Event
from yolo_nanfix.findings import Finding
from yolo_nanfix.guard.lost_ranks import Processes
from yolo_nanfix.guard.step_log import StepLog
from yolo_nanfix.verdicts import Verdict

EVENTS_KEPT = 1000
REDONE = ("micro_batches", "steps_taken", "steps_undone")
"""Counts of what a resumed run trains again, if it was killed after it trained them and before it saved."""
REPORTED = (
    *("micro_batches", "micro_batches_redone", "epochs_unknown", "steps_taken", "steps_refused", "rollbacks"),
    *("steps_undone", "epochs_without_step", "epochs_redone", "ema_nan", "quarantined", "unreadable"),
    *("unreadable_samples", "bad_samples", "spikes"),
)
"""What the report has under the same names."""
INCIDENTS = "incidents"
"""The folder in a run's own that holds its incident files."""


class Recorder:
    """What happened in one training run.

    The first 1 000 events are kept whole, all are counted (`seen`; `counts` and `latest` by check). `quarantined` lists
    the images that the guard left out from some batch on, `left_out` counts the samples that this kept out.
    `unreadable` has the last error of each image that could not be read at some time, `unreadable_samples` counts the
    samples that this kept out of a batch, `bad_samples` those left out alone for what code or labels made of them.
    `spikes` counts alarms about finite losses and norms that were not severe, so that nothing was done about each.
    `steps_taken` counts optimizer steps, `steps_refused` those that the guard held back, `steps_undone` those that
    `rollbacks` undid. `epochs_without_step` lists the epochs (1-based) in which no step was taken because of
    faults. `epochs_redone` counts those that Ultralytics itself began again (memory ran out, or its NaN recovery ran).
    `ema_nan` names buffers, infinite by design, of which Ultralytics' EMA makes NaN. `finished` becomes true when the
    trainer reaches its own end. `step_log` has a row for each micro-batch. `start` are checksums of the weights that
    the run started with, `pretrained` tells whether these were trained before, None if that is not known. `resumed`
    lists after how many epochs the run was resumed; all counts go on then, except for `epochs_unknown` epochs of which
    no state was saved. `in_force` gives what is in force in the run, once it has a guard. `beforehand` are
    the images that were left out before an earlier part of the run, with the findings about them. `processes` is what
    is known of those that train together.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last: Event | None = None
        self.seen = 0
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
        self._before_epoch = (0, 0, 0, 0)
        self.epochs_redone = 0
        self.ema_nan: list[str] = []
        self.start: dict[str, int] = {}
        self.pretrained: bool | None = None
        self.resumed: list[int] = []
        self.epochs_unknown = 0
        self.micro_batches_redone = 0
        self.in_force: Callable[[], Mapping[str, Any]] | None = None
        self.beforehand: Mapping[str, tuple[Finding, ...]] = {}
        self._marks: list[tuple[int, ...]] = []
        self._carried = 0
        self.quarantined: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.unreadable_samples = self.bad_samples = 0
        self.verdicts: list[Verdict] = []
        self.step_log = StepLog()
        self.processes = Processes()

    @property
    def step(self) -> int:
        """How many micro-batches the run has had, those before it was resumed included."""
        return max(self.step_log.before, self._carried) + self.micro_batches - self._carried

    def add(self, event: Event, verdict: Verdict | None = None) -> None:
        """Keep an event and what it was found to come from, and count what was done about it."""
        self.keep(event, verdict)
        for action in event.actions:
            if action.did in LOSSES:
                self.dropped += action.count or 0
            elif action.did is Did.ROLLED_BACK:
                self.rollbacks += 1
                self.steps_undone += action.count or 0
            elif action.did is Did.QUARANTINED:
                self.leave_out(action.images)

    def keep(self, event: Event, verdict: Verdict | None) -> None:
        """Keep an event, which may be another rank's: what was done there is not counted here."""
        self.learn(verdict)
        self.seen += 1
        self.counts.update(check.value for check in event.checks)
        self.latest |= {check.value: event for check in event.checks}
        self.last = event
        if len(self.events) < EVENTS_KEPT:
            self.events.append(event)

    def learn(self, verdict: Verdict | None) -> None:
        """Keep a verdict, unless one that says the same was kept already."""
        if verdict is not None and not any(_same_verdict(verdict, known) for known in self.verdicts):
            self.verdicts.append(verdict)

    def leave_out(self, images: Iterable[str]) -> None:
        """Note images that are left out from now on; those noted already change nothing."""
        self.quarantined = list(dict.fromkeys([*self.quarantined, *images]))

    def replace(self, event: Event, better: Event) -> None:
        """Put a more complete event in the place of one that was added before."""
        self.events = [better if known is event else known for known in self.events]
        self.latest = {check: better if known is event else known for check, known in self.latest.items()}
        self.last = better if self.last is event else self.last

    def epoch_over(self, epoch: int) -> None:
        """An epoch (1-based) was trained. It may have no step in it: a window may be longer than an epoch."""
        now = self.steps_taken, self.steps_refused + self.scaler_skips, self.micro_batches, self.dropped
        steps, held_back, micro_batches, dropped = (a - b for a, b in zip(now, self._before_epoch, strict=True))
        self._before_epoch = now
        if not steps and (held_back or 0 < micro_batches <= dropped):
            self.epochs_without_step.append(epoch)
        self._marks.append((epoch, *(getattr(self, name) for name in REDONE)))

    def lasting(self) -> dict[str, Any]:
        """What a run that is resumed from here needs, JSON-ready."""
        return {
            "plain": {name: value for name, value in vars(self).items() if name[0] != "_" and _is_json_ready(value)},
            "events": [event.as_dict() for event in self.events],
            "latest": {check: event.as_dict() for check, event in self.latest.items()},
            "last": self.last.as_dict() if self.last else None,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "marks": self._marks,
        }

    def take_up(self, lasting: Mapping[str, Any], epochs: int) -> None:
        """Go on from what `lasting` gave in an earlier part of the run; nothing was counted here yet.

        What went wrong counts although the run was killed later on; micro-batches and steps after the first `epochs`
        epochs, from where the run goes on, are trained again and count once.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: `lasting` did not write it; nothing was changed.
        """
        events = [Event.from_dict(event) for event in lasting["events"]]
        latest = {str(check): Event.from_dict(event) for check, event in lasting["latest"].items()}
        last = Event.from_dict(lasting["last"]) if lasting["last"] else None
        verdicts = [Verdict.from_dict(verdict) for verdict in lasting["verdicts"]]
        marks = [tuple(map(int, mark)) for mark in lasting["marks"] if int(mark[0]) <= epochs]
        mark = dict(zip(REDONE, marks[-1][1:] if marks else (0,) * len(REDONE), strict=True))
        plain = {name: value for name, value in lasting["plain"].items() if name in vars(self)}
        for name, value in plain.items():
            kind = dict if isinstance(getattr(self, name), dict) else type(getattr(self, name))
            if not _is_json_ready(value) or not isinstance(value, kind if kind is not type(None) else object):
                raise ValueError(f"{name} is {str(value)[:40]!r}")
        resumed = self.resumed
        for name, value in plain.items():
            setattr(self, name, Counter(value) if isinstance(getattr(self, name), Counter) else value)
        self.events, self.latest, self.last, self.verdicts, self._marks = events, latest, last, verdicts, marks
        self.resumed = [*self.resumed, *resumed]
        self.finished = False
        self.micro_batches_redone += self.micro_batches - mark["micro_batches"]
        for name, value in mark.items():
            setattr(self, name, value)
        self._carried = self.micro_batches
        self.epochs_without_step = [epoch for epoch in self.epochs_without_step if epoch <= epochs]
        held_back = self.steps_refused + self.scaler_skips
        self._before_epoch = self.steps_taken, held_back, self.micro_batches, self.dropped

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {
            **{name: deepcopy(getattr(self, name)) for name in REPORTED},
            "dropped_micro_batches": self.dropped,
            "resumed_after_epochs": list(self.resumed),
            "learning_rate_times": self.in_force().get("lr_scale", 1.0) if self.in_force else 1.0,
            "steps_skipped_by_grad_scaler": self.scaler_skips,
            "quarantined_samples": self.left_out,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "events_by_check": dict(self.counts),
            "events": [event.as_dict() for event in self.events],
            "events_left_out": self.seen - len(self.events),
        }


def _is_json_ready(value: Any) -> bool:
    """Whether a value is a number, text, or a list or mapping of such."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and type(one) in (int, str) for key, one in value.items())
    if isinstance(value, list):
        return all(type(one) in (int, str) for one in value)
    return value is None or type(value) in (int, bool, str)


def _same_verdict(one: Verdict, other: Verdict) -> bool:
    """Whether two verdicts say the same, whatever the evidence."""
    return all(getattr(one, n) == getattr(other, n) for n in ("cause", "op", "module", "tensor", "images", "labels"))
