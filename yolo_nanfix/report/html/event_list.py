"""What the guard saw and did in a run, as the page lists it: like events together, and what stock would have done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from yolo_nanfix.events import LOSSES, Level
from yolo_nanfix.report import event_text
from yolo_nanfix.report.html import charts
from yolo_nanfix.report.html.charts import Axis, Mark
from yolo_nanfix.run_folder import lenient
from yolo_nanfix.run_folder.read import RunFolder

LISTED = 100
"""At most so many kinds of events are listed."""
MEASURED = "8.4.190"
DIVERGES = "trains on to the end: finite garbage, mAP 0, without NaN and without a warning"
"""learning-rate-*, and 14 settings in the reproductions."""


@dataclass
class Happening:
    """Events of one kind: the same check, action and images.

    Attributes:
        number: 1-based, in order of the first of them.
        level: fatal, error, warning or info.
        where: epoch and batch of the first, and of the last.
        times: how many.
        detail: the values seen.
        action: what was done.
        images: the images suspected; of events that suspect none, none.
        stock: what stock Ultralytics would have done; empty if not known.
        incidents: names of the incident files written for them.
        places: where they stand on the horizontal axis of the charts.
    """

    number: int
    level: str
    where: str
    times: int
    detail: str
    action: str
    images: tuple[str, ...]
    stock: str
    incidents: list[str] = field(default_factory=list)
    places: list[float] = field(default_factory=list)
    last: str = ""

    @property
    def span(self) -> str:
        """From where to where."""
        return f"{self.where} to {self.last}" if self.times > 1 and self.last != self.where else self.where


def happenings(run: RunFolder, on: Axis) -> list[Happening]:
    """All that the report of a run lists, in its order."""
    found: dict[tuple[Any, ...], Happening] = {}
    setting = Setting(run)
    for event in lenient.entries(run.summary, "guard", "events"):
        if not isinstance(event, Mapping):
            continue
        action, images = event_text.action(event), suspects(event)
        key = (event_text.checks(event), action, images)
        if key not in found:
            found[key] = Happening(
                number=len(found) + 1,
                level=event_text.level(event).value,
                where=where(event),
                times=0,
                detail=lenient.text(event, "detail"),
                action=action,
                images=images,
                stock=would(setting.of(event)),
            )
        entry = found[key]
        entry.times += 1
        entry.last = where(event)
        entry.incidents += incidents(event)
        numbers = {key: lenient.number(event, key) or 0.0 for key in ("step", "epoch", "batch")}
        place = charts.place(run, on, numbers)
        if place is not None and np.isfinite(place):
            entry.places.append(place)
    return list(found.values())


def marks(listed: list[Happening], prefix: str = "") -> list[Mark]:
    """The events as marks on the charts, linked to their place in the list."""
    return [
        Mark(
            place,
            f"{prefix}{entry.number}",
            entry.level,
            f"{entry.where}: {entry.detail}; {entry.action}"[:300],
            f"event-{prefix}{entry.number}" if entry.number <= LISTED else "",
        )
        for entry in listed
        for place in entry.places
    ]


def where(event: Mapping[str, Any]) -> str:
    """`epoch 2, batch 9`; `before the first step`."""
    epoch, batch = lenient.count(event, "epoch"), lenient.count(event, "batch")
    if lenient.text(event, "point") == "start":
        return "before the first step"
    return f"epoch {epoch}" + (f", batch {batch}" if batch else "")


def suspects(event: Mapping[str, Any]) -> tuple[str, ...]:
    """The images an event suspects, as they are."""
    return tuple(
        lenient.raw(source, "file")
        for source in lenient.entries(event, "sources")
        if lenient.text(source, "suspect") and lenient.raw(source, "file")
    )


def incidents(event: Mapping[str, Any]) -> list[str]:
    """The names of the incident files of an event, of all ranks that wrote one."""
    parts = [part for part in lenient.entries(event, "ranks") if isinstance(part, Mapping)]
    named = [lenient.text(one, "incident") for one in (event, *parts)]
    return list(dict.fromkeys(name for name in named if name))


def dropped(event: Mapping[str, Any]) -> bool:
    """Whether the event cost a micro-batch."""
    return any(action.did in LOSSES for action in event_text.actions(event))


class Setting:
    """What is known of a run as a whole that decides what stock would have done with an event of it."""

    def __init__(self, run: RunFolder) -> None:
        """Look once."""
        self.epochs = lenient.count(run.args, "epochs")
        self.scaler = _has_scaler(run)
        self.causes: list[tuple[frozenset[str], str]] = [
            (frozenset(map(str, lenient.entries(verdict, "images"))), lenient.text(verdict, "cause"))
            for verdict in lenient.entries(run.summary, "guard", "verdicts")
        ]
        self.ends = {epoch: step for step, epoch in charts.axis(run).epochs}
        nbs, batch = lenient.count(run.args, "nbs"), lenient.count(run.args, "batch")
        self.window = max(1, round(nbs / batch)) if nbs and batch else 0

    def of(self, event: Mapping[str, Any]) -> Situation:
        """The situation of one event."""
        epoch, step = lenient.count(event, "epoch"), lenient.count(event, "step")
        left = self.ends[epoch] - step if step and epoch in self.ends else -1
        return Situation(
            checks=frozenset(event_text.checks(event)),
            cause=self._cause(frozenset(suspects(event))),
            scaler=self.scaler,
            epoch=epoch,
            epochs=self.epochs,
            last_in_epoch=left == 0,
            last_window=epoch == self.epochs and 0 <= left < self.window,
            before_start=lenient.text(event, "point") == "start",
            severe=event_text.level(event) in (Level.FATAL, Level.ERROR),
        )

    def _cause(self, images: frozenset[str]) -> str:
        """The class of cause of the verdict on these images; of the only verdict where there is one alone."""
        if len(self.causes) == 1:
            return self.causes[0][1]
        return next((cause for named, cause in self.causes if images and named & images), "")


def _has_scaler(run: RunFolder) -> bool | None:
    """Whether a GradScaler scaled the loss: the steps file tells, else None."""
    if not run.steps.rows or "loss_scale" not in run.steps.columns:
        return None
    return run.steps.column("loss_scale") is not None


def short(path: str, root: str) -> str:
    """A path from a folder on, printable, with slashes."""
    shown = lenient.text(path).replace("\\", "/") if "\\" in path and "/" not in path else lenient.text(path)
    prefix = root.rstrip("/") + "/"
    return shown.removeprefix(prefix) if root else shown


def from_root(root: str, words: str) -> str:
    """Text with the paths in it from the dataset's folder on."""
    return words.replace(root.rstrip("/") + "/", "") if root else words


def root_of(run: RunFolder) -> str:
    """The folder of data.yaml, from which images are named; empty if it is not known."""
    data = lenient.text(run.summary, "lint", "data") or lenient.text(run.args, "data")
    return str(PurePath(data).parent) if data.startswith("/") else ""


@dataclass(frozen=True)
class Situation:
    """What is known of an event that decides what stock does.

    Attributes:
        checks: the sensors that fired.
        cause: the verdict's class of cause; empty if there is none.
        scaler: whether the run has a GradScaler (AMP with float16); None if that is not known.
        epoch: 1-based; 0 if not known.
        epochs: of the run; 0 if not known.
        last_in_epoch: whether it was the last micro-batch of its epoch.
        last_window: whether it was one of the last optimizer step of the run.
        before_start: whether it was seen before the first step.
        severe: whether something was lost or taken back for it.
    """

    checks: frozenset[str]
    cause: str = ""
    scaler: bool | None = None
    epoch: int = 0
    epochs: int = 0
    last_in_epoch: bool = False
    last_window: bool = False
    before_start: bool = False
    severe: bool = True


def would(s: Situation) -> str:
    """What stock Ultralytics would have done, in a sentence; empty where that was not measured."""
    if s.before_start:
        return _at_start(s)
    if s.checks & {"val-loss", "val-batch"}:
        return (
            "shows NaN validation losses in each epoch, without a warning and without naming the image"  # val-image-nan
        )
    if s.checks & {"divergence", "update-ratio"}:
        return DIVERGES if s.severe else ""
    if "loss-scale" in s.checks:  # loss-scale-collapse
        return "halves the loss scale to 0, and the next good step makes every weight NaN: RuntimeError"
    if s.cause == "state" or s.checks == {"weights"} or s.checks == {"ema"}:
        return _sick_state(s)
    if s.checks <= {"pixels"} and s.checks:
        return _odd_pixels(s)
    if s.checks == {"targets"}:
        return "trains on: the assigner swallows a NaN box, so that this object is background"  # target-nan-centre
    if s.checks & {"loss", "batchnorm", "outputs", "pixels"}:
        return _sick_forward(s)
    if "gradient" in s.checks:
        return _sick_gradient(s)
    return ""


def _sick_forward(s: Situation) -> str:
    """A forward pass that is not finite: pixel-nan-*, activation-half-*, loss-*."""
    if s.scaler is None:
        return ""
    if s.scaler and "batchnorm" not in s.checks:
        return "survives, too: the GradScaler skips the step"  # loss-divided-by-zero
    if s.scaler and s.last_in_epoch:  # pixel-nan-last-batch
        return "ends with RuntimeError: NaN persisted" if s.epoch == s.epochs else ""
    if s.scaler:  # pixel-nan-middle-scaler, reproduction 02
        return (
            "skips the step, but BatchNorm's running statistics stay NaN: mAP 0 and NaN validation losses for the rest "
            "of the run, with normal training losses and no warning"
        )
    if s.last_window or s.epochs == 1:  # pixel-nan-last-window, pixel-nan-one-epoch
        return "ends without an error, and every weight is NaN: last.pt and best.pt are written as zeros"
    if s.epoch == 1:  # pixel-nan-first-epoch
        return "writes zeros to last.pt and best.pt, reloads them three times, then RuntimeError: NaN persisted"
    return "goes back to last.pt, at most three times in a row: RuntimeError if the fault comes again"  # tiff-nan-*


def _sick_gradient(s: Situation) -> str:
    """A gradient that is not finite under a finite loss: gradient-*."""
    if s.cause == "gradient":
        return "trains on: clipping makes nothing of that whole step"  # gradient-huge
    if s.scaler:
        return "survives, too: the GradScaler skips the step"  # gradient-nan-scaler
    if s.scaler is None:
        return ""
    if s.last_window:  # gradient-nan-last-step
        return "clips by a NaN norm, which makes every weight NaN; nothing looks after the last step: zeros are saved"
    return (
        "clips by a NaN norm, which makes every weight NaN, and ends with RuntimeError: NaN persisted"  # gradient-nan-*
    )


def _sick_state(s: Situation) -> str:
    """State that went bad while training: live-*."""
    if "batchnorm" in s.checks and s.cause == "state":
        return "a NaN in BatchNorm's statistics never decays: mAP 0 for the rest of the run"  # live-batchnorm-nan
    if s.checks == {"ema"}:
        return "validates the NaN average of that epoch: NaN validation losses"  # live-ema-nan
    return (
        "ends with RuntimeError, or with mAP 0 where a GradScaler skips all steps"  # live-weights-nan, live-weights-inf
    )


def _odd_pixels(s: Situation) -> str:
    """Pixels that are finite, but not between 0 and 1: pixels-prescaled, tiff-minus-9999."""
    return "trains on them without a word"


def _at_start(s: Situation) -> str:
    """checkpoint-*, resume-*."""
    if "batchnorm" in s.checks:
        return "mAP 0 from the start: NaN in BatchNorm's statistics never decays"  # checkpoint-nan-batchnorm
    if "optimizer" in s.checks:
        return (
            "restores the NaN optimizer state, and the first step makes the weights NaN: mAP 0"  # resume-nan-optimizer
        )
    if "loss-scale" in s.checks:
        return "restores a loss scale of 0, and the first step makes the weights NaN: mAP 0"  # resume-scale-zero
    if "weights" in s.checks:
        return "trains NaN weights from the first batch on: RuntimeError"  # checkpoint-nan-weights
    return ""
