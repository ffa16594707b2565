"""Detects divergence that stays finite, from losses, gradient norms and how far the weights move. Pure functions.

A learning rate that is too high rarely makes a NaN: clipping and BatchNorm keep every number finite while the run turns
to garbage (all losses 0, or validation losses of 1e15). The signs, in the order of how well they separate:

* the weights: their change over some steps as a share of their norm (`Divergence.ratio`);
* the loss of labelled images that falls to 0, for every prediction is saturated (`loss`);
* losses and gradient norms far above a robust window (median and MAD of their logarithms) of this run (`loss`, `step`).

Values that are not finite enter no window and change no state: other sensors judge them.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

AlarmKind = Literal["loss-zero", "loss-spike", "loss-explosion", "gradient-explosion", "update-ratio"]
MAD_TO_SPREAD = 1.4826
"""Median absolute deviation of a normal distribution -> its standard deviation."""
FULL_STEPS = 50
"""Steps over which a change of `ratio` is allowed; over fewer less, by the root of their number (a random walk)."""


@dataclass(frozen=True)
class Alarm:
    """One sign of divergence: what was seen (as `events.Event` has it), and whether it is severe.

    A severe one asks for a rollback and a lower learning rate; else gradients are clipped harder or it is noted.
    """

    kind: AlarmKind
    says: str
    values: Mapping[str, Any]
    severe: bool


@dataclass(frozen=True)
class DivergenceLimits:
    """Thresholds. Figures: `scripts/calibrate_divergence.py`, Ultralytics 8.4.190, 64 to 96 pixels.

    Attributes:
        window: values that the median and the spread are taken over.
        least: values before they are judged; until then only the weights are.
        spreads: a value is far if it lies this many robust standard deviations from the median, and ten times (`high`)
            above it. Three healthy values in a row reached half of what makes three far: the worst were losses of 2
            images a micro-batch from scratch, and the gradient norms of a YOLOv5n in warm-up.
        spread_floor: a standard deviation counts as at least this (in logarithms), for the losses may all be equal.
        high: see `spreads`.
        spike: one value this far above is an alarm, not a severe one. Healthy: 39 times for a loss (2 images, from
            scratch), 42 times for a gradient norm, against 100 here.
        explosion: one value this far above is severe.
        collapse: three values in a row this far below are severe. Healthy losses in a row reached a fifth of that (as a
            logarithm; a classifier that overfits), collapsed ones 1.4 to 4.4 times as much.
        in_a_row: as often in a row it must come to be a trend.
        zero: a labelled micro-batch with less loss than this is dead, window or not; 0 turns this off. The lowest
            healthy one: 0.018.
        ratio: change of the weights in 50 steps as a share of their norm. Healthy at usual learning rates: 0.80 at most
            (RMSprop 0.0005; in 10 steps 0.41, in 5 steps 0.23). At the edge, where a run still learns, late: 1.9 (AdamW
            0.01, fine-tuned). Runs that ended as garbage: 2.05 (SGD 0.3 from scratch), 3.0 and more.
    """

    window: int = 64
    least: int = 8
    spreads: float = 6.0
    spread_floor: float = 0.25
    high: float = math.log(10)
    spike: float = math.log(100)
    explosion: float = math.log(10_000)
    collapse: float = math.log(1000)
    in_a_row: int = 3
    zero: float = 1e-9
    ratio: float = 2.0


class Window:
    """The logarithms of the last positive finite values, and their robust middle and spread."""

    def __init__(self, size: int) -> None:
        """Start empty; keeps the last `size` values."""
        self._order: deque[float] = deque()
        self._sorted: list[float] = []
        self._size = size

    def __len__(self) -> int:
        return len(self._order)

    def add(self, logarithm: float) -> None:
        """Add a value; drop the oldest beyond the size."""
        if len(self._order) == self._size:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        self._order.append(logarithm)
        insort(self._sorted, logarithm)

    def median(self) -> float:
        """The upper median."""
        return self._sorted[len(self._sorted) // 2]

    def spread(self) -> float:
        """Standard deviation by the median absolute deviation."""
        middle = self.median()
        return MAD_TO_SPREAD * sorted([abs(x - middle) for x in self._sorted])[len(self._sorted) // 2]


class Series:
    """One kind of value of a run: its window, and how many values in a row lay above or below it."""

    def __init__(self, limits: DivergenceLimits) -> None:
        self.limits = limits
        self.window = Window(limits.window)
        self.above = self.below = 0

    def judge(self, value: float) -> float:
        """Add a positive finite value; how far its logarithm is above the median so far, 0 for too few values."""
        logarithm, limits = math.log(value), self.limits
        excess = logarithm - self.window.median() if len(self.window) >= limits.least else 0.0
        self.above = self.above + 1 if self._far(excess) else 0
        self.below = self.below + 1 if -excess > limits.collapse and self._far(-excess) else 0
        self.window.add(logarithm)
        return excess

    def _far(self, distance: float) -> bool:
        limits = self.limits
        return distance > limits.high and distance > limits.spreads * max(self.window.spread(), limits.spread_floor)


class Divergence:
    """The state of one run. Each method takes plain numbers and gives an alarm or None."""

    def __init__(self, limits: DivergenceLimits | None = None) -> None:
        self.limits = limits or DivergenceLimits()
        self.reset()

    def reset(self) -> None:
        """Forget the run so far, as after a rollback."""
        self._losses, self._norms = Series(self.limits), Series(self.limits)
        self._zeros = 0

    def loss(self, value: float, targets: int) -> Alarm | None:
        """Judge the loss of one micro-batch with `targets` label rows; one without any has another scale: not judged.

        `value` is what `backward` runs on, in any unit: scaling all of a run's losses changes nothing.
        """
        if targets < 1 or not math.isfinite(value):
            return None
        if abs(value) < self.limits.zero:
            self._zeros += 1
            says = "loss {loss:.3g} with {labels:label|labels}"
            return self._zero(says, {"loss": value, "labels": targets}, self._zeros)
        self._zeros = 0
        if value <= 0:
            return None
        excess = self._losses.judge(value)
        if self._losses.below:
            values = {"loss": value, "below": math.exp(-excess)}
            return self._zero("loss {loss:.3g}, {below:.3g} times below its median", values, self._losses.below)
        return self._high("loss-spike", "loss-explosion", "loss {value:.3g}", value, self._losses, excess)

    def _zero(self, says: str, values: Mapping[str, float], times: int) -> Alarm | None:
        if times < self.limits.in_a_row:
            return None
        return Alarm("loss-zero", f"{says}, {{times}} micro-batches in a row", {**values, "times": times}, severe=True)

    def _high(
        self, once: AlarmKind, lasting: AlarmKind, says: str, value: float, series: Series, excess: float
    ) -> Alarm | None:
        severe = series.above >= self.limits.in_a_row or (series.above > 0 and excess > self.limits.explosion)
        if not severe and (not series.above or excess <= self.limits.spike):
            return None
        says += ", {above:.3g} times its median" + (", {times} in a row" if series.above > 1 else "")
        values = {"value": value, "above": math.exp(excess), "times": series.above}
        return Alarm(lasting if severe else once, says, values, severe)

    def step(self, norm: float | None) -> Alarm | None:
        """Judge the gradient norm of one optimizer step, before clipping; None if unknown."""
        if norm is None or not math.isfinite(norm) or norm <= 0:
            return None
        excess = self._norms.judge(norm)
        return self._high(
            "gradient-explosion", "gradient-explosion", "gradient norm {value:.3g}", norm, self._norms, excess
        )

    def ratio(self, changed: float, size: float, steps: int) -> Alarm | None:
        """Judge how far the weights moved in `steps` steps. Worth asking 5 and 10 steps after a start, too.

        `changed` is the norm of their change, `size` their norm before, both over parameters of two or more dimensions:
        biases and BatchNorm's scales hide the rest, for they are most of a model's norm, and warm-up throws them.
        """
        if not (math.isfinite(changed) and math.isfinite(size) and size > 0 and steps > 0):
            return None
        share = changed / size
        if share <= self.limits.ratio * math.sqrt(min(steps, FULL_STEPS) / FULL_STEPS):
            return None
        says = "weights moved by {share:.3g} times their norm in {steps:step|steps}"
        return Alarm("update-ratio", says, {"share": share, "steps": steps}, severe=True)
