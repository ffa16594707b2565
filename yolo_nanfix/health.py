"""Judges how much of a training run was lost, from its figures. Pure functions.

healthy    nothing was lost that counts
degraded   the run finished, and its model can be used; the losses are listed
failed     its model is not trained, or the run did not finish
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from yolo_nanfix.json_values import JsonValue


class State(str, Enum):
    """How a run ended, from best to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILED = "failed"


ORDER = tuple(State)


class LossKind(str, Enum):
    """What can be lost in a run; `report.health_text` says each, with the `count`, `of` and `epochs` of a `Lost`."""

    MICRO_BATCHES = "micro-batches"
    IMAGES = "images"
    SAMPLES = "samples"
    """Left out alone (unreadable, or spoilt on the way), of images times epochs."""
    STEPS_REFUSED = "steps-refused"
    STEPS_UNDONE = "steps-undone"
    EPOCHS_WITHOUT_STEP = "epochs-without-step"
    """Faults left no optimizer step in `epochs`."""
    EPOCHS_WITHOUT_LOSS = "epochs-without-loss"
    CHECKPOINTS = "checkpoints"
    """Not written, but a later one was."""
    LAST_CHECKPOINT = "last-checkpoint"
    VAL_LOSS = "val-loss"
    AVERAGE = "average"
    METRIC = "metric"
    NO_STEP = "no-step"
    START_WEIGHTS = "start-weights"
    EARLIER_PART = "earlier-part"
    NOTHING_FOUND = "nothing-found"
    COLLAPSED = "collapsed"


@dataclass(frozen=True)
class Limits:
    """Thresholds from which on a loss counts.

    Attributes:
        share: share of micro-batches, images or optimizer steps. A judgement, not a measurement: with a tenth less the
            run is still close to the one that was asked for, and comparable with another one.
        least: so many must be lost before their share counts; in a run of eight micro-batches one is no pattern.
        most: share of micro-batches or steps beyond which the run failed: most of what was asked for was not trained.
        warm_up: optimizer steps within which a model from scratch may find nothing. Ultralytics itself warms up over
            at least 100 iterations; weights that were trained before have no such excuse.
        good: a metric from which on a fall is more than the noise of a few images.
        fall: share of its best value below which a metric has collapsed.
    """

    share: float = 0.1
    least: int = 2
    most: float = 0.5
    warm_up: int = 100
    good: float = 0.1
    fall: float = 0.1


LIMITS = Limits()


@dataclass(frozen=True)
class Figures:
    """The figures of a run; counts are over all of it, parts before a resume included.

    Attributes:
        finished: whether it finished; else it failed, and only losses on the way are listed.
        micro_batches, dropped: trained, and dropped of them.
        images, left_out: in the training set as it is on disk, and left out of them before or during the run.
        samples: those that were left out alone, over all epochs.
        steps_taken, steps_refused, steps_undone: optimizer steps taken, held back, undone by rollbacks.
        epochs: epochs that were trained.
        epochs_unknown: epochs before a resume of which nothing is known.
        epochs_without_step: those in which faults left no step, 1-based.
        epochs_without_loss: those whose train losses are not finite, 1-based.
        checkpoints_refused: how often no checkpoint was written, and `last_refused`: in the last epoch, too.
        val_loss_finite: whether the validation losses of the last epoch are finite.
        average_nan: buffers, infinite by design, of which Ultralytics' averaged model makes NaN.
        metric: the metric of the final model that users look at first; None if not known or nothing is to be found.
        last_metric, best_metric: the same in the last and in the best epoch.
        pretrained: whether the run started from trained weights; None if not known.
        start_weights: whether the best checkpoint holds the weights that the run started with; None if not known.
    """

    finished: bool = True
    micro_batches: int = 0
    dropped: int = 0
    images: int = 0
    left_out: int = 0
    samples: int = 0
    steps_taken: int = 0
    steps_refused: int = 0
    steps_undone: int = 0
    epochs: int = 0
    epochs_unknown: int = 0
    epochs_without_step: tuple[int, ...] = ()
    epochs_without_loss: tuple[int, ...] = ()
    checkpoints_refused: int = 0
    last_refused: bool = False
    val_loss_finite: bool = True
    average_nan: int = 0
    metric: float | None = None
    last_metric: float | None = None
    best_metric: float | None = None
    pretrained: bool | None = None
    start_weights: bool | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps that are in the weights."""
        return max(0, self.steps_taken - self.steps_undone)

    @property
    def faulty(self) -> bool:
        """Whether faults cost the run anything of its training."""
        return bool(self.dropped or self.steps_refused or self.steps_undone or self.epochs_without_step)


@dataclass(frozen=True)
class Lost(JsonValue):
    """One thing that was lost, and how bad that is; `kind` says what `count`, `of` and `epochs` are."""

    kind: LossKind
    state: State
    count: float = 0
    of: float = 0
    epochs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Health:
    """The state of a run, and all that was lost, the worst first."""

    state: State
    lost: tuple[Lost, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was lost that counts."""
        return self.state is State.HEALTHY


def judge(figures: Figures, limits: Limits = LIMITS) -> Health:
    """The state of a run, and its losses, by its figures."""
    on_the_way = (*_shares(figures, limits), *_epoch_losses(figures))
    if not figures.finished:
        return Health(State.FAILED, on_the_way)
    found = (*on_the_way, *_checkpoints(figures), *_learnt(figures, limits))
    lost = sorted(found, key=lambda one: -ORDER.index(one.state))
    return Health(lost[0].state if lost else State.HEALTHY, tuple(lost))


def state_of(summary: Mapping[str, Any]) -> State:
    """The state that the report of a run gives; of a report without one, by whether it is called healthy."""
    told = summary.get("state")
    if isinstance(told, str) and told in (state.value for state in State):
        return State(told)
    return State.HEALTHY if summary.get("healthy") is True else State.FAILED


def _shares(figures: Figures, limits: Limits) -> Iterator[Lost]:
    steps = figures.steps_taken + figures.steps_refused
    for kind, count, of, most in (
        (LossKind.MICRO_BATCHES, figures.dropped, figures.micro_batches, limits.most),
        (LossKind.IMAGES, figures.left_out, figures.images, 1.0),
        (LossKind.SAMPLES, figures.samples, figures.images * figures.epochs, 1.0),
        (LossKind.STEPS_REFUSED, figures.steps_refused, steps, limits.most),
        (LossKind.STEPS_UNDONE, figures.steps_undone, figures.steps_taken, limits.most),
    ):
        if not count:
            continue
        share = count / max(count, of)
        counts = share > limits.share and count >= limits.least
        worst = State.FAILED if share > most else State.DEGRADED
        yield Lost(kind, worst if counts else State.HEALTHY, count, of)


def _epoch_losses(figures: Figures) -> Iterator[Lost]:
    for kind, epochs in (
        (LossKind.EPOCHS_WITHOUT_STEP, figures.epochs_without_step),
        (LossKind.EPOCHS_WITHOUT_LOSS, figures.epochs_without_loss),
    ):
        if epochs:
            state = State.FAILED if len(epochs) >= figures.epochs else State.DEGRADED
            yield Lost(kind, state, len(epochs), figures.epochs, epochs)
    if figures.epochs_unknown:
        yield Lost(LossKind.EARLIER_PART, State.HEALTHY, figures.epochs_unknown, figures.epochs)


def _checkpoints(figures: Figures) -> Iterator[Lost]:
    if figures.last_refused:
        yield Lost(LossKind.LAST_CHECKPOINT, State.FAILED, figures.checkpoints_refused)
    elif figures.checkpoints_refused:
        yield Lost(LossKind.CHECKPOINTS, State.DEGRADED, figures.checkpoints_refused)
    if figures.average_nan:
        yield Lost(LossKind.AVERAGE, State.DEGRADED, figures.average_nan)
    elif not figures.val_loss_finite:
        yield Lost(LossKind.VAL_LOSS, State.FAILED)


def _learnt(figures: Figures, limits: Limits) -> Iterator[Lost]:
    """Signs that nothing was learnt. Where no fault was met, the user's own settings ask for it: not a failure."""
    idle = State.FAILED if figures.faulty else State.DEGRADED
    if figures.micro_batches and not figures.steps:
        yield Lost(LossKind.NO_STEP, idle, 0, figures.steps_taken)
    if figures.start_weights:
        yield Lost(LossKind.START_WEIGHTS, idle)
    metric = figures.metric
    if metric is not None and not math.isfinite(metric):
        yield Lost(LossKind.METRIC, State.FAILED)
    elif metric == 0:
        early = not figures.pretrained and figures.steps < limits.warm_up
        yield Lost(LossKind.NOTHING_FOUND, State.HEALTHY if early else State.DEGRADED, figures.steps)
    last, best = figures.last_metric, figures.best_metric
    if last is not None and best is not None and best >= limits.good and last < best * limits.fall:
        yield Lost(LossKind.COLLAPSED, State.DEGRADED, last, best)
