"""Checks arguments, loads models and starts training, by Ultralytics."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from yolo_nanfix import stopping
from yolo_nanfix.errors import UsageError
from yolo_nanfix.patching import label_caches
from yolo_nanfix.upstream import SUPPORTED, release, version


def parse_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """`key=value` words as Ultralytics' own command line reads them.

    Raises:
        UsageError: a word has no `=`, no key or no value, or a key comes twice.
    """
    found: dict[str, Any] = {}
    for word in pairs:
        key, equals, value = word.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key or not value:
            raise UsageError(f"'{word}' is not of the form key=value (for example epochs=100)")
        if key in found:
            raise UsageError(f"'{key}' is given twice")
        found[key] = _plain_value(value)
    return found


def _plain_value(text: str) -> Any:
    """A word as Ultralytics' command line reads it: none, true and false in any case, a Python literal, else text."""
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def check_arguments(overrides: Mapping[str, Any]) -> None:
    """Check names, types and ranges of training arguments as Ultralytics will.

    Raises:
        UsageError: an unknown key (with the nearest known one), an unknown task, a value that cannot be, or a release
            whose trainers cannot be guarded.
    """
    if release(version()) < SUPPORTED:
        oldest = ".".join(map(str, SUPPORTED))
        raise UsageError(f"training under the guard needs ultralytics {oldest} or newer; this is {version()}")
    from ultralytics.cfg import TASKS, get_cfg
    from ultralytics.utils import DEFAULT_CFG_DICT

    for key in overrides:
        if key not in DEFAULT_CFG_DICT:
            near = get_close_matches(key, DEFAULT_CFG_DICT, 1)
            raise UsageError(f"unknown training argument '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    task = overrides.get("task")
    if task is not None and task not in TASKS:
        raise UsageError(f"unknown task '{task}'; known: {', '.join(sorted(TASKS))}")
    try:
        get_cfg(overrides=dict(overrides))
    except (TypeError, ValueError, SyntaxError) as error:
        raise UsageError(f"training argument: {_one_line(error)}") from error


def default_model(task: str) -> str:
    """The model that Ultralytics trains for a task unless one is named."""
    from ultralytics.cfg import TASK2MODEL

    return str(TASK2MODEL[task])


def is_published(name: str) -> bool:
    """Whether Ultralytics offers weights of this name for download."""
    from ultralytics.utils import downloads

    return name in getattr(downloads, "GITHUB_ASSETS_NAMES", getattr(downloads, "GITHUB_ASSET_NAMES", ()))


def load_model(model: Any, task: str | None) -> Any:
    """Ultralytics' `YOLO` object for a weights file, a model yaml or a release asset's name.

    Without a model it is Ultralytics' own default for the task; without a task it is the model's.

    Raises:
        UsageError: there is no such file, it cannot be read, or it is not a model.
    """
    from ultralytics import YOLO
    from ultralytics.cfg import TASK2MODEL

    name = str(model or TASK2MODEL[task or "detect"])
    if Path(name).suffix not in (".pt", ".yaml", ".yml"):
        raise UsageError(f"model={name} is neither weights (.pt) nor a model definition (.yaml)")
    try:
        return YOLO(name, task=task)
    except Exception as error:  # whatever a missing, foreign or damaged file makes upstream raise
        raise UsageError(f"model={name} cannot be loaded: {_one_line(error)}") from error


def start(model: Any, arguments: Mapping[str, Any]) -> None:
    """Train; label caches in the dataset are read without executing code.

    Raises:
        UsageError: the run folder cannot be written.
    """
    stopping.forks_end_with_us()
    try:
        with label_caches.as_values():
            model.train(**arguments)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        where = error.filename or "the run folder"
        raise UsageError(f"{where}: {error.strerror}; choose a folder you can write with project=...") from error


def _one_line(error: Exception) -> str:
    """An upstream message on one line, without its colours and emojis."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    text = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    return text.encode("ascii", "ignore").decode().strip() or type(error).__name__
