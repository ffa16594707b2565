"""Lets a torchvision that was built for another torch import, and gives it `nms` in pure torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import torch

from yolo_nanfix import upstream
from yolo_nanfix.numerics.nms import nms
from yolo_nanfix.patching.fix import Fix, Params

SYMPTOM = "torchvision::"
"""torch's message reads `operator torchvision::nms does not exist`."""


def _needed() -> str | None:
    try:
        extension = importlib.import_module("torchvision.extension")
    except ModuleNotFoundError:
        return "torchvision is not installed"
    except (RuntimeError, ImportError, OSError) as error:
        _forget_torchvision()
        return None if SYMPTOM in str(error) else f"torchvision fails for another reason: {error}"
    return "torchvision works" if extension._has_ops() else None


def _forget_torchvision() -> dict[str, Any]:
    names = [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]
    return {name: sys.modules.pop(name) for name in names}


def _install(params: Params) -> Callable[[], None]:
    """Define the two operators that torchvision's import looks up, then import it; undo takes both away."""
    make: Any = torch.library.Library  # torch leaves its methods without types
    library = make("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", nms, "CompositeExplicitAutograd")

    def undo() -> None:
        _forget_torchvision()
        library._destroy()

    try:
        extension: Any = importlib.import_module("torchvision.extension")
    except BaseException:
        undo()
        raise
    extension._has_ops = lambda: True
    upstream.log(
        f"torchvision {sys.modules['torchvision'].__version__} was built for another torch than "
        f"{torch.__version__}: its operators cannot load. yolo-nanfix registers nms in pure torch, so training "
        "and validation run; for full speed install the torchvision that belongs to your torch."
    )
    return undo


FIX = Fix(install=_install, needed=_needed)
