"""`RTDETRDecoder.forward` in float32 where float16 autocast is active."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.numerics.precision import float16_autocast, in_float32
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import difference, generator


@wrapper
def forward(wrapped: Any, instance: Any, x: list[Tensor], *rest: Any, **options: Any) -> Any:
    """In float32 where float16 autocast is active."""
    device_type = x[0].device.type
    if not float16_autocast(device_type):
        return wrapped(x, *rest, **options)
    with torch.autocast(device_type, enabled=False):
        return wrapped(in_float32(x), *rest, **options)


def _probe(stock: Any, patched: Any) -> str | None:
    """Equal in float32; and under float16 autocast equal to stock in float32."""
    decoder = inspect.unwrap(stock).__globals__["RTDETRDecoder"]
    torch.manual_seed(0)
    module = decoder(nc=3, ch=(16, 16), hd=32, nq=10, nh=4, ndl=2, d_ffn=32, nd=0).train()
    random = generator(1)
    inputs = [torch.randn(2, 16, n, n, generator=random) for n in (8, 4)]

    def call(function: Any, tensors: Any) -> Tensor:
        torch.manual_seed(2)
        boxes, scores, *_ = function.__get__(module, decoder)(list(tensors))
        return torch.cat((boxes, scores), -1)

    def under_autocast(function: Any, tensors: Any) -> Tensor:
        with torch.autocast("cpu", dtype=torch.float16, enabled=function is patched):
            return call(function, tensors)

    return difference(stock, patched, call, [inputs]) or difference(stock, patched, under_autocast, [inputs])


FIX = Fix(wrapper=forward, probe=_probe)
