"""Does a model overflow where float16 autocast computes it, although float32 does not?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def overflow_in_half(model: nn.Module, shape: tuple[int, int, int, int], dtype: torch.dtype) -> str | None:
    """The first module whose output is finite in float32 but not under autocast, or None if there is none.

    One seeded image batch goes twice through a copy of the model in evaluation mode on the model's own device. The
    model, its flags and the global random state are not touched.

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

    A module may be called at several places under one name, as the activation that all blocks share.
    """
    flags: list[tuple[str, Tensor]] = []

    def look(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        flags.extend((name, tensor.isfinite().all()) for tensor in _floating(output))

    leaves = [(name, m) for name, m in model.named_modules() if not any(m.children())]
    handles = [m.register_forward_hook(partial(look, name)) for name, m in leaves]
    try:
        look("the output", model, None, model(image))
    finally:
        for handle in handles:
            handle.remove()
    return flags


def _floating(output: Any) -> Iterator[Tensor]:
    """The floating tensors inside nested tuples, lists and dicts."""
    if isinstance(output, Tensor) and output.is_floating_point():
        yield output
    elif isinstance(output, (Mapping, tuple, list)):
        for value in output.values() if isinstance(output, Mapping) else output:
            yield from _floating(value)
