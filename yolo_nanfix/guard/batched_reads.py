"""Scalars that are read to be written down, not to be judged: loss terms, loss scale, learning rate.

Nothing is read from a device for them alone: they, and under a GradScaler the gradient norm of the step before, ride on
the one read that the guard makes of each micro-batch anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

PREFIX = "row."
"""How the names begin of what belongs to this micro-batch."""
NORM = "step.norm"


def terms(trainer: Any) -> dict[str, Tensor]:
    """The terms of the loss that was just computed, scalars on their device, by Ultralytics' names with `PREFIX`.

    Releases before 8.4.104 keep them in one tensor, and their names apart.
    """
    items = getattr(trainer, "loss_items", None)
    if isinstance(items, Tensor):
        items = dict(zip(getattr(trainer, "loss_names", ()), items.detach().flatten().unbind(), strict=False))
    if not isinstance(items, Mapping):
        return {}
    return {f"{PREFIX}{k}": v for k, v in items.items() if isinstance(v, Tensor) and v.numel() == 1}


def scale(scaler: Any) -> dict[str, Tensor]:
    """The loss scale, a scalar on its device; nothing where none is in force, or none was needed yet."""
    held = getattr(scaler, "_scale", None) if scaler.is_enabled() else None
    return {f"{PREFIX}loss_scale": held} if isinstance(held, Tensor) else {}


def main_group(optimizer: Any) -> int:
    """The number of the parameter group that holds most of the weights; its learning rate is the one written down."""
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    return sizes.index(max(sizes))
