"""Whether a checkpoint holds the very weights that its run started with, by a checksum of each parameter.

Cost: one pass over the weights when a run starts; at its end, mostly, one parameter of the checkpoint is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def marks(model: nn.Module) -> dict[str, int]:
    """A checksum of each parameter of a model, by name, as the float16 that checkpoints hold."""
    return {name: _mark(parameter) for name, parameter in model.named_parameters()}


def unchanged(checkpoint: str | Path, start: Mapping[str, int]) -> bool | None:
    """Whether all parameters in a checkpoint are those that `marks` saw; None if that cannot be told."""
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)
        named = dict((saved.get("ema") or saved["model"]).named_parameters())
    except Exception:  # missing, torn, or of classes that cannot be imported here
        return None
    if not start or named.keys() != start.keys():
        return None
    return all(_mark(parameter) == start[name] for name, parameter in named.items())


def _mark(tensor: Tensor) -> int:
    return zlib.crc32(tensor.detach().half().cpu().contiguous().numpy().tobytes())
