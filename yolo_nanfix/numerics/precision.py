"""Half precision: inputs of losses in float32 and within limits, and models that overflow in float16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

HALF = (torch.float16, torch.bfloat16)


def widened(x: Tensor) -> Tensor:
    """A half-precision tensor in float32; any other tensor as it is."""
    return x.float() if x.dtype in HALF else x


def bounded(x: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """The tensor in float32 or float64, clamped to ±`limit`; NaN and Inf become NaN, so that none is hidden.

    Values inside the limit, and their gradients, are bit-identical.

    Returns:
        The tensor, and which finite values were clamped: bool, the shape of `x`, or () if none was.
    """
    x = widened(x)
    if _plainly_inside(x, limit):
        return x, torch.zeros((), dtype=torch.bool)
    moved = (x.abs() > limit) & x.isfinite()
    return x.clamp(-limit, limit) + (x - x).detach(), moved


def _plainly_inside(x: Tensor, limit: float) -> bool:
    """Whether nothing has to be clamped; False on a GPU, where the check would be a host read."""
    if x.device.type != "cpu" or not x.numel():
        return False
    low, high = x.detach().aminmax()
    return float(low) >= -limit and float(high) <= limit


def float16_autocast(device_type: str) -> bool:
    """Whether float16 autocast is active for a type of device ("cuda", "cpu", ...)."""
    if hasattr(torch, "get_autocast_dtype"):
        return torch.is_autocast_enabled(device_type) and torch.get_autocast_dtype(device_type) is torch.float16
    # torch before 2.4 has float16 autocast on CUDA alone
    return device_type == "cuda" and torch.is_autocast_enabled() and torch.get_autocast_gpu_dtype() is torch.float16


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors inside nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, tuple, list)):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(entry)


def holds_float16(value: Any) -> bool:
    """Whether a tensor, or a nest of lists, tuples and mappings, holds a float16 tensor."""
    return any(tensor.dtype is torch.float16 for tensor in tensors_in(value))


def in_float32(value: Any) -> Any:
    """A nest of dicts, lists and tuples with its float16 tensors in float32; all else is the very same object."""
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


def overflow_in_half(model: nn.Module, shape: tuple[int, int, int, int], dtype: torch.dtype) -> str | None:
    """The first module whose output is finite in float32 but not under autocast, or None if there is none.

    One seeded image batch passes twice through a copy of the model in evaluation mode on the model's device. The
    model, its flags and the global random state are not changed.

    Args:
        model: the model, in any mode.
        shape: of the image batch, (N, C, H, W).
        dtype: what autocast computes in, such as `torch.float16`.
    """
    device = next(model.parameters()).device
    copied = deepcopy(model).eval()
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        with torch.autocast(device.type, enabled=False):
            exact = _finite_outputs(copied, image)
        with torch.autocast(device.type, dtype=dtype):
            rounded = _finite_outputs(copied, image)
    pairs = [(name, flag & ~half) for (name, flag), (_, half) in zip(exact, rounded, strict=True)]
    broken = torch.stack([flag for _, flag in pairs]).tolist()
    return next((name for (name, _), is_broken in zip(pairs, broken, strict=True) if is_broken), None)


def _finite_outputs(model: nn.Module, image: Tensor) -> list[tuple[str, Tensor]]:
    """The name of each innermost module and whether its output is finite (a device scalar), in the order of the calls.

    A module that is called several times, such as an activation that blocks share, is listed each time.
    """
    flags: list[tuple[str, Tensor]] = []

    def look(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        flags.extend((name, tensor.isfinite().all()) for tensor in tensors_in(output) if tensor.is_floating_point())

    leaves = [(name, m) for name, m in model.named_modules() if not any(m.children())]
    handles = [m.register_forward_hook(partial(look, name)) for name, m in leaves]
    try:
        look("the output", model, None, model(image))
    finally:
        for handle in handles:
            handle.remove()
    return flags
