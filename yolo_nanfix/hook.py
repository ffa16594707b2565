"""Patches ultralytics in processes of unchanged commands.

`environment` is for starting them, `patch_on_import` runs inside them. `yolo-nanfix run` starts them with settings,
`patching.children.patched_children` with the state of a patched process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from yolo_nanfix import stopping
from yolo_nanfix.errors import NanfixError
from yolo_nanfix.patching.children import RUN as VARIABLE
from yolo_nanfix.patching.children import SITE, STATE, ImportHook


def environment(settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which each Python process patches ultralytics when it imports it.

    `settings` are keyword arguments of `patch(...)`; `environ` is the process's own if None.
    """
    base = dict(os.environ if environ is None else environ)
    paths = [str(SITE), *filter(None, base.get("PYTHONPATH", "").split(os.pathsep))]
    return {**base, VARIABLE: json.dumps(settings), "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def patch_on_import() -> None:
    """Hook the import of ultralytics and patch it then; a process that does not import it stays as it is."""
    if any(isinstance(finder, ImportHook) and finder.name == "ultralytics" for finder in sys.meta_path):
        return
    if (state := os.environ.get(STATE)) is not None:  # of the process that started this one, which `run` may have
        before, after = partial(_call, "restore_before", state), partial(_call, "restore", state)
    elif (text := os.environ.get(VARIABLE)) is not None:
        settings = json.loads(text)
        before, after = partial(_call, "prepare", **settings), partial(_call, "patch", **settings)
    else:
        return
    sys.meta_path.insert(0, ImportHook("ultralytics", partial(_load_ultralytics, before, after), once=True))


def _call(name: str, *args: Any, **kwargs: Any) -> None:
    """Call a function of `api`, imported only now."""
    from yolo_nanfix import api

    getattr(api, name)(*args, **kwargs)


def _load_ultralytics(
    before: Callable[[], None], after: Callable[[], None], module: ModuleType, run: Callable[[], None]
) -> None:
    """Import ultralytics between the two halves of patching."""
    try:
        before()
        run()
        after()
        stopping.allow()
    except NanfixError as error:
        print(f"yolo-nanfix run: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
