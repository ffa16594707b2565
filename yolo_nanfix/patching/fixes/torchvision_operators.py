"""Makes a torchvision that was built for another torch importable, with `nms` in pure torch.

Stock Ultralytics imports torchvision late, or never: the patch hooks the import, and acts only if it fails.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from yolo_nanfix import upstream
from yolo_nanfix.numerics.nms import nms
from yolo_nanfix.patching.children import ImportHook
from yolo_nanfix.patching.fix import Fix, Params

SYMPTOM = "torchvision::"
"""torch's message reads `operator torchvision::nms does not exist`."""
WAITS = "acts when torchvision is imported, if its operators cannot load"
WORKS = "torchvision works"


class _Operators:
    """The two operators that torchvision looks up when it is imported, and why they were not needed (`found`)."""

    def __init__(self) -> None:
        self.library: Any = None
        self.found = ""

    def define(self) -> None:
        """Define the operators, unless they are."""
        if self.library is not None:
            return
        make: Any = torch.library.Library  # torch leaves its methods without types
        self.library = make("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            self.library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        self.library.impl("nms", nms, "CompositeExplicitAutograd")

    def take_away(self) -> None:
        """Undefine the operators; torchvision, which holds them, must be imported again."""
        if self.library is not None:
            _forget_torchvision()
            self.library._destroy()
        self.library, self.found = None, ""


_operators = _Operators()


def _load_torchvision(module: ModuleType, run: Callable[[], None]) -> None:
    """Load torchvision with its own loader, twice where its operators are missing."""
    try:
        run()
    except (RuntimeError, ImportError, OSError) as error:
        if SYMPTOM not in str(error):
            _operators.found = f"torchvision fails for another reason: {error}"
            raise
        _forget_torchvision(but=module)
        _operators.define()
        run()
    _settle(module)


def _settle(module: ModuleType) -> None:
    """Define the operators of the imported torchvision if they could not load, and log it."""
    extension: Any = importlib.import_module("torchvision.extension")
    if _operators.library is None and extension._has_ops():
        _operators.found = WORKS
        return
    _operators.define()
    extension._has_ops = lambda: True
    _operators.found = ""
    upstream.log(
        f"torchvision {module.__version__} was built for another torch than "
        f"{torch.__version__}: its operators cannot load. yolo-nanfix registers nms in pure torch, so training "
        "and validation run; for full speed install the torchvision that belongs to your torch."
    )


def _forget_torchvision(but: ModuleType | None = None) -> None:
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        if sys.modules[name] is not but:
            del sys.modules[name]


def _needed() -> str | None:
    """Known if torchvision is imported already or not installed; else its import decides."""
    if "torchvision" not in sys.modules:
        return None if importlib.util.find_spec("torchvision") else "torchvision is not installed"
    return WORKS if importlib.import_module("torchvision.extension")._has_ops() else None


def _install(params: Params) -> Callable[[], None]:
    """Act when torchvision is imported, or now if it is; undo removes the operators."""
    hook = ImportHook("torchvision", _load_torchvision)
    sys.meta_path.insert(0, hook)
    if "torchvision" in sys.modules:
        _settle(sys.modules["torchvision"])

    def undo() -> None:
        sys.meta_path.remove(hook)
        _operators.take_away()

    return undo


def _state_now() -> tuple[str, str] | None:
    """Not needed after all, or still waiting for the import; None once the operators are defined."""
    if _operators.library is not None:
        return None
    return ("not-needed", _operators.found) if _operators.found else ("on", WAITS)


FIXES = {"torchvision-operators-missing": Fix(install=_install, needed=_needed, state_now=_state_now)}
