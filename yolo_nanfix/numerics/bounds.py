"""Full precision and a bounded range for the inputs of a loss."""

from __future__ import annotations

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widened(x: Tensor) -> Tensor:
    """A half-precision tensor in float32; any other tensor as it is."""
    return x.float() if x.dtype in HALF else x


def bounded(x: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """The tensor in float32 or float64, limited to ±`limit`; NaN and Inf become NaN, so that none is hidden.

    Values inside the limit, and their gradients, are bit-identical.

    Returns:
        The tensor, and where a finite value was moved: bool, the shape of `x`, or () where that was nowhere.
    """
    x = widened(x)
    if _plainly_inside(x, limit):
        return x, torch.zeros((), dtype=torch.bool)
    moved = (x.abs() > limit) & x.isfinite()
    return x.clamp(-limit, limit) + (x - x).detach(), moved


def _plainly_inside(x: Tensor, limit: float) -> bool:
    """Whether nothing has to be done, where asking is cheap; on a GPU it would stop the host, and the answer is no."""
    if x.device.type != "cpu" or not x.numel():
        return False
    low, high = x.detach().aminmax()
    return float(low) >= -limit and float(high) <= limit
