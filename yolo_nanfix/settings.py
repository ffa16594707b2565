"""What the user wants patched, and how lint shall be, from files, environment and arguments.

The order, later ones winning: defaults of the cards, `nanfix.yaml` or `[tool.yolo-nanfix]` in `pyproject.toml`,
environment variables `YOLO_NANFIX_<NAME>`, arguments of `patch(...)`. The files are looked for in the current folder
and, as ruff and pytest do, in those above it; the nearest counts.

What belongs to lint stands under the key `lint` of the same files. For it the nearest file that has this key counts,
from the folder of data.yaml upward, then from the current folder upward; a file that holds nothing else is passed over
when patches are settled. Arguments win over it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo_nanfix import safe_yaml
from yolo_nanfix.errors import UsageError, nearest
from yolo_nanfix.shown import shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "YOLO_NANFIX_"
LISTS = ("enable", "disable")
"""Card names: put beside the default set, and taken out of it."""
CACHE = "YOLO_NANFIX_CACHE"
"""The variable that says where lint remembers files; a place on this machine, no setting."""
ANNOTATIONS = "YOLO_NANFIX_ANNOTATIONS_MB"
"""The variable that says how large annotation files lint reads: what the memory of this machine bears, no setting."""
LINT = "lint"
"""The key under which the settings of lint stand."""


@dataclass(frozen=True)
class Settings:
    """Names and values as given, and where each was given.

    Attributes:
        values: by name: `enable` and `disable` (card names), `guard`, parameters of cards and of the guard.
        sources: the file and key, or the variable, of each name.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LintTable:
    """The settings of lint as a file gives them, unchecked.

    Attributes:
        values: by name.
        source: the file and the table in it; a name put behind it says where that setting stands.
        folder: the folder of the file, from which paths in it start.
    """

    values: Mapping[str, Any]
    source: str
    folder: Path


def load_lint(folder: Path) -> LintTable | None:
    """The settings of lint that hold for a dataset; None if no file gives any.

    Args:
        folder: the folder of its data.yaml.

    Raises:
        UsageError: a file cannot be read, or the settings are no mapping.
    """
    for start in (folder.absolute(), Path.cwd()):
        for file, source, table in _tables(start):
            if LINT in table:
                where = source.replace("[tool.yolo-nanfix]", "[tool.yolo-nanfix.lint]")
                where = f"{where}: {LINT}." if where == source else f"{where}: "
                return LintTable(_mapping(file, table[LINT]) or {}, where, file.parent)
    return None


def settings_files(folder: Path) -> tuple[Path, ...]:
    """Every file that `load_lint` may read for a dataset in this folder, whether it is there or not."""
    folders = dict.fromkeys(above for start in (folder.absolute(), Path.cwd()) for above in (start, *start.parents))
    return tuple(above / name for above in folders for name in ("nanfix.yaml", "pyproject.toml"))


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
    for _, source, table in _tables(folder):
        if set(table) != {LINT}:
            return source, {name: value for name, value in table.items() if name != LINT}
    return "", {}


def _tables(folder: Path) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Each file with settings from `folder` upward, what to call it, and what it holds."""
    for above in (folder, *folder.parents):
        own, shared = above / "nanfix.yaml", above / "pyproject.toml"
        tools = _toml(shared).get("tool", {}) if shared.is_file() else {}
        table = _mapping(shared, tools.get("yolo-nanfix")) if isinstance(tools, dict) else None
        if own.is_file():
            if table is not None:
                raise UsageError(f"{own} and [tool.yolo-nanfix] in {shared} both hold settings; keep one of them")
            yield own, str(own), _mapping(own, _yaml(own)) or {}
        elif table is not None:
            yield shared, f"{shared} [tool.yolo-nanfix]", table


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _yaml(path: Path) -> Any:
    try:
        return safe_yaml.load(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _mapping(path: Path, value: Any) -> Mapping[str, Any] | None:
    if value is None or (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
        return value
    raise UsageError(f"{path}: the settings must be a mapping of names to values, not {shown(value)}")


def _from_environment(environ: Mapping[str, str]) -> tuple[str, Mapping[str, Any]]:
    found = {}
    for variable, text in environ.items():
        if variable.startswith(PREFIX) and variable not in (CACHE, ANNOTATIONS):
            name = variable.removeprefix(PREFIX).lower()
            try:
                found[name] = text.split(",") if name in LISTS else _scalar(name, text)
            except safe_yaml.NotYaml as error:
                raise UsageError(f"{variable}={shown(text)} is not a value") from error
    return PREFIX, found


def _scalar(name: str, text: str) -> Any:
    """A value as YAML reads it; words that YAML 1.1 takes for yes and no stay words, but for `guard`."""
    value = safe_yaml.load(text)
    return text if isinstance(value, bool) and name != "guard" and text.lower() not in ("true", "false") else value


def _names(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{where} must be a list of patch names, not {shown(value)}")
    return tuple(name.strip() for name in value if name.strip())
