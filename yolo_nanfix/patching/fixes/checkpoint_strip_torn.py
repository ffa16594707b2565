"""`strip_optimizer` that writes to a new file and renames it, so that the good checkpoint is never half-written."""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolo_nanfix import files
from yolo_nanfix.patching.fix import Fix, wrapper

FOLDER = "stripping"
"""Name of the hidden folder beside the checkpoint: a rename is atomic only within a file system."""


@wrapper
def strip_optimizer(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream writes into a temporary folder beside the checkpoint, and the result is renamed."""
    call = inspect.signature(wrapped).bind(*args, **kwargs)
    call.apply_defaults()
    if call.arguments["s"]:
        return wrapped(*args, **kwargs)
    target = Path(call.arguments["f"]).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.folder(target.parent / FOLDER) as aside:
        call.arguments["s"] = str(aside / target.name)
        with _log_as_stock(wrapped, call.arguments["s"]):
            result = wrapped(*call.args, **call.kwargs)
        if (aside / target.name).exists():  # upstream writes nothing where the file is no checkpoint
            _replace(target, aside / target.name)
    return result


@contextmanager
def _log_as_stock(wrapped: Any, aside: str) -> Iterator[None]:
    """In a `with` block, upstream's log does not name the temporary file."""

    def plain(record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace(f" saved as {aside},", "")
        return True

    logger = getattr(inspect.unwrap(wrapped), "__globals__", {}).get("LOGGER")
    if not isinstance(logger, logging.Logger):
        yield
        return
    logger.addFilter(plain)
    try:
        yield
    finally:
        logger.removeFilter(plain)


def _replace(target: Path, fresh: Path) -> None:
    """Replace a file atomically, also in case of a power cut."""
    shutil.copymode(target, fresh)
    with open(fresh, "rb") as stream:
        os.fsync(stream.fileno())
    fresh.replace(target)


def _probe(stock: Any, patched: Any) -> str | None:
    """Both strip a small checkpoint: the same keys, the same weights."""
    results = []
    for function in (stock, patched):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "last.pt"
            state = {"epoch": 3, "optimizer": {"lr": 1.0}, "ema": None, "train_args": {}}
            torch.save({**state, "model": nn.Linear(2, 2)}, file)
            try:
                function(file)
                results.append(torch.load(file, weights_only=False))
            except Exception as error:  # upstream code of unknown text may raise anything
                return f"stripping a small checkpoint raised {type(error).__name__}: {error}"
            if left := [path.name for path in Path(folder).iterdir() if path != file]:
                return f"{left[0]} is left beside the checkpoint"
    a, b = results
    same = a.keys() == b.keys() and a["epoch"] == b["epoch"] == -1 and a["optimizer"] is b["optimizer"] is None
    same &= a["model"].weight.dtype == b["model"].weight.dtype
    return None if same else "the stripped file differs from stock"


FIX = Fix(wrapper=strip_optimizer, probe=_probe)
