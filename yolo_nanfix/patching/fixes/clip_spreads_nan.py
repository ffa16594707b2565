"""`BaseTrainer.optimizer_step` that drops a window whose gradient norm is not finite, where no GradScaler does."""

from __future__ import annotations

import math
from typing import Any

from yolo_nanfix import clipping, upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper
from yolo_nanfix.patching.training_probes import step_difference

NAME = "clip-spreads-nan"


def _wrapper(params: Params) -> Wrapper:
    def optimizer_step(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if instance.scaler.is_enabled() or _is_guarded(instance):
            return wrapped(*args, **kwargs)
        with clipping.listen(_judging(instance)):
            return wrapped(*args, **kwargs)

    return optimizer_step


def _is_guarded(trainer: Any) -> bool:
    """Whether the guard is on this trainer: it shadows the method and overhears the norm, which it then judges."""
    return clipping.overheard() and "optimizer_step" in vars(trainer)


def _judging(trainer: Any) -> clipping.Listener:
    """Takes all gradients away where their norm is not finite.

    Optimizers pass over parameters without a gradient: weights, momentum and weight decay stay as they are.
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


def _probe(stock: Any, patched: Any) -> str | None:
    return step_difference(stock, patched, scaled=False)


FIX = Fix(wrapper=_wrapper, probe=_probe)
