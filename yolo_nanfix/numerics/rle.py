"""Inputs on which `ultralytics.utils.loss.RLELoss` has a finite value and gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_nanfix.numerics.bounds import widened

SMALLEST_SIGMA = 1e-9
"""The floor that upstream itself puts under sigma where it divides the error by it."""
LARGEST = 1e30
"""Largest log-likelihood or error let through; a batch of them adds up inside float32."""


def positive_sigma(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """The standard deviations in float32, floored, and which were moved; NaN stays NaN.

    The loss log(sigma) + |error| - log(phi(error)) (Li et al., https://arxiv.org/abs/2107.11291) falls without bound
    as sigma goes to 0, with the gradient 1 / sigma: at 0 the value is -Inf and the gradient Inf * 0 = NaN behind the
    sigmoid that sigma comes from. Under the floor the gradient is 0, so nothing rewards a smaller sigma. The floor is
    `SMALLEST_SIGMA`, or for float16 its smallest normal number, whose reciprocal float16 still holds.

    Args:
        sigma: shape (N, D), in [0, 1].
    """
    floor = max(SMALLEST_SIGMA, torch.finfo(sigma.dtype).tiny)
    sigma = widened(sigma)
    return sigma.clamp(min=floor), sigma < floor
