"""`torch.load` with `weights_only=False` by default for calls from ultralytics, whose older releases expect that."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from yolo_nanfix import upstream
from yolo_nanfix.patching.fix import Fix, Params

WEIGHTS_ONLY_BY_DEFAULT = "2.6"


def _needed() -> str | None:
    if upstream.release(torch.__version__)[:2] >= upstream.release(WEIGHTS_ONLY_BY_DEFAULT):
        return None
    return f"torch {torch.__version__} loads whole checkpoints by default"


def _install(params: Params) -> Callable[[], None]:
    stock: Any = torch.load

    @wraps(stock)
    def load(*args: Any, **kwargs: Any) -> Any:
        if str(sys._getframe(1).f_globals.get("__name__")).partition(".")[0] == "ultralytics":
            kwargs.setdefault("weights_only", False)
        return stock(*args, **kwargs)

    torch.load = load

    def undo() -> None:
        if torch.load is load:
            torch.load = stock

    return undo


FIX = Fix(install=_install, needed=_needed)
