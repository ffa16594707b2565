"""Takes over the host reads that Ultralytics' progress bar makes, so that the guard adds none on a GPU.

After each micro-batch the bar formats the running loss terms, one read from the GPU each. The guard reads them
together with its own checks, in one transfer, and leaves the bar the same numbers on the host. Before the next
forward pass the tensors themselves are there again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

PREFIX = "tloss."


class ProgressReads:
    """The running loss terms of one trainer."""

    def __init__(self, trainer: Any) -> None:
        """Nothing is taken over yet."""
        self.trainer = trainer
        self._device: Any = None
        self._host: Any = None

    def scalars(self) -> dict[str, Tensor]:
        """The terms that the bar would read, to be read with the rest; none on a CPU, where reads cost nothing."""
        terms = self.trainer.tloss
        if self.trainer.device.type == "cpu" or not isinstance(terms, Mapping):
            return {}
        return {PREFIX + k: v for k, v in terms.items() if isinstance(v, Tensor) and v.dim() == 0}

    def hand_over(self, values: Mapping[str, float]) -> None:
        """Give the bar the numbers that were read, in the terms' own dtype."""
        read = {k.removeprefix(PREFIX): v for k, v in values.items() if k.startswith(PREFIX)}
        if not read or len(read) != len(self.trainer.tloss):
            return
        self._device = self.trainer.tloss
        self._host = {k: torch.tensor(v, dtype=self._device[k].dtype) for k, v in read.items()}
        self.trainer.tloss = self._host

    def take_back(self) -> None:
        """Before the next forward pass: the trainer goes on averaging its own tensors."""
        if self._host is not None and self.trainer.tloss is self._host:
            self.trainer.tloss = self._device
        self._device = self._host = None
