"""Logits on which the focal and the varifocal loss have a finite value and gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_nanfix.numerics.precision import bounded

LARGEST_LOGIT = 1e30
"""Largest logit; the sum over a batch of them stays inside float32."""
SMALLEST_LOGIT = -80.0
"""Its sigmoid is 1.8e-35, still a normal float32; from -104 on it is 0."""
SATURATED_LOGIT = 15.0
"""Its sigmoid is five units in the last place under 1; from 17 on it is 1."""
SATURATED = 2.0**-22
"""1 - p_t below this, four units in the last place, needs a logit beyond ±15."""


def varifocal_logits(logit: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The logits in float32, where `sigmoid(logit) ** gamma` has a gradient; and which were moved.

    The weight of a negative in the varifocal loss (Zhang et al., https://arxiv.org/abs/2008.13367) has the gradient
    gamma * sigmoid ** (gamma - 1) * sigmoid'. For gamma < 1 and a sigmoid that underflows to 0 this is Inf * 0, while
    its limit is 0. Such logits become `SMALLEST_LOGIT` in the forward pass; the gradient still reaches them.

    Args:
        logit: any shape, any floating dtype.
        gamma: the focusing exponent, not negative.
    """
    wide, far = bounded(logit, LARGEST_LOGIT)
    if not 0 < gamma < 1:
        return wide, far
    singular = wide < SMALLEST_LOGIT
    return _with_value(wide, torch.full_like(wide, SMALLEST_LOGIT), singular), singular | far


def focal_logits(logit: Tensor, label: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The logits in float32, where `(1 - p_t) ** gamma` has a gradient; and which were moved.

    The modulating factor of the focal loss (Lin et al., https://arxiv.org/abs/1708.02002) has the gradient
    gamma * (1 - p_t) ** (gamma - 1) * p_t'. For gamma < 1 and an answer so sure that p_t rounds to 1 this is Inf * 0,
    while its limit is 0. Such logits become ±`SATURATED_LOGIT` in the forward pass; the gradient still reaches them.

    Args:
        logit: any shape, any floating dtype.
        label: the same shape, in [0, 1].
        gamma: the focusing exponent, not negative.
    """
    wide, far = bounded(logit, LARGEST_LOGIT)
    if not 0 < gamma < 1:
        return wide, far
    with torch.no_grad():
        probability = wide.sigmoid()
        singular = 1.0 - (label * probability + (1 - label) * (1 - probability)) < SATURATED
    return _with_value(wide, wide.sign() * SATURATED_LOGIT, singular), singular | far


def _with_value(logit: Tensor, value: Tensor, where: Tensor) -> Tensor:
    """The logits, with `value` in the forward pass where `where` is True; gradients pass unchanged."""
    return torch.where(where, value, logit).detach() + (logit - logit.detach())
