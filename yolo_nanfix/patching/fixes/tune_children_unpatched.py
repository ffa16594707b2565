"""`model.tune()` in whose child processes the patches of this one are applied when they import ultralytics.

The methods are wrapped when their modules are imported, as the card is applied before ultralytics is imported.
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
    """The methods that were wrapped since the card was applied."""

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
        """Restore the very same methods, and wrap none that are imported later."""
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
