"""What many tensors hold, found with one host read: values that are not finite, values that float16 cannot hold."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

HALF_LIMIT = 65520.0
"""The smallest magnitude that rounds to Inf in float16: its largest number is 65504, the next would be 65536."""

Named = Iterable[tuple[str, Tensor]]


def first_not_finite(named: Named) -> str | None:
    """The first floating tensor that holds NaN or Inf, with the count of such values; None if there is none."""
    tensors, largest = _magnitudes(named)
    for (name, tensor), magnitude in zip(tensors, largest, strict=True):
        if not magnitude < float("inf"):
            return f"{name} holds {int((~tensor.isfinite()).sum())} values that are not finite"
    return None


def beyond_half(named: Named) -> list[tuple[str, Tensor]]:
    """The finite floating tensors of which at least one value becomes Inf in float16."""
    tensors, largest = _magnitudes(named)
    wide = (HALF_LIMIT <= magnitude < float("inf") for magnitude in largest)
    return [pair for pair, is_wide in zip(tensors, wide, strict=True) if is_wide]


@torch.no_grad()
def _magnitudes(named: Named) -> tuple[list[tuple[str, Tensor]], list[float]]:
    """The floating tensors that are not empty, and the largest magnitude of each (NaN if it holds one)."""
    tensors = [(name, t) for name, t in named if t.is_floating_point() and t.numel()]
    if not tensors:
        return [], []
    norms = torch._foreach_norm([t.detach() for _, t in tensors], float("inf"))
    largest: list[float] = torch.stack([n.double() for n in norms]).tolist()
    return tensors, largest
