"""`check_amp` that knows by name the GPUs whose float16 arithmetic is broken."""

from __future__ import annotations

from typing import Any

import torch

from yolo_nanfix import upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper
from yolo_nanfix.patching.gpus import broken_half
from yolo_nanfix.patching.training_probes import amp_difference

NAME = "gpu-half-broken"


def _wrapper(params: Params) -> Wrapper:
    def check_amp(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return wrapped(*args, **kwargs) if _is_sound(*args, **kwargs) else False

    return check_amp


def _is_sound(model: Any) -> bool:
    """Whether nothing is known against float16 on the model's device."""
    device = next(model.parameters()).device
    reason = broken_half(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    if reason is None:
        return True
    tally.add(NAME, 1)
    upstream.log(f"yolo-nanfix: {NAME}: AMP is turned off on {torch.cuda.get_device_name(device)}: {reason}")
    return False


FIX = Fix(wrapper=_wrapper, probe=amp_difference)
