"""Targets that the distribution focal loss can turn into indices."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_nanfix.numerics.bounds import widened

MARGIN = 0.01
"""How far upstream keeps a target from the last bin, so that the bin to its right exists."""


def indexable(target: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The targets in float32, inside the bins, with 0 where they are not finite; and which rows are finite.

    The loss of a target t (Li et al., https://arxiv.org/abs/2006.04388) is the cross-entropy of the bins floor(t) and
    floor(t) + 1. NaN has no floor: converted to an integer it is -2^63. bfloat16 rounds 14.99, the largest target that
    upstream lets through with 16 bins, to 15.0, and bin 16 does not exist.

    Args:
        target: distances in bins, shape (N, 4), any floating dtype.
        bins: their number.

    Returns:
        The targets, a new tensor of the shape of `target`, and bool of shape (N, 1).
    """
    finite = target.isfinite()
    safe = torch.where(finite, widened(target), 0.0)
    return safe.clamp(0, bins - 1 - MARGIN), finite.all(-1, keepdim=True)
