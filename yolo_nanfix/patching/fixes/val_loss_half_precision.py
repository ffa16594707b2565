"""The loss of validation on float32 predictions, in every model that has a `loss` of its own."""

from __future__ import annotations

from typing import Any

import torch

from yolo_nanfix.numerics.precision import float16_autocast, holds_float16, in_float32
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import text_probe


@wrapper
def loss(wrapped: Any, instance: Any, batch: dict[str, Any], preds: Any = None) -> Any:
    """Upstream's loss, in float32 where a validation hands in float16 predictions."""
    device_type = batch["img"].device.type
    if instance.training or preds is None or not (holds_float16(preds) or float16_autocast(device_type)):
        return wrapped(batch, preds)
    with torch.autocast(device_type, enabled=False):
        return wrapped(batch, in_float32(preds))


FIX = Fix(wrapper=loss, probe=text_probe(takes=("batch", "preds")))
