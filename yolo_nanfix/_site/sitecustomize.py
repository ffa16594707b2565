"""Runs at the start of every Python under `yolo-nanfix run` and in trials, for which this folder is on PYTHONPATH.

The environment's own sitecustomize, if there is one, runs as well.
"""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder

_here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH120, PTH100 - in every Python: nothing needless imported


def _run_the_other() -> None:
    elsewhere = [path for path in sys.path if os.path.abspath(path) != _here]  # noqa: PTH100
    spec = PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _wait_for_ultralytics() -> None:
    try:
        from yolo_nanfix import hook
    except ImportError as error:
        print(f"yolo-nanfix: {sys.executable} has no yolo-nanfix, nothing is patched there ({error})", file=sys.stderr)
    else:
        hook.patch_on_import()


_run_the_other()
_wait_for_ultralytics()
