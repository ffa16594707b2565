"""Whether methods are Ultralytics' own or a user's.

Before a user's `preprocess_batch`, classes may be counted from 1 and NaN may stand for "no data"; a user's loss may
leave out objects of class -1. Only where Ultralytics' own code comes next is such a thing sure to spoil the step.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import wrapt

KNOWN = ("ultralytics", "yolo_nanfix", "torch")


def stock(owner: object, *names: str) -> bool:
    """Whether no method of these names was written, wrapped or set on the instance by others than KNOWN."""
    for name in names:
        held = [vars(kind)[name] for kind in type(owner).__mro__ if name in vars(kind)]
        if not untouched(owner, name) or not all(map(_known, held)):
            return False
    return True


def untouched(owner: object, name: str) -> bool:
    """Whether only KNOWN, if any, replaced a method on this one instance."""
    held = getattr(owner, "__dict__", {}).get(name)
    return held is None or _known(getattr(held, "__func__", held))


def _known(function: Any) -> bool:
    """Whether a class's attribute is a function of KNOWN; its globals tell, for `wraps` copies a module's name."""
    if isinstance(function, wrapt.FunctionWrapper):
        return _known(function._self_wrapper) and _known(function.__wrapped__)
    return isinstance(function, FunctionType) and _root(function.__globals__.get("__name__")) in KNOWN


def stock_loss(model: Any) -> bool:
    """Whether the loss of a model is Ultralytics' own. The criterion is made at the first micro-batch."""
    criterion = getattr(model, "criterion", None)
    if _root(type(criterion).__module__) == "yolo_nanfix":  # the guard's stand-in
        criterion = getattr(criterion, "__wrapped__", criterion)
    own = criterion is not None and not (_root(type(criterion).__module__) in KNOWN and stock(criterion, "__call__"))
    return not own and stock(model, "loss", "init_criterion")


def _root(module: Any) -> str:
    return str(module).partition(".")[0]
