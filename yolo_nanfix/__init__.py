"""Keeps Ultralytics YOLO training alive.

Importing this package imports neither torch nor ultralytics and changes nothing; `patch()` acts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_nanfix import errors
from yolo_nanfix._version import __version__

if TYPE_CHECKING:
    from yolo_nanfix.api import diagnose, fix, lint, patch, patched, plan, status, undo, unpatch
    from yolo_nanfix.finetuning import bench, score
    from yolo_nanfix.runs import train

__all__ = [
    "__version__",
    "bench",
    "diagnose",
    "errors",
    "fix",
    "lint",
    "patch",
    "patched",
    "plan",
    "score",
    "status",
    "train",
    "undo",
    "unpatch",
]


def __getattr__(name: str) -> Any:
    """Import the public functions on first use (PEP 562)."""
    if name in __all__:
        from yolo_nanfix import api, finetuning, runs

        return getattr({"train": runs, "bench": finetuning, "score": finetuning}.get(name, api), name)
    raise AttributeError(f"module 'yolo_nanfix' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
