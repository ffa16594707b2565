"""`seed_worker`, which every dataloader worker unpickles: this applies the patches in spawned workers."""

from __future__ import annotations

import inspect
from typing import Any

from yolo_nanfix.patching.fix import Fix, wrapper


@wrapper
def seed_worker(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's function; its pickle applies the patches: see `stack.Patched.__reduce_ex__`."""
    return wrapped(*args, **kwargs)


def _probe(stock: Any, patched: Any) -> str | None:
    """A function in its module must still pass it to the dataloader."""
    scope = inspect.unwrap(stock).__globals__
    builders = [
        f for f in scope.values() if inspect.isfunction(inspect.unwrap(f)) and f.__module__ == scope["__name__"]
    ]
    if not any("seed_worker" in inspect.unwrap(f).__code__.co_names for f in builders):
        return "no dataloader of this release is given seed_worker"
    return None


FIX = Fix(wrapper=seed_worker, probe=_probe)
