"""Brings a command under patches without changing it: `environment` for its start, `install` inside its processes."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from yolo_nanfix.errors import NanfixError

VARIABLE = "NANFIX_RUN"
"""Holds the arguments of `patch(...)` as JSON."""
SITE = Path(__file__).parent / "_site"


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
    text = os.environ.get(VARIABLE)
    if text is not None and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(json.loads(text)))


class _Finder(MetaPathFinder):
    """Finds ultralytics where it is, once, and loads it between the two halves of patching."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "ultralytics":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader, self._settings)
        return spec


class _PatchingLoader(Loader):
    """Loads a module with its own loader, and patches before and after."""

    def __init__(self, inner: Loader, settings: Mapping[str, Any]) -> None:
        self._inner = inner
        self._settings = settings

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        from yolo_nanfix import api

        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._inner
        try:
            api.prepare(**self._settings)
            self._inner.exec_module(module)
            api.patch(**self._settings)
        except NanfixError as error:
            print(f"yolo-nanfix run: error: {error}", file=sys.stderr)
            raise SystemExit(2) from error
