"""The code of the cards: the card `mask-area-zero` has the module `mask_area_zero` here, with its `FIX`."""

from __future__ import annotations

import importlib

from yolo_nanfix.patching.fix import Fix


def load_fix(name: str) -> Fix:
    """The code of one card, imported when it is asked for."""
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    fix: Fix = module.FIX
    return fix
