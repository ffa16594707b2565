"""The loss of validation on float32 predictions, in every model that has a `loss` of its own."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from yolo_nanfix.numerics.halves import float16_autocast, holds_float16, in_float32
from yolo_nanfix.patching.fix import Fix, Params, Wrapper


def _wrapper(params: Params) -> Wrapper:
    def loss(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _loss(wrapped, instance.training, *args, **kwargs)

    return loss


def _loss(wrapped: Any, training: bool, batch: dict[str, Any], preds: Any = None) -> Any:
    device_type = batch["img"].device.type
    if training or preds is None or not (holds_float16(preds) or float16_autocast(device_type)):
        return wrapped(batch, preds)
    with torch.autocast(device_type, enabled=False):
        return wrapped(batch, in_float32(preds))


def _probe(stock: Any, patched: Any) -> str | None:
    """No tensors to compare: in float32 nothing is touched. The method must still take a batch and predictions."""
    names = list(inspect.signature(inspect.unwrap(stock)).parameters)
    return None if names == ["self", "batch", "preds"] else f"the method takes {', '.join(names)}"


FIX = Fix(wrapper=_wrapper, probe=_probe)
