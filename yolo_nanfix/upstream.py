"""Access to the internals of ultralytics: its version, its functions, which modules hold them, their fingerprints."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib
import inspect
import io
import logging
import os
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from yolo_nanfix.wording import printable


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
    """The default training arguments of the installed release; empty if it is not imported."""
    for name in ("ultralytics.utils", "ultralytics.yolo.utils"):
        found = getattr(sys.modules.get(name), "DEFAULT_CFG_DICT", None)
        if isinstance(found, dict):
            return dict(found)
    return {}


def release(text: str) -> tuple[int, ...]:
    """A release as a tuple of integers that compares as releases do ("8.4.190" -> (8, 4, 190))."""
    return tuple(int(x) for x in re.findall(r"\d+", text)[:3])


SUPPORTED = (8, 0, 136)
"""The first fully supported release: its trainers can be guarded. From it on `ultralytics.yolo` is deprecated."""
ERASE = "\r\033[K"
"""Clears the current line of the terminal, as Ultralytics' progress bars do."""


@dataclass(frozen=True)
class Target:
    """A function of upstream.

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
    if module_name.startswith("ultralytics.yolo.") and release(version()) >= SUPPORTED:
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


def holders(values: Sequence[tuple[Any, str]]) -> list[tuple[ModuleType, str, Any]]:
    """Every (module, name, value) among the loaded modules whose global `name` is one of the (value, attribute) given.

    In ultralytics under any name; elsewhere only under `attribute`, as `from ultralytics... import bbox_iou` sets it: a
    module that holds the object under another name wants that very object.
    """
    here = {id(value) for value, _ in values}
    elsewhere = {(id(value), attribute) for value, attribute in values}
    attributes = {attribute for _, attribute in values}
    found = []
    for module in [m for m in list(sys.modules.values()) if isinstance(m, ModuleType)]:
        if module.__name__.partition(".")[0] == "ultralytics":
            found += [(module, name, held) for name, held in list(vars(module).items()) if id(held) in here]
        else:  # thousands of modules: one look at each
            known = [(name, vars(module)[name]) for name in attributes & vars(module).keys()]
            found += [(module, name, held) for name, held in known if (id(held), name) in elsewhere]
    return found


@contextmanager
def swapped(path: str, function: Any) -> Iterator[None]:
    """In a `with` block, `function` replaces the one at `path` in every module that holds it.

    If the release has none at `path`, nothing is replaced.
    """
    try:
        stock = resolve(path).raw
    except LookupError:
        yield
        return
    held = holders([(stock, path.rpartition(":")[2])])
    for module, name, _ in held:
        setattr(module, name, function)
    try:
        yield
    finally:
        for module, name, _ in held:
            setattr(module, name, stock)


def put_around(path: str, wrapper: Any) -> Callable[[], None]:
    """Wrap a method that `resolve` finds; the result restores the very same object.

    Raises:
        LookupError: the installed release has no such method.
    """
    import wrapt  # 20 ms, which `--help` does not need

    target = resolve(path)
    setattr(target.owner, target.attribute, wrapt.FunctionWrapper(target.raw, wrapper))
    return lambda: setattr(target.owner, target.attribute, target.raw)


def fingerprint(function: Any) -> str | None:
    """The `text-v1` fingerprint of a function's source, or None where Python cannot read its source."""
    return _fingerprint(inspect.unwrap(getattr(function, "__func__", function)))


@cache
def _fingerprint(plain: Any) -> str | None:
    try:
        return text_fingerprint(inspect.getsource(plain))
    except (OSError, TypeError):
        return None


@cache
def recorded() -> dict[str, tuple[str, Path]]:
    """The sha256 and location of each installed file, by its path in the package (`ultralytics/utils/loss.py`).

    From the record of the distribution; empty if that has no hashes, as for an editable install.
    """
    for distribution in metadata.distributions(name="ultralytics"):
        found = {
            str(file): (file.hash.value, Path(str(file.locate())))
            for file in distribution.files or ()
            if file.suffix == ".py" and file.parts[0] == "ultralytics" and file.hash and file.hash.mode == "sha256"
        }
        if found:
            return found
    return {}


def package_path(file: str) -> str:
    """The path of a file inside the package (`ultralytics/utils/loss.py`); empty for other files."""
    parts = file.replace("\\", "/").split("/")
    if "ultralytics" not in parts:
        return ""
    return "/".join(parts[len(parts) - 1 - parts[::-1].index("ultralytics") :])


def is_record(path: str, text: bytes) -> bool:
    """Whether bytes have the sha256 that the installed distribution records for a path in the package."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
    return path in recorded() and recorded()[path][0] == digest


def read_source(file: str, loader: Any = None) -> bytes | None:
    """The bytes of a source file, through its `loader` if it is in an archive; None if they cannot be read."""
    try:
        return Path(file).read_bytes()
    except OSError:
        pass
    try:
        data = loader.get_data(file)
    except Exception:  # a loader may have no such method, or raise anything
        return None
    return data if isinstance(data, bytes) else None


def shown_path(file: str) -> str:
    """A file as messages show it: relative to its package, or to the current folder."""
    package = getattr(sys.modules.get("ultralytics"), "__file__", None)
    if package and file.startswith(root := str(Path(package).parent) + os.sep):
        return str(Path("ultralytics", file.removeprefix(root)))
    path = Path(file)
    for part in ("site-packages", "dist-packages"):
        if part in path.parts:
            return str(Path(*path.parts[path.parts.index(part) + 1 :]))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def place_of(function: Any) -> str:
    """`file:line` of a plain function, as messages show it; empty for one that is not Python."""
    code = getattr(function, "__code__", None)
    return f"{shown_path(code.co_filename)}:{code.co_firstlineno}" if code else ""


def replaced() -> dict[str, str]:
    """Functions and classes in the loaded modules of ultralytics that the user replaced, by target: file and line.

    `{"ultralytics.utils.loss:bbox_iou": "run.py:8"}`. Functions of installed packages and of Python's library do not
    count: ultralytics imports them.
    """
    found: dict[str, str] = {}
    for module in [m for n, m in list(sys.modules.items()) if n.partition(".")[0] == "ultralytics"]:
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and value.__module__ != module.__name__:
                methods = [f for f in vars(value).values() if isinstance(f, FunctionType)]
                place = next((p for f in methods if f.__module__ == value.__module__ and (p := _users(f))), "")
                found |= {f"{module.__name__}:{name}": place} if place else {}
            elif isinstance(value, type):
                inner = {f"{name}.{key}": getattr(held, "__func__", held) for key, held in vars(value).items()}
                found |= {f"{module.__name__}:{key}": place for key, held in inner.items() if (place := _users(held))}
            elif place := _users(value):
                found[f"{module.__name__}:{name}"] = place
    return found


def _users(value: Any) -> str:
    """`file:line` of a function that is neither in an installed package, nor in Python's library; else empty."""
    if not isinstance(value, FunctionType):
        return ""
    plain = inspect.unwrap(value)
    file = plain.__code__.co_filename
    root = plain.__module__ or ""
    if root.partition(".")[0] in ("ultralytics", "yolo_nanfix", *sys.stdlib_module_names - {"__main__"}):
        return ""
    return "" if "site-packages" in file or "dist-packages" in file else place_of(plain)


def edited() -> dict[str, str]:
    """The sha256 of loaded files of ultralytics that differ from the installed release, by path in the package.

    Empty if the distribution records no hashes.
    """
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] != "ultralytics" or not file or not recorded():
            continue
        digest = _digest_if_edited(file, getattr(module, "__loader__", None))
        found |= {package_path(file): digest} if digest else {}
    return found


@cache
def _digest_if_edited(file: str, loader: Any) -> str:
    text = read_source(file, loader)
    if text is None or is_record(package_path(file), text):
        return ""
    return hashlib.sha256(text).hexdigest()


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
    """Log one line with Ultralytics' logger, as a warning, or as info if it is `good_news`.

    Before Ultralytics configures its logger, Python writes warnings to stderr. In a terminal the line of a progress bar
    is erased first; the bar is drawn again below. Control characters, as in names of files, become escapes.
    """
    message = printable(message)
    logger = logging.getLogger("ultralytics")
    level = logging.INFO if good_news else logging.WARNING
    for handler in logger.handlers if logger.isEnabledFor(level) else ():
        stream = getattr(handler, "stream", None)
        if stream is not None and not stream.closed and stream.isatty():
            stream.write(ERASE)
    logger.log(level, message)


def average_precision(matched: Any, confidence: Any, found: Any, labels: Any) -> dict[int, Any]:
    """Class -> (10,) AP at the IoU thresholds from 0.5 to 0.95, by Ultralytics' own function; of labelled classes only.

    Args:
        matched: (predictions, 10) bool, whether a prediction is right at each threshold.
        confidence: (predictions,) float.
        found: (predictions,) class of each prediction.
        labels: (labels,) class of each label.
    """
    from ultralytics.utils.metrics import ap_per_class

    result = ap_per_class(matched, confidence, found, labels)
    return dict(zip(result[6].tolist(), result[5], strict=True))  # at these places in all releases
