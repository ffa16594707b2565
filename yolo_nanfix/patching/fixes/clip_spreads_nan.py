"""`BaseTrainer.optimizer_step` that skips a step with a non-finite gradient norm, where no GradScaler does."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from yolo_nanfix import clipping, upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import step_difference

NAME = "clip-spreads-nan"


@wrapper
def optimizer_step(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
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
            tally.add(NAME, 1)
            upstream.log(f"yolo-nanfix: {NAME}: gradient norm {value}, this step is skipped")
        return norm

    return judging


FIX = Fix(wrapper=optimizer_step, probe=partial(step_difference, scaled=False))
