"""The learning rate range test: train for a few steps at rates that grow exponentially, and read the losses.

The test is Smith's (2015, revised 2017), https://arxiv.org/abs/1506.01186: the loss falls fastest well below the rate
at which it diverges. `Sweep` plans the rates and records the losses, `suggest` reads the curve, `coarse` does both on a
copy of a model in a few steps.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

BLOWN_UP = 4.0
"""The loss has diverged at this multiple of its lowest smoothed value; fastai and Lightning stop at the same."""
MARGIN = 10.0
"""A suggestion stays this far below the rate that diverged."""
COLLAPSED = 1e-4
"""A loss below this share of the first one was not learnt: weights that diverged give extreme logits."""
RISEN = 1.25
"""Once the running mean is this multiple of its lowest value, a later fall comes from weights that diverged."""
COARSE_LOW, COARSE_STEPS = 1e-5, 7
"""The first rate and the steps of `coarse`."""
CLIP = 10.0
"""Largest norm of the gradient, as Ultralytics clips it."""
LEAST_FALL = 0.02
"""A smoothed loss that falls by less than this share counts as constant."""


@dataclass(frozen=True)
class Curve:
    """The result of a sweep, in the order of the steps.

    Attributes:
        rates: the learning rate of each step.
        losses: the loss after that step; finite.
        diverged_at: the rate at which the loss blew up, collapsed to 0 or became non-finite, or None.
        reason: which of the three; empty if none.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    diverged_at: float | None = None
    reason: str = ""

    @property
    def smoothed(self) -> tuple[float, ...]:
        """The losses, smoothed in both directions so that no feature of the curve moves to another rate."""
        return smooth(self.losses, max(1.0, window(len(self.losses)) / 2))


@dataclass(frozen=True)
class Suggestion:
    """A learning rate read from a curve.

    Attributes:
        lr: the rate to train with, or None if none can be read.
        low, high: the range that trains: from where the loss begins to fall to where it is nearly lowest; both None
            if the loss does not fall.
        diverged_at: as in `Curve`.
        reason: how the rate was read, as text.
    """

    lr: float | None
    low: float | None
    high: float | None
    diverged_at: float | None
    reason: str


class Sweep:
    """Rates that grow by a constant factor from `low` to `high`, and the losses that they gave."""

    def __init__(self, low: float, high: float, steps: int) -> None:
        """Plan `steps` rates from `low` to `high`.

        Raises:
            ValueError: not 0 < low < high, or fewer than 2 steps.
        """
        if not 0 < low < high < math.inf:
            raise ValueError(f"the rates must satisfy 0 < lowest < highest, not {low:g} and {high:g}")
        if steps < 2:
            raise ValueError(f"a sweep needs at least 2 steps, not {steps}")
        growth = math.log(high / low) / (steps - 1)
        self.planned = tuple(low * math.exp(growth * i) for i in range(steps))
        self._losses: list[float] = []
        self._diverged_at: float | None = None
        self._reason = ""

    @property
    def rate(self) -> float:
        """The rate of the next step; the last one again once all are used."""
        return self.planned[min(len(self._losses), len(self.planned) - 1)]

    @property
    def done(self) -> bool:
        """Whether all rates were used, or the loss diverged."""
        return self._diverged_at is not None or len(self._losses) == len(self.planned)

    def record(self, loss: float) -> None:
        """Record the loss after the step at `rate`; one that has diverged ends the curve and is not part of it."""
        if reason := _divergence([*self._losses, loss], window(len(self.planned))):
            self._diverged_at, self._reason = self.rate, reason
        else:
            self._losses.append(loss)

    def curve(self) -> Curve:
        """The rates used so far and their losses."""
        count = len(self._losses)
        return Curve(self.planned[:count], tuple(self._losses), self._diverged_at, self._reason)


def _divergence(losses: Sequence[float], width: int) -> str:
    """Why the last of these losses has diverged; empty if it has not."""
    last = losses[-1]
    if not math.isfinite(last):
        return f"the loss was {last}"
    if len(losses) > 1 and abs(last) <= COLLAPSED * abs(losses[0]):
        return f"the loss collapsed from {losses[0]:.3g} to {last:.3g}"
    means = _running_mean(losses, width)
    lowest = min(means[width - 1 : -1], default=math.inf)  # fewer losses make no average
    if 0 < lowest * BLOWN_UP < means[-1]:
        return f"the loss rose to {means[-1] / lowest:.1f} times its lowest value"
    return ""


def window(steps: int) -> int:
    """Over how many steps losses are averaged: a tenth of the sweep."""
    return max(1, round(steps / 10))


def smooth(values: Sequence[float], width: float) -> tuple[float, ...]:
    """Exponential averages over about `width` values with bias correction, forwards, then backwards over the result.

    Forwards alone would delay every feature of a curve by `width` steps. Positive values are averaged as logarithms: a
    loss spans decades. A single outlier is first replaced by the median of itself and its two neighbours.
    """
    logs = min(values, default=0.0) > 0
    means = [math.log(v) for v in values] if logs else list(values)
    if width > 1:
        means = _running_mean(_running_mean(_without_spikes(means), width)[::-1], width)[::-1]
    return tuple(math.exp(v) for v in means) if logs else tuple(means)


def _without_spikes(values: Sequence[float]) -> list[float]:
    """The median of each value and its two neighbours; the first and the last value as they are."""
    inner = (statistics.median(values[i - 1 : i + 2]) for i in range(1, len(values) - 1))
    return [*values[:1], *inner, *values[1:][-1:]]


def _running_mean(values: Sequence[float], width: float) -> list[float]:
    decay, total, weight, means = 1 - 1 / width, 0.0, 0.0, []
    for value in values:
        total, weight = decay * total + value, decay * weight + 1
        means.append(total / weight)
    return means


def suggest(curve: Curve, optimizer: str = "") -> Suggestion:
    """Read a learning rate from a curve: midway between where the smoothed loss falls fastest and where it is low.

    fastai's `steep` takes the steepest point, its `valley` a point further along the longest fall. Training at fixed
    rates was best between the two (YOLOv8n, 12 epochs of a small set: steepest 0.0066, low 0.013, best 0.01 with SGD;
    0.00006, 0.0003, best 0.0001 with AdamW from pretrained weights). Only the part before the lowest loss counts, a
    fall has to exceed the noise, and the rate stays `MARGIN` below the one that diverged, which is also the suggestion
    where the loss did not fall, as with a model that is trained already.

    Args:
        curve: the result of a sweep.
        optimizer: its name, for the reason.
    """
    who = f" with {optimizer}" if optimizer else ""
    limit = curve.diverged_at / MARGIN if curve.diverged_at else math.inf
    ended = f"{curve.reason} at {curve.diverged_at:.2g}{who}" if curve.diverged_at else ""
    if not curve.losses:
        return Suggestion(None, None, None, curve.diverged_at, f"{ended} already: not a matter of the learning rate")
    width = max(1.0, window(len(curve.losses)) / 2)
    losses = smooth(curve.losses[: _steps_before_rise(curve.losses, width)], width)
    lowest = min(range(len(losses)), key=losses.__getitem__)
    if not _falls(curve, losses, lowest):
        if not curve.diverged_at:
            return Suggestion(None, None, None, None, f"no rate up to {curve.rates[-1]:.2g} changed the loss{who}")
        return Suggestion(limit, None, None, curve.diverged_at, f"{ended}; the loss did not fall before: a tenth of it")
    slopes = _slopes(curve.rates[: len(losses)], losses)
    steepest = min(range(lowest + 1), key=slopes.__getitem__)
    done = [(losses[0] - y) / (losses[0] - losses[lowest]) for y in losses[: lowest + 1]]
    low = min(curve.rates[next(i for i, share in enumerate(done) if share >= 0.1)], limit)
    high = min(curve.rates[next(i for i, share in enumerate(done) if share >= 0.9)], limit)
    lr = math.sqrt(min(max(curve.rates[steepest], low), high) * high)
    said = f"the loss falls fastest at {curve.rates[steepest]:.2g} and is low at {high:.2g}{who}"
    return Suggestion(lr, low, high, curve.diverged_at, said + (f"; {ended}" if ended else ""))


def _steps_before_rise(losses: Sequence[float], width: float) -> int:
    """How many losses come before the running mean rises by `RISEN`; later losses have no influence."""
    means = _running_mean(_without_spikes(losses) if width > 1 else losses, width)
    for i, mean in enumerate(means):
        if mean > RISEN * min(means[: i + 1]) > 0:
            return i
    return len(losses)


def _falls(curve: Curve, losses: Sequence[float], lowest: int) -> bool:
    """Whether the fall to the lowest loss is more than `LEAST_FALL` and twice the standard error of an average."""
    residuals = [abs(raw - mean) for raw, mean in zip(curve.losses, losses, strict=False)]
    noise = 1.4826 * statistics.median(residuals) / math.sqrt(window(len(curve.losses)))
    fall = losses[0] - losses[lowest]
    return fall > LEAST_FALL * abs(losses[0]) and fall > 2 * noise


def _slopes(rates: Sequence[float], losses: Sequence[float]) -> list[float]:
    """Change of the loss per e-fold of the rate, over half a window to both sides, one-sided at the ends."""
    last, half = len(rates) - 1, max(1, window(len(rates)) // 2)
    pairs = [(max(i - half, 0), min(i + half, last)) for i in range(len(rates))]
    return [(losses[j] - losses[i]) / math.log(rates[j] / rates[i]) for i, j in pairs]


def coarse(
    model: nn.Module,
    loss_of_batch: Callable[[nn.Module], Tensor],
    optimizer_factory: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    high: float = 1.0,
    seconds: float = math.inf,
) -> Suggestion:
    """The range test in a few steps on one batch, for the diagnosis of a run that diverged.

    It costs `COARSE_STEPS` training steps and one forward pass, on a copy of the model: the model itself, its
    gradients, its BatchNorm statistics and the random number generators stay as they are.

    Args:
        model: with weights from before the loss grew, in training mode.
        loss_of_batch: the scalar loss of the batch, given the copy of the model.
        optimizer_factory: makes an optimizer for the copy; the rates of its groups keep their ratios.
        high: the last rate.
        seconds: no step begins after this time.
    """
    began = time.monotonic()
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=[d.index or 0 for d in devices]), torch.enable_grad():
        probe = copy.deepcopy(model)
        optimizer = optimizer_factory(probe)
        ratios = group_ratios(optimizer)
        loss = loss_of_batch(probe)
        if not math.isfinite(float(loss.detach())):
            reason = "the loss is not finite before the first step: not a matter of the learning rate"
            return Suggestion(None, None, None, None, reason)
        plan = Sweep(COARSE_LOW, high, COARSE_STEPS)
        while not plan.done and time.monotonic() - began < seconds:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(probe.parameters(), CLIP)
            set_rate(optimizer, ratios, plan.rate)
            optimizer.step()
            loss = loss_of_batch(probe)
            plan.record(float(loss.detach()))
    return suggest(plan.curve(), type(optimizer).__name__)


def group_ratios(optimizer: Any) -> list[float]:
    """The rate of each parameter group, as a multiple of the lowest one (MuSGD gives some heads three times)."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    return [rate / min(rates) for rate in rates]


def set_rate(optimizer: Any, ratios: Sequence[float], rate: float) -> None:
    """Give every parameter group its multiple of a rate."""
    for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
        group["lr"] = rate * ratio
