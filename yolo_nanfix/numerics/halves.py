"""Telling half precision from full, and running in full what half cannot hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def float16_autocast(device_type: str) -> bool:
    """Whether float16 autocast is active for a type of device ("cuda", "cpu", ...)."""
    if hasattr(torch, "get_autocast_dtype"):
        return torch.is_autocast_enabled(device_type) and torch.get_autocast_dtype(device_type) is torch.float16
    # torch before 2.4 has float16 autocast on CUDA alone
    return device_type == "cuda" and torch.is_autocast_enabled() and torch.get_autocast_gpu_dtype() is torch.float16


def holds_float16(value: Any) -> bool:
    """Whether a tensor, or a nest of lists, tuples and dicts, holds a float16 tensor."""
    if isinstance(value, Tensor):
        return value.dtype is torch.float16
    if isinstance(value, dict):
        return any(map(holds_float16, value.values()))
    return isinstance(value, (list, tuple)) and any(map(holds_float16, value))


def in_float32(value: Any) -> Any:
    """The nest with its float16 tensors in float32; everything else in it is the very same object."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype is torch.float16 else value
    if isinstance(value, dict):
        return {key: in_float32(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [in_float32(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def float32_state(module: nn.Module) -> dict[str, Tensor]:
    """The float16 parameters and buffers of a module by name, as float32 copies; {} if it has none."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.float() for name, tensor in named if tensor.dtype is torch.float16}
