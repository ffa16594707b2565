"""The code of the cards: each module has in `FIXES` that of its cards, by their names."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from yolo_nanfix.patching.fix import Fix


@cache
def load_fixes() -> dict[str, Fix]:
    """The code of all cards by name, imported when it is first asked for."""
    found: dict[str, Fix] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= importlib.import_module(f"{__name__}.{module.name}").FIXES
    return found
