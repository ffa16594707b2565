"""`Attention.forward` and `AAttn.forward` in float32, where the product of queries and keys cannot overflow."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from yolo_nanfix.numerics.precision import float16_autocast, float32_state
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import calling, difference, generator


@wrapper
def forward(wrapped: Any, instance: Any, x: Tensor, *rest: Any, **options: Any) -> Any:
    """In float32 instead of float16; the result is float16 as upstream's."""
    if x.dtype is not torch.float16 and not float16_autocast(x.device.type):
        return wrapped(x, *rest, **options)
    with torch.autocast(x.device.type, enabled=False):
        halved = float32_state(instance)
        if halved and instance.training:  # copies would lose the updates of BatchNorm
            return wrapped(x, *rest, **options)
        full = functional_call(instance, halved, (x.float(),)) if halved else wrapped(x.float())
    return full.half()


def _probe(stock: Any, patched: Any) -> str | None:
    """Equal in float32; and under float16 autocast equal to stock in float32, up to the rounding of the result."""
    plain = inspect.unwrap(stock)
    block = plain.__globals__[plain.__qualname__.partition(".")[0]]
    torch.manual_seed(0)
    module = block(64, 2).eval()
    x = torch.randn(2, 64, 8, 8, generator=generator(1))

    call = calling(instance=module)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
        half = call(patched, [x])
    with torch.no_grad():
        if not torch.allclose(half.float(), call(stock, [x]), rtol=1e-3, atol=1e-3):
            return "its result under float16 autocast is not the one of float32"
    return difference(stock, patched, call, [[x]])


FIX = Fix(wrapper=forward, probe=_probe)
