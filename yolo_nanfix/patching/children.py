"""Carries the patch set into other processes: as JSON on a command line or in a variable, or in a function's pickle."""

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
RUN = "NANFIX_RUN"
"""Holds the arguments of `patch(...)` that `yolo-nanfix run` was given, as JSON."""
PACKAGE = Path(__file__).resolve().parents[1]
SITE = PACKAGE / "_site"
"""The folder whose `sitecustomize` every Python process runs that has it on PYTHONPATH."""

_parts: dict[str, Callable[[], Any]] = {}


def carry(name: str, what: Callable[[], Any]) -> None:
    """Let the state hold a JSON-ready value under a name; `what` is asked for it whenever the state is taken."""
    _parts[name] = what


def state() -> str:
    """All that is carried, as JSON: `patches`, by name with their parameters, and what else is in force."""
    return json.dumps({"patches": {}, **{name: what() for name, what in _parts.items()}})


@contextmanager
def patched_children() -> Iterator[None]:
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
