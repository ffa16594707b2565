"""The only door to ultralytics internals: its version, its functions, who holds them, and their fingerprints."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import io
import logging
import re
import sys
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any


@cache
def version() -> str:
    """The installed ultralytics release, read from its metadata without importing it.

    Raises:
        ModuleNotFoundError: ultralytics is not installed.
    """
    try:
        return metadata.version("ultralytics")
    except metadata.PackageNotFoundError:
        raise ModuleNotFoundError("ultralytics is not installed; run: pip install ultralytics") from None


def default_arguments() -> dict[str, Any]:
    """The training arguments of the installed release where the user sets none; empty if that is not known."""
    for name in ("ultralytics.utils", "ultralytics.yolo.utils"):
        found = getattr(sys.modules.get(name), "DEFAULT_CFG_DICT", None)
        if isinstance(found, dict):
            return dict(found)
    return {}


def release(text: str) -> tuple[int, ...]:
    """A release as a tuple of integers that compares as releases do ("8.4.190" -> (8, 4, 190))."""
    return tuple(int(x) for x in re.findall(r"\d+", text)[:3])


SUPPORTED = (8, 0, 136)
"""The first release that is supported whole: trainers can be guarded from it on."""
LEFT_YOLO = (8, 0, 136)
"""From this release on ultralytics.yolo, where there is one, holds deprecated copies."""
ERASE = "\r\033[K"
"""Clears the line of the terminal that the cursor is in, as Ultralytics' own bars do."""


@dataclass(frozen=True)
class Target:
    """A function of upstream: where it lives and what stood there when it was resolved.

    Attributes:
        path: `package.module:Class.attribute` or `package.module:function`.
        owner: the module or class that holds it.
        attribute: its name in the owner.
        raw: the object in the owner's `__dict__`, so a `staticmethod` stays one.
    """

    path: str
    owner: ModuleType | type
    attribute: str
    raw: Any


def resolve(path: str) -> Target:
    """Find `package.module:Qual.name` and import its module.

    Raises:
        LookupError: the module, a class on the way or the attribute does not exist; the message says which.
    """
    module_name, _, qualname = path.partition(":")
    if module_name.startswith("ultralytics.yolo.") and release(version()) >= LEFT_YOLO:
        raise LookupError("ultralytics.yolo is only an alias in this release")
    try:
        owner: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise LookupError(f"no module {error.name}") from error
    *classes, attribute = qualname.split(".")
    for name in classes:
        if name not in vars(owner):
            raise LookupError(f"{owner.__name__} has no {name}")
        owner = vars(owner)[name]
    if attribute not in vars(owner):
        raise LookupError(f"{owner.__name__} has no {attribute} of its own")
    return Target(path, owner, attribute, vars(owner)[attribute])


def holders(value: Any, attribute: str) -> Iterator[tuple[ModuleType, str]]:
    """Every (module, name) among the loaded modules whose global `name` is this very object.

    In ultralytics under any name; elsewhere only under its own, as `from ultralytics... import bbox_iou` leaves
    it: a module that keeps the object under another name wants that very object.
    """
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        if module.__name__.partition(".")[0] == "ultralytics":
            yield from [(module, name) for name, held in list(vars(module).items()) if held is value]
        elif vars(module).get(attribute) is value:  # thousands of modules: one look at each
            yield module, attribute


def fingerprint(function: Any) -> str | None:
    """The `text-v1` fingerprint of a function's source, or None where Python cannot read its source."""
    plain = inspect.unwrap(function.__func__ if isinstance(function, (staticmethod, classmethod)) else function)
    try:
        return text_fingerprint(inspect.getsource(plain))
    except (OSError, TypeError):
        return None


def text_fingerprint(source: str) -> str:
    """Hash of a function's text without comments, docstring, blank lines and trailing space; indentation kept.

    The text is hashed, not the syntax tree, since `ast.dump` differs between Python versions.
    """
    source = textwrap.dedent(source)
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    node = ast.parse(source).body[0]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node, clean=False) is not None:
        first = node.body[0]
        for row in range(first.lineno - 1, first.end_lineno or first.lineno):
            lines[row] = ""
    text = "\n".join(line.rstrip() for line in lines if line.strip())
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def log(message: str, *, good_news: bool = False) -> None:
    """Say something in the training log, where the user of Ultralytics reads: its own logger, mostly as a warning.

    Before Ultralytics has set its logger up, Python writes warnings to standard error by itself. In a terminal the line
    that a progress bar is drawing is erased first; the bar draws itself anew below.
    """
    logger = logging.getLogger("ultralytics")
    level = logging.INFO if good_news else logging.WARNING
    for handler in logger.handlers if logger.isEnabledFor(level) else ():
        stream = getattr(handler, "stream", None)
        if stream is not None and not stream.closed and stream.isatty():
            stream.write(ERASE)
    logger.log(level, message)
