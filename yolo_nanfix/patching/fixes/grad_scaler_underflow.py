"""`BaseTrainer.optimizer_step` with a loss scale that cannot fall to zero."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import step_difference

NAME = "grad-scaler-underflow"
SMALLEST_NORMAL = torch.finfo(torch.float32).tiny
"""Below it, 1 / scale overflows float32, or nearly."""


@wrapper
def optimizer_step(wrapped: Any, instance: Any, *args: Any, min_loss_scale: float, **kwargs: Any) -> Any:
    """Upstream's step; before it a scale without a finite inverse is raised, after it any scale below the floor."""
    scale = getattr(instance.scaler, "_scale", None)
    if scale is None:  # a scaler that is off
        return wrapped(*args, **kwargs)
    # the losses of this step were multiplied by the current scale: it is changed only if it has no finite inverse
    dead = _lift(scale, SMALLEST_NORMAL, float(min_loss_scale))
    result = wrapped(*args, **kwargs)
    tally.add(NAME, dead | _lift(scale, float(min_loss_scale), float(min_loss_scale)))
    return result


def _lift(scale: Tensor, below: float, floor: float) -> Tensor:
    """Raise a scale under `below` to `floor`, in place and without a host read; returns whether, on the device."""
    low = scale < below
    scale.masked_fill_(low, floor)
    return low


FIX = Fix(wrapper=optimizer_step, probe=partial(step_difference, scaled=True))
