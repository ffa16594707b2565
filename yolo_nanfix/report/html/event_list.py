"""The events of a run for its page, equal ones together, and what stock Ultralytics would have done.

Each sentence about stock Ultralytics was measured with release 8.4.190: in the zoo (`datasets/zoo`; comments name the
cases) or in the reproductions of the patches' cards. If it was not measured, there is no sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from yolo_nanfix.events import LOSSES, Check, Level
from yolo_nanfix.report import event_text
from yolo_nanfix.report.html import charts
from yolo_nanfix.report.html.charts import Axis, Mark
from yolo_nanfix.run_folder import lenient
from yolo_nanfix.run_folder.read import RunFolder

LISTED = 100
"""At most this many kinds of events are listed."""
EVENT_IMAGES = 8
"""At most this many images are named with an event."""
MEASURED = "8.4.190"
"""The release with which the sentences about stock were measured."""
SURVIVES = "survives, too: the GradScaler skips the step"
_FORWARD = {Check.LOSS, Check.BATCHNORM, Check.OUTPUTS, Check.PIXELS}


@dataclass
class EventGroup:
    """Events of one kind: the same checks, actions and suspect images.

    Attributes:
        number: in order of the first of them, from 1, perhaps after a letter.
        level: fatal, error, warning or info.
        where: epoch and batch of the first, and `last` of the last.
        times: how many.
        detail: the values seen.
        action: what was done.
        images: the suspect images, as far as they are named; `more_images` are not.
        stock: what stock Ultralytics would have done; empty if not known.
        like: number of the first group with the same `stock`, if that is another one.
        incidents: names of their incident files.
        places: their positions on the horizontal axis of the charts.
    """

    number: str
    level: str
    where: str
    detail: str
    action: str
    images: list[str]
    more_images: int
    stock: str
    like: str = ""
    times: int = 0
    incidents: list[str] = field(default_factory=list)
    places: list[float] = field(default_factory=list)
    last: str = ""

    @property
    def span(self) -> str:
        """The first and last position: `epoch 2, batch 9 to epoch 3, batch 1`."""
        return f"{self.where} to {self.last}" if self.times > 1 and self.last != self.where else self.where


def grouped_events(run: RunFolder, on: Axis, letter: str = "") -> list[EventGroup]:
    """All events of the report of a run, equal ones together, in the order of the first of each."""
    found: dict[tuple[Any, ...], EventGroup] = {}
    first: dict[str, str] = {}
    known, root = RunFacts(run), root_of(run)
    for event in lenient.entries(run.summary, "guard", "events"):
        if not isinstance(event, Mapping):
            continue
        action, images = event_text.action(event, root), suspects(event)
        key = (event_text.checks(event), action, images)
        if key not in found:
            number, stock = f"{letter}{len(found) + 1}", stock_would(known.case(event))
            found[key] = EventGroup(
                number=number,
                level=event_text.level(event).value,
                where=when(event),
                detail=event_text.detail(event, root),
                action=action,
                images=[short(image, root) for image in images[:EVENT_IMAGES]],
                more_images=max(0, len(images) - EVENT_IMAGES),
                stock=stock,
                like=first.get(stock, ""),
            )
            first.setdefault(stock, number)
        group = found[key]
        group.times += 1
        group.last = when(event)
        group.incidents += incidents(event)
        place = charts.place_on(run, on, {key: lenient.number(event, key) or 0.0 for key in charts.COUNTS})
        if place is not None and np.isfinite(place):
            group.places.append(place)
    return list(found.values())


def marks(groups: list[EventGroup]) -> list[Mark]:
    """The events as marks on the charts, linked to their entries in the list."""
    found = []
    for place_in_list, entry in enumerate(groups):
        words = f"{entry.where}: {entry.detail}; {entry.action}"[:300]
        link = f"event-{entry.number}" if place_in_list < LISTED else ""
        found += [Mark(place, entry.number, entry.level, words, link) for place in entry.places]
    return found


def when(event: Mapping[str, Any]) -> str:
    """`epoch 2, batch 9`; `before the first step`."""
    epoch, batch = lenient.count(event, "epoch"), lenient.count(event, "batch")
    if lenient.text(event, "point") == "start":
        return "before the first step"
    return f"epoch {epoch}" + (f", batch {batch}" if batch else "")


def suspects(event: Mapping[str, Any]) -> tuple[str, ...]:
    """The suspect images of an event, unchanged."""
    return tuple(
        lenient.raw(source, "file")
        for source in lenient.entries(event, "sources")
        if lenient.text(source, "suspect") and lenient.raw(source, "file")
    )


def incidents(event: Mapping[str, Any]) -> list[str]:
    """The names of the incident files of an event, of all ranks."""
    parts = [part for part in lenient.entries(event, "ranks") if isinstance(part, Mapping)]
    named = [lenient.text(one, "incident") for one in (event, *parts)]
    return list(dict.fromkeys(name for name in named if name))


def dropped(event: Mapping[str, Any]) -> bool:
    """Whether the event cost a micro-batch."""
    return any(action.did in LOSSES for action in event_text.actions(event))


class RunFacts:
    """The facts of a whole run that decide what stock would have done at its events."""

    def __init__(self, run: RunFolder) -> None:
        self.epochs = lenient.count(run.args, "epochs")
        scale = run.steps.column("loss_scale") is not None
        self.scaler = scale if run.steps.rows and "loss_scale" in run.steps.columns else None
        self.causes: list[tuple[frozenset[str], str]] = [
            (frozenset(map(str, lenient.entries(verdict, "images"))), lenient.text(verdict, "cause"))
            for verdict in lenient.entries(run.summary, "guard", "verdicts")
        ]
        self.ends = {epoch: step for step, epoch in charts.axis(run).epochs}
        nbs, batch = lenient.count(run.args, "nbs"), lenient.count(run.args, "batch")
        self.window = max(1, round(nbs / batch)) if nbs and batch else 0

    def case(self, event: Mapping[str, Any]) -> StockCase:
        """The facts for one event."""
        epoch, step = lenient.count(event, "epoch"), lenient.count(event, "step")
        left = self.ends[epoch] - step if step and epoch in self.ends else -1
        return StockCase(
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
        """The class of cause of the verdict on these images, or of the only verdict."""
        if len(self.causes) == 1:
            return self.causes[0][1]
        return next((cause for named, cause in self.causes if images and named & images), "")


def short(path: str, root: str) -> str:
    """A path relative to a folder, printable, with slashes."""
    shown = lenient.text(path).replace("\\", "/") if "\\" in path and "/" not in path else lenient.text(path)
    return shown.removeprefix(root)


def root_of(run: RunFolder) -> str:
    """The folder of data.yaml with a final slash, to which image names are relative; empty if not known."""
    data = lenient.text(run.summary, "lint", "data") or lenient.text(run.args, "data")
    return f"{PurePath(data).parent}/".replace("//", "/") if data.startswith("/") else ""


def from_root(root: str, words: str) -> str:
    """A text of a verdict, with paths relative to the dataset's folder."""
    return words.replace(root, "") if root else words


@dataclass(frozen=True)
class StockCase:
    """The facts of an event that decide what stock does.

    Attributes:
        checks: the sensors that fired.
        cause: the verdict's class of cause; empty if there is none.
        scaler: whether the run has a GradScaler (AMP with float16); None if that is not known.
        epoch: 1-based; 0 if not known.
        epochs: of the run; 0 if not known.
        last_in_epoch: whether it was the last micro-batch of its epoch.
        last_window: whether it belonged to the last optimizer step of the run.
        before_start: whether it came before the first step.
        severe: whether its level is error or fatal.
    """

    checks: frozenset[Check]
    cause: str = ""
    scaler: bool | None = None
    epoch: int = 0
    epochs: int = 0
    last_in_epoch: bool = False
    last_window: bool = False
    before_start: bool = False
    severe: bool = True


def stock_would(case: StockCase) -> str:
    """What stock Ultralytics would have done, in a sentence; empty if that was not measured."""
    checks = case.checks
    if case.before_start:
        return next((said for check, said in _AT_START.items() if check in checks), "")
    if checks & {Check.VAL_LOSS, Check.VAL_BATCH}:  # val-image-nan
        return "shows NaN validation losses in each epoch, without a warning and without naming the image"
    if checks & {Check.DIVERGENCE, Check.UPDATE_RATIO}:  # learning-rate-*, and 14 settings in the reproductions
        said = "trains on to the end: finite garbage, mAP 0, without NaN and without a warning"
        return said if case.severe else ""
    if Check.LOSS_SCALE in checks:  # loss-scale-collapse
        return "halves the loss scale to 0, and the next good step makes every weight NaN: RuntimeError"
    if case.cause == "state" or checks in ({Check.WEIGHTS}, {Check.EMA}):
        return _state(case)
    if checks == {Check.PIXELS}:  # finite, but not between 0 and 1: pixels-prescaled, tiff-minus-9999
        return "trains on them silently"
    if checks == {Check.TARGETS}:  # target-nan-centre
        return "trains on: the assigner swallows a NaN box, so that this object is background"
    if checks & _FORWARD:
        return _forward(case)
    return _gradient(case) if Check.GRADIENT in checks else ""


_AT_START = {  # checkpoint-nan-batchnorm, resume-nan-optimizer, resume-scale-zero, checkpoint-nan-weights
    Check.BATCHNORM: "mAP 0 from the start: NaN in BatchNorm's statistics never decays",
    Check.OPTIMIZER: "restores the NaN optimizer state, and the first step makes the weights NaN: mAP 0",
    Check.LOSS_SCALE: "restores a loss scale of 0, and the first step makes the weights NaN: mAP 0",
    Check.WEIGHTS: "trains NaN weights from the first batch on: RuntimeError",
}


def _forward(case: StockCase) -> str:
    """A non-finite forward pass: pixel-nan-*, activation-half-*, loss-*."""
    if case.scaler is None:
        return ""
    if case.scaler and Check.BATCHNORM not in case.checks:  # loss-divided-by-zero
        return SURVIVES
    if case.scaler and case.last_in_epoch:  # pixel-nan-last-batch
        return "ends with RuntimeError: NaN persisted" if case.epoch == case.epochs else ""
    if case.scaler:  # pixel-nan-middle-scaler, reproduction 02
        return (
            "skips the step, but BatchNorm's running statistics stay NaN: mAP 0 and NaN validation losses for the rest "
            "of the run, with normal training losses and no warning"
        )
    if case.last_window or case.epochs == 1:  # pixel-nan-last-window, pixel-nan-one-epoch
        return "ends without an error, and every weight is NaN: last.pt and best.pt are written as zeros"
    if case.epoch == 1:  # pixel-nan-first-epoch
        return "writes zeros to last.pt and best.pt, reloads them three times, then RuntimeError: NaN persisted"
    return "goes back to last.pt, at most three times in a row: RuntimeError if the fault comes again"  # tiff-nan-*


def _gradient(case: StockCase) -> str:
    """A non-finite gradient of a finite loss: gradient-*."""
    if case.cause == "gradient":  # gradient-huge
        return "trains on: clipping makes nothing of that whole step"
    if case.scaler is None or case.scaler:  # gradient-nan-scaler
        return SURVIVES if case.scaler else ""
    if case.last_window:  # gradient-nan-last-step
        return "clips by a NaN norm, which makes every weight NaN; nothing looks after the last step: zeros are saved"
    return "clips by a NaN norm, which makes every weight NaN, and ends with RuntimeError: NaN persisted"


def _state(case: StockCase) -> str:
    """State that became non-finite in training: live-*."""
    if Check.BATCHNORM in case.checks and case.cause == "state":  # live-batchnorm-nan
        return "a NaN in BatchNorm's statistics never decays: mAP 0 for the rest of the run"
    if case.checks == {Check.EMA}:  # live-ema-nan
        return "validates the NaN average of that epoch: NaN validation losses"
    return "ends with RuntimeError, or with mAP 0 where a GradScaler skips all steps"  # live-weights-nan
