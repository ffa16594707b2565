"""`numpy.trapz`, which newer numpy renamed to `trapezoid`, for releases that call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from yolo_nanfix.patching.fix import Fix, Params


def _needed() -> str | None:
    return f"numpy {numpy.__version__} has trapz" if hasattr(numpy, "trapz") else None


def _install(params: Params) -> Callable[[], None]:
    module: Any = numpy
    module.trapz = module.trapezoid
    return lambda: delattr(module, "trapz")


FIX = Fix(install=_install, needed=_needed)
