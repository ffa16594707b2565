"""Hands the patches of this process to other processes, and hooks the import of a module there.

The state travels as JSON: on a command line, in an environment variable, or in the pickle of a patched function.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

STATE = "NANFIX_STATE"
"""Environment variable with the state, for the Python processes that this one starts; `hook` reads it."""
RUN = "NANFIX_RUN"
"""Environment variable with the arguments of `patch(...)` that `yolo-nanfix run` was given, as JSON."""
PACKAGE = Path(__file__).resolve().parents[1]
SITE = PACKAGE / "_site"
"""The folder whose `sitecustomize` every Python process runs that has it on PYTHONPATH."""

_carried: list[Callable[[], Mapping[str, Any]]] = []


def carry(what: Callable[[], Mapping[str, Any]]) -> None:
    """Register a function whose result, JSON-ready values by name, becomes part of every `state()`."""
    _carried.append(what)


def state() -> str:
    """The state as JSON: `patches`, by name with their parameters, and what other functions registered."""
    return json.dumps({"patches": {}} | {name: value for what in _carried for name, value in what().items()})


@contextmanager
def patched_children() -> Iterator[None]:
    """In a `with` block, Python processes that are started apply this state when they import ultralytics."""
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


Load = Callable[[ModuleType, Callable[[], None]], None]
"""`load(module, run)`: `run` executes the module with its own loader, as often as it is called."""


class ImportHook(MetaPathFinder):
    """A finder for the front of `sys.meta_path`, which lets a function of ours execute one module."""

    def __init__(self, name: str, load: Load, *, once: bool = False) -> None:
        """Hook the import of the module `name`: `load` executes it; `once` unhooks at the first import."""
        self.name, self._load, self._once = name, load, once

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, with its loader wrapped."""
        if fullname != self.name:
            return None
        if self._once:
            sys.meta_path.remove(self)
        others = [finder for finder in sys.meta_path if not isinstance(finder, ImportHook) or finder.name != self.name]
        spec = next((found for one in others if (found := one.find_spec(fullname, path, target)) is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Around(spec.loader, self._load)
        return spec


class _Around(Loader):
    def __init__(self, inner: Loader, load: Load) -> None:
        self._inner, self._load = inner, load

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._inner
        self._load(module, partial(self._inner.exec_module, module))
