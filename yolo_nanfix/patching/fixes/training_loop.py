"""Optimizer steps without NaN in the gradients or a loss scale of zero, and runs that end if they find nothing."""

from __future__ import annotations

import math
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from yolo_nanfix import clipping, upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import step_difference

EARLY = "early-stopping-at-zero"
SMALLEST_NORMAL = torch.finfo(torch.float32).tiny
"""Below it, 1 / scale overflows float32, or nearly."""

_starts: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The first epoch of each stopper."""


@wrapper
def step_if_finite(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's step, whose gradient norm is checked unless a GradScaler or the guard does."""
    if instance.scaler.is_enabled() or _is_guarded(instance):
        return wrapped(*args, **kwargs)
    with clipping.listen(_judging(instance)):
        return wrapped(*args, **kwargs)


def _is_guarded(trainer: Any) -> bool:
    """Whether the guard is on this trainer: it replaces the method and checks the norm itself."""
    return clipping.overheard() and "optimizer_step" in vars(trainer)


def _judging(trainer: Any) -> clipping.Listener:
    """A listener that removes all gradients if their norm is non-finite.

    Optimizers skip parameters without a gradient: weights, momentum and weight decay stay as they are.
    """

    def judging(clip: clipping.Clip, *args: Any, **kwargs: Any) -> Any:
        norm = clip(*args, **kwargs)
        value = float(norm)
        if not math.isfinite(value):
            trainer.optimizer.zero_grad(set_to_none=True)
            tally.add("clip-spreads-nan", 1)
            upstream.log(f"yolo-nanfix: clip-spreads-nan: gradient norm {value}, this step is skipped")
        return norm

    return judging


@wrapper
def step_with_floor(wrapped: Any, instance: Any, *args: Any, min_loss_scale: float, **kwargs: Any) -> Any:
    """Upstream's step; before it a scale without a finite inverse is raised, after it any scale below the floor."""
    scale = getattr(instance.scaler, "_scale", None)
    if scale is None:  # a scaler that is off
        return wrapped(*args, **kwargs)
    # the losses of this step were multiplied by the current scale: it is changed only if it has no finite inverse
    dead = _lift(scale, SMALLEST_NORMAL, float(min_loss_scale))
    result = wrapped(*args, **kwargs)
    tally.add("grad-scaler-underflow", dead | _lift(scale, float(min_loss_scale), float(min_loss_scale)))
    return result


def _lift(scale: Tensor, below: float, floor: float) -> Tensor:
    """Raise a scale under `below` to `floor`, in place and without a host read; returns whether, on the device."""
    low = scale < below
    scale.masked_fill_(low, floor)
    return low


@wrapper
def stopper(wrapped: Any, instance: Any, epoch: int, fitness: Any, *, min_zero_epochs: int) -> Any:
    """Upstream's answer, or yes after `min_zero_epochs` epochs at a fitness of 0; NaN counts as 0."""
    if fitness is None:
        return wrapped(epoch, fitness)
    if math.isnan(fitness):  # as the best fitness it could never be beaten
        tally.add(EARLY, 1)
        fitness = 0.0
    stop = wrapped(epoch, fitness)
    if stop or instance.best_fitness != 0:
        return stop
    return _stop_at_zero(instance, epoch - _starts.setdefault(instance, epoch), int(min_zero_epochs))


def _stop_at_zero(stopper: Any, epochs: int, min_zero_epochs: int) -> bool:
    """Whether to stop after `epochs` epochs with a fitness of 0; a patience of Inf never stops."""
    limit = max(stopper.patience, min_zero_epochs)
    stopper.possible_stop = stopper.possible_stop or epochs >= limit - 1
    if epochs < limit:
        return False
    tally.add(EARLY, 1)
    upstream.log(
        f"yolo-nanfix: {EARLY}: training stopped, the fitness has been 0 since the start, {epochs} epochs without "
        f"improvement (patience={stopper.patience}, min_zero_epochs={min_zero_epochs}). Look for NaN in validation, "
        "for labels that do not match their images, or for a learning rate that is far too high."
    )
    return True


def _stopper_probe(stock: Any, patched: Any) -> str | None:
    """For fitness values above 0, both must return the same answers and have the same state."""
    outcomes = []
    for function in (stock, patched):
        stopper = _Stopper()
        answers = [function.__get__(stopper, _Stopper)(e, f) for e, f in enumerate((0.1, 0.3, None, 0.2, 0.3))]
        outcomes.append((answers, vars(stopper)))
    return None if outcomes[0] == outcomes[1] else "its answers or its state differ from stock on a healthy course"


class _Stopper:
    """The state of an EarlyStopping."""

    def __init__(self) -> None:
        self.best_fitness, self.best_epoch = 0.0, 0
        self.patience, self.possible_stop = 4, False


FIXES = {
    "clip-spreads-nan": Fix(step_if_finite, partial(step_difference, scaled=False)),
    "grad-scaler-underflow": Fix(step_with_floor, partial(step_difference, scaled=True)),
    EARLY: Fix(stopper, _stopper_probe),
}
