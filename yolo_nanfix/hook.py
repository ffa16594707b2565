"""Brings commands under patches without changing them: `environment` for their start, `install` inside their processes.

`yolo-nanfix run` starts them with settings, `patching.children.patched_children`
with the state of a process that is patched.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from yolo_nanfix import stopping
from yolo_nanfix.errors import NanfixError
from yolo_nanfix.patching.children import RUN as VARIABLE
from yolo_nanfix.patching.children import SITE, STATE


def environment(settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which each Python process patches ultralytics when it imports it.

    Args:
        settings: keyword arguments of `patch(...)`.
        environ: the environment to start from; the process's own if None.
    """
    base = dict(os.environ if environ is None else environ)
    paths = [str(SITE), *filter(None, base.get("PYTHONPATH", "").split(os.pathsep))]
    return {**base, VARIABLE: json.dumps(settings), "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def install() -> None:
    """Wait for the import of ultralytics, and patch then; what imports no ultralytics is left alone."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if (state := os.environ.get(STATE)) is not None:  # of the process that started this one, itself perhaps under `run`
        sys.meta_path.insert(0, _Finder(partial(_call, "restore_before", state), partial(_call, "restore", state)))
    elif (text := os.environ.get(VARIABLE)) is not None:
        settings = json.loads(text)
        sys.meta_path.insert(0, _Finder(partial(_call, "prepare", **settings), partial(_call, "patch", **settings)))


def _call(name: str, *args: Any, **kwargs: Any) -> None:
    """Call a function of `api`, which is imported only now."""
    from yolo_nanfix import api

    getattr(api, name)(*args, **kwargs)


class _Finder(MetaPathFinder):
    """Finds ultralytics where it is, once, and loads it between the two halves of patching."""

    def __init__(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        self._halves = before, after

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "ultralytics":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader, *self._halves)
        return spec


class _PatchingLoader(Loader):
    """Loads a module with its own loader, and patches before and after."""

    def __init__(self, inner: Loader, before: Callable[[], None], after: Callable[[], None]) -> None:
        self._inner = inner
        self._before = before
        self._after = after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._inner
        try:
            self._before()
            self._inner.exec_module(module)
            self._after()
            stopping.allow()
        except NanfixError as error:
            print(f"yolo-nanfix run: error: {error}", file=sys.stderr)
            raise SystemExit(2) from error
