"""Carries the patch set into another process: as JSON on a command line, or inside the pickle of a patched function."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_extras: dict[str, Callable[[], Any]] = {}


def carry(name: str, what: Callable[[], Any]) -> None:
    """Let the state hold one more JSON-ready value beside the patches, asked for whenever the state is taken."""
    _extras[name] = what


def state() -> str:
    """The patches that are on with their parameters, and what else is carried, as JSON."""
    from yolo_nanfix.patching import engine

    patches = {name: dict(params) for name, params in engine.snapshot().items()}
    return json.dumps({"patches": patches, **{name: what() for name, what in _extras.items()}})


def revive(state: str, path: str) -> Any:
    """What a pickled patched function is loaded as: the function at `path`, after its patch set was put here."""
    from yolo_nanfix.patching import engine, stack

    for name, params in json.loads(state)["patches"].items():
        engine.apply([name], params)
    target = stack.original(path)
    return vars(target.owner)[target.attribute]
