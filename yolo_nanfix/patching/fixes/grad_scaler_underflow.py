"""`BaseTrainer.optimizer_step` with a loss scale that cannot fall to zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper
from yolo_nanfix.patching.training_probes import step_difference

NAME = "grad-scaler-underflow"
TINY = torch.finfo(torch.float32).tiny
"""Below it, 1 / scale overflows float32, or nearly."""


def _wrapper(params: Params) -> Wrapper:
    min_loss_scale = float(params["min_loss_scale"])

    def optimizer_step(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scale = getattr(instance.scaler, "_scale", None)
        if scale is None:  # a scaler that is off
            return wrapped(*args, **kwargs)
        # the losses of this window were multiplied by the scale as it is: only one that cannot be inverted is lifted
        dead = _lift(scale, TINY, min_loss_scale)
        result = wrapped(*args, **kwargs)
        tally.add(NAME, dead | _lift(scale, min_loss_scale, min_loss_scale))
        return result

    return optimizer_step


def _lift(scale: Tensor, below: float, floor: float) -> Tensor:
    """Raise a scale under `below` to `floor`, in place and without a host read; says whether it was, on the device."""
    low = scale < below
    scale.masked_fill_(low, floor)
    return low


def _probe(stock: Any, patched: Any) -> str | None:
    return step_difference(stock, patched, scaled=True)


FIX = Fix(wrapper=_wrapper, probe=_probe)
