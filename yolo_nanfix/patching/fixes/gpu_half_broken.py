"""`check_amp` that refuses GPUs whose float16 arithmetic is known to be broken, by name."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch

from yolo_nanfix import upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import amp_difference

NAME = "gpu-half-broken"


class Family(NamedTuple):
    """GPUs of one kind: a pattern of their names, their names in a message, and the report."""

    pattern: str
    cards: str
    report: str


BROKEN_HALF = (
    Family(r"gtx\s*16[356]0", "GTX 1630, 1650 and 1660", "https://github.com/pytorch/pytorch/issues/77955"),
    Family(
        r"\bt(400|550|600|1000|1200|2000)",
        "T400, T550, T600, T1000, T1200 and T2000",
        "https://github.com/ultralytics/ultralytics/pull/17977",
    ),
    Family(r"\bk40m", "Tesla K40m", "https://github.com/ultralytics/ultralytics/pull/17977"),
    Family(r"\bcmp\s*[34]0hx", "CMP 30HX and 40HX", "https://github.com/RVC-Boss/GPT-SoVITS/issues/2563"),
)


def broken_half(name: str) -> str | None:
    """Why a GPU must not compute in float16, or None if no fault is known.

    Args:
        name: as `torch.cuda.get_device_name` gives it, such as "NVIDIA GeForce GTX 1660 Ti".
    """
    for family in BROKEN_HALF:
        if re.search(family.pattern, name, re.IGNORECASE):
            return f"{family.cards} return NaN or zeros from float16 convolutions ({family.report})"
    return None


@wrapper
def check_amp(wrapped: Any, instance: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's answer, but False on a GPU that is known to be broken."""
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    if (reason := broken_half(name)) is None:
        return wrapped(model, *args, **kwargs)
    tally.add(NAME, 1)
    upstream.log(f"yolo-nanfix: {NAME}: AMP is turned off on {name}: {reason}")
    return False


FIX = Fix(wrapper=check_amp, probe=amp_difference)
