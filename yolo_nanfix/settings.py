"""What the user wants patched, from files, environment and arguments.

The order, later ones winning: defaults of the cards, `nanfix.yaml` or `[tool.yolo-nanfix]` in `pyproject.toml`,
environment variables `YOLO_NANFIX_<NAME>`, arguments of `patch(...)`. The files are looked for in the current folder
and, as ruff and pytest do, in those above it; the nearest counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from yolo_nanfix.errors import UsageError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "YOLO_NANFIX_"
LISTS = ("enable", "disable")
"""Card names: put beside the default set, and taken out of it."""


@dataclass(frozen=True)
class Settings:
    """Names and values as given, and where each was given.

    Attributes:
        values: by name: `enable` and `disable` (card names), `guard`, parameters of cards and of the guard.
        sources: the file and key, or the variable, of each name.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def load(known: Iterable[str], folder: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings that hold in a folder.

    Args:
        known: the names of all parameters; `enable`, `disable` and `guard` are known anyway.
        folder: where to start looking for files; the current folder if None.
        environ: the environment; the process's own if None.

    Raises:
        UsageError: a file cannot be read, or a name is unknown (with the nearest known one).
    """
    names = (*LISTS, "guard", *known)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, found in (_from_files(folder or Path.cwd()), _from_environment(environ or os.environ)):
        for name, value in found.items():
            where = f"{source}{name.upper()}" if source == PREFIX else f"{source}: {name}"
            if name not in names:
                raise UsageError(f"{where} is not a setting; {nearest(name, names)}")
            values[name] = _names(where, value) if name in LISTS else value
            sources[name] = where
    return Settings(values, sources)


def _from_files(folder: Path) -> tuple[str, Mapping[str, Any]]:
    for above in (folder, *folder.parents):
        own, shared = above / "nanfix.yaml", above / "pyproject.toml"
        table = _mapping(shared, _toml(shared).get("tool", {}).get("yolo-nanfix")) if shared.is_file() else None
        if own.is_file():
            if table is not None:
                raise UsageError(f"{own} and [tool.yolo-nanfix] in {shared} both hold settings; keep one of them")
            return str(own), _mapping(own, _yaml(own)) or {}
        if table is not None:
            return f"{shared} [tool.yolo-nanfix]", table
    return "", {}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _mapping(path: Path, value: Any) -> Mapping[str, Any] | None:
    if value is None or (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
        return value
    raise UsageError(f"{path}: the settings must be a mapping of names to values, not {value!r}")


def _from_environment(environ: Mapping[str, str]) -> tuple[str, Mapping[str, Any]]:
    found = {}
    for variable, text in environ.items():
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower()
            try:
                found[name] = text.split(",") if name in LISTS else _scalar(name, text)
            except yaml.YAMLError as error:
                raise UsageError(f"{variable}={text!r} is not a value") from error
    return PREFIX, found


def _scalar(name: str, text: str) -> Any:
    """A value as YAML reads it; words that YAML 1.1 takes for yes and no stay words, but for `guard`."""
    value = yaml.safe_load(text)
    return text if isinstance(value, bool) and name != "guard" and text.lower() not in ("true", "false") else value


def _names(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{where} must be a list of patch names, not {value!r}")
    return tuple(name.strip() for name in value if name.strip())
