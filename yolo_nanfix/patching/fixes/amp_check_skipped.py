"""`check_amp` that allows float16 only if the model to be trained is as finite in float16 as in float32."""

from __future__ import annotations

import math
from typing import Any

import torch

from yolo_nanfix import upstream
from yolo_nanfix.numerics.precision import overflow_in_half
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import amp_difference

NAME = "amp-check-skipped"
CHECKED = ("cuda",)
"""Device types on which the check runs: those that train in float16."""
BATCH = 8
"""Broken GPUs fail from 7 images on (https://github.com/ultralytics/ultralytics/pull/17977)."""


@wrapper
def check_amp(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's answer; if it is True, the model itself is checked."""
    return wrapped(*args, **kwargs) and _holds_in_half(*args, **kwargs)


def _holds_in_half(model: Any) -> bool:
    """Whether the model is as finite in float16 as in float32; True if the check cannot run."""
    if next(model.parameters()).device.type not in CHECKED:
        return True
    plain = getattr(model, "_orig_mod", model)
    try:
        module = overflow_in_half(plain, _image_batch(plain), torch.float16)
    except Exception as error:  # models of users may refuse this call in any way
        upstream.log(f"yolo-nanfix: {NAME}: the check could not run ({type(error).__name__}: {error}), AMP stays on")
        return True
    if module is None:
        return True
    tally.add(NAME, 1)
    upstream.log(
        f"yolo-nanfix: {NAME}: {module} of this model is finite in float32 but not in float16 on this device, so AMP "
        "is turned off"
    )
    return False


def _image_batch(model: Any) -> tuple[int, int, int, int]:
    """The shape of an image batch as in training, with at most `BATCH` images."""
    settings = getattr(model, "args", None)
    stride = int(max(model.stride)) if hasattr(model, "stride") else 32
    size = getattr(settings, "imgsz", None) or 640
    side = math.ceil((max(size) if isinstance(size, (list, tuple)) else int(size)) / stride) * stride
    batch = getattr(settings, "batch", BATCH)
    channels = next(m.in_channels for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    return (min(batch, BATCH) if isinstance(batch, int) and batch > 0 else BATCH, channels, side, side)


FIX = Fix(wrapper=check_amp, probe=amp_difference)
