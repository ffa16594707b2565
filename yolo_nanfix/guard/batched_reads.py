"""Scalars that are read together with the guard's checks, in its one host read of each micro-batch.

Loss terms, loss scale, and under a GradScaler the gradient norm of the step before go to the step log. The running loss
terms are read for Ultralytics' progress bar, which would format them after each micro-batch with one read from the GPU
each: it gets the same numbers on the host, and before the next forward pass the tensors are restored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.guard import remedies

ROW = "row."
"""Prefix of the names of values of this micro-batch."""
NORM = "step.norm"


def terms(trainer: Any) -> dict[str, Tensor]:
    """The terms of the loss that was just computed, scalars on their device, by Ultralytics' names with `ROW`.

    Releases before 8.4.104 keep them in one tensor, and their names apart.
    """
    items = getattr(trainer, "loss_items", None)
    if isinstance(items, Tensor):
        items = dict(zip(getattr(trainer, "loss_names", ()), items.detach().flatten().unbind(), strict=False))
    if not isinstance(items, Mapping):
        return {}
    return {f"{ROW}{k}": v for k, v in items.items() if isinstance(v, Tensor) and v.numel() == 1}


def scale(scaler: Any) -> dict[str, Tensor]:
    """The loss scale, a scalar on its device; empty where none is in use."""
    held = getattr(scaler, "_scale", None) if scaler.is_enabled() else None
    return {f"{ROW}loss_scale": held} if isinstance(held, Tensor) else {}


def main_group(optimizer: Any) -> int:
    """The number of the parameter group with most of the weights, whose learning rate is logged."""
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    return sizes.index(max(sizes))


RUNNING = "tloss."


class ProgressReads:
    """Reads the running loss terms of one trainer for the progress bar."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._device: Any = None
        self._host: Any = None

    def scalars(self) -> dict[str, Tensor]:
        """The terms that the bar would read; none on a CPU, where reads cost nothing."""
        terms = self.trainer.tloss
        if self.trainer.device.type == "cpu" or not isinstance(terms, Mapping):
            return {}
        return {RUNNING + k: v for k, v in terms.items() if isinstance(v, Tensor) and v.dim() == 0}

    def hand_over(self, values: Mapping[str, float]) -> None:
        """Replace the trainer's terms by the numbers that were read, in the same dtype."""
        read = {k.removeprefix(RUNNING): v for k, v in values.items() if k.startswith(RUNNING)}
        if not read or len(read) != len(self.trainer.tloss):
            return
        self._device = self.trainer.tloss
        self._host = {k: torch.tensor(v, dtype=self._device[k].dtype) for k, v in read.items()}
        remedies.set_running_loss(self.trainer, self._host)

    def take_back(self) -> None:
        """Before the next forward pass: restore the trainer's own tensors."""
        if self._host is not None and self.trainer.tloss is self._host:
            remedies.set_running_loss(self.trainer, self._device)
        self._device = self._host = None
