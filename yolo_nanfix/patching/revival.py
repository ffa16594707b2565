"""Carries the patch set into another process: as JSON on a command line or in a variable, or in a function's pickle."""

from __future__ import annotations

import json
import os
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STATE = "NANFIX_STATE"
"""Holds the state for the Python processes that this one starts; `hook` reads it there."""
PACKAGE = Path(__file__).resolve().parents[1]
RUN = "NANFIX_RUN"
"""Holds the arguments of `patch(...)` that `yolo-nanfix run` was given, as JSON."""
SITE = PACKAGE / "_site"
"""The folder whose `sitecustomize` every Python process runs that has it on PYTHONPATH."""

_extras: dict[str, Callable[[], Any]] = {}


def carry(name: str, what: Callable[[], Any]) -> None:
    """Let the state hold one more JSON-ready value beside the patches, asked for whenever the state is taken."""
    _extras[name] = what


def state() -> str:
    """The patches that are on with their parameters, and what else is carried, as JSON."""
    from yolo_nanfix.patching import engine

    patches = {name: dict(params) for name, params in engine.snapshot().items()}
    return json.dumps({"patches": patches, **{name: what() for name, what in _extras.items()}})


@contextmanager
def children() -> Iterator[None]:
    """For the length of a `with` block, Python processes that are started put this state on importing ultralytics."""
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    ours = [] if PACKAGE.parent in installed else [str(PACKAGE.parent)]
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths = dict.fromkeys([str(SITE), *given, *ours])
    before = {name: os.environ.get(name) for name in (STATE, "PYTHONPATH")}
    os.environ |= {STATE: state(), "PYTHONPATH": os.pathsep.join(paths)}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def revive(state: str, path: str) -> Any:
    """What a pickled patched function is loaded as: the function at `path`, after its patch set was put here."""
    from yolo_nanfix.patching import engine, stack

    for name, params in json.loads(state)["patches"].items():
        engine.apply([name], params)
    target = stack.original(path)
    return vars(target.owner)[target.attribute]
