"""Inputs on which Ultralytics' `KeypointLoss` and `RLELoss` have a finite value and gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_nanfix.numerics.precision import widened

COORDINATE_LIMIT = 1e7
"""Largest keypoint coordinate, in grid cells, far beyond any image; its square stays inside float32."""
SMALLEST_SIGMA = 1e-6
"""Smallest keypoint constant; COCO's are 0.025 to 0.107. The divisor 8 * sigma^2 * (area + 1e-9) is then
8e-21 or more, and its reciprocal inside float32."""
SMALLEST_AREA = {False: 0.0, True: 1e-6}
"""Smallest area, in grid cells squared, by whether a keypoint came in half precision. Upstream adds 1e-9,
enough for a finite gradient in float32; the gradient, at most 1 / (3 * sigma * sqrt(area)), has to fit into float16."""


def positive_sigmas(sigmas: Tensor) -> tuple[Tensor, Tensor]:
    """The keypoint constants in float32, with a magnitude of at least `SMALLEST_SIGMA`, and which were changed.

    The similarity of a keypoint is exp(-e) with e = d^2 / (8 * sigma^2 * area), as COCO defines it
    (https://cocodataset.org/#keypoints-eval). As sigma goes to 0 it goes to 0 with a gradient of 0 wherever d > 0; at
    d = 0 upstream computes 0 / 0. A floor under sigma gives the limit.

    Args:
        sigmas: shape (K,).
    """
    sigmas = widened(sigmas)
    short = sigmas.abs() < SMALLEST_SIGMA
    return torch.where(short, SMALLEST_SIGMA, sigmas), short


def area_not_negative(area: Tensor, half: bool) -> tuple[Tensor, Tensor]:
    """The areas in float32, floored to `SMALLEST_AREA`, and which were changed; NaN and Inf stay as they are.

    A negative area turns exp(-e) into exp(+e), which overflows.

    Args:
        area: grid cells squared, shape (N, 1).
        half: whether the keypoints came in half precision.
    """
    area = widened(area)
    small = (area < SMALLEST_AREA[half]) & area.isfinite()
    return torch.where(small, SMALLEST_AREA[half], area), small


SMALLEST_DEVIATION = 1e-9
"""The floor that upstream itself puts under sigma where it divides the error by it."""
RLE_LIMIT = 1e30
"""Largest log-likelihood or error; the sum of a batch of them stays inside float32."""


def positive_sigma(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """The standard deviations in float32, floored, and which were changed; NaN stays NaN.

    The loss log(sigma) + |error| - log(phi(error)) (Li et al., https://arxiv.org/abs/2107.11291) falls without bound
    as sigma goes to 0, with the gradient 1 / sigma: at 0 the value is -Inf and the gradient Inf * 0 = NaN behind the
    sigmoid that sigma comes from. Below the floor the gradient is 0, so nothing rewards a smaller sigma. The floor is
    `SMALLEST_DEVIATION`, or for float16 its smallest normal number, whose reciprocal still fits into float16.

    Args:
        sigma: shape (N, D), in [0, 1].
    """
    floor = max(SMALLEST_DEVIATION, torch.finfo(sigma.dtype).tiny)
    sigma = widened(sigma)
    return sigma.clamp(min=floor), sigma < floor
