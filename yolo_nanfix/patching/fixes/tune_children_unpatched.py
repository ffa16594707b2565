"""`model.tune()`: while it runs, the processes that it starts put the patch set of this one on importing ultralytics.

It wraps when the modules are imported, not before: the card is put before ultralytics is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import wrapt

from yolo_nanfix.patching import children
from yolo_nanfix.patching.fix import Fix, Params

TUNERS = (("ultralytics.engine.tuner", "Tuner", "__call__"), ("ultralytics.engine.trainer", "MultiTrainer", "train"))


class _Wrapped:
    """What was wrapped since the card was put, until it is taken away."""

    def __init__(self) -> None:
        self.on = True
        self._before: list[tuple[type, str, Any]] = []

    def wrap(self, class_name: str, name: str, module: ModuleType) -> None:
        """Wrap a method of a class, if this release has it."""
        owner = vars(module).get(class_name)
        if self.on and owner is not None and name in vars(owner):
            self._before.append((owner, name, vars(owner)[name]))
            setattr(owner, name, wrapt.FunctionWrapper(vars(owner)[name], _with_children))

    def undo(self) -> None:
        """Put the very same methods back, and wrap none that is imported later."""
        self.on = False
        for owner, name, before in self._before:
            setattr(owner, name, before)


def _with_children(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with children.patched_children():
        return wrapped(*args, **kwargs)


def _install(params: Params) -> Callable[[], None]:
    wrapped = _Wrapped()
    for module, class_name, name in TUNERS:
        wrapt.register_post_import_hook(partial(wrapped.wrap, class_name, name), module)
    return wrapped.undo


FIX = Fix(install=_install)
