"""Reads the settings of patches, guard and lint from files and the environment.

In order, later ones win: defaults of the cards, `nanfix.yaml` or `[tool.yolo-nanfix]` in `pyproject.toml`, environment
variables `YOLO_NANFIX_<NAME>`, arguments of `patch(...)`. Files are searched from the current folder upward, as ruff
and pytest do; the nearest counts. One that came with the dataset (see `overrides`) is skipped unless it is trusted, and
its settings are reported as not taken.

The settings of lint are under the key `lint` of the same files. The nearest file with this key counts, from the folder
of data.yaml upward, then from the current folder upward; a file with no other key is skipped for patches and guard. If
that file came with the dataset and is not trusted, the nearest of the user's own files also counts, and wins over it.
Arguments win over both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from yolo_nanfix import safe_yaml
from yolo_nanfix.errors import UsageError, nearest
from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.overrides import Override, SettingsFile, What
from yolo_nanfix.wording import cut, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "YOLO_NANFIX_"
LISTS = ("enable", "disable")
"""Card names: added to the default set, and left out of it."""
TRUST = "YOLO_NANFIX_TRUST_DATASET_SETTINGS"
"""The variable that trusts the settings files of datasets, as the option `--trust-dataset-settings` does."""
NO_SETTINGS = ("YOLO_NANFIX_CACHE", "YOLO_NANFIX_ANNOTATIONS_MB", TRUST)
"""`TRUST`, and variables about this machine: the folder of the cache, the largest annotation file that lint reads."""
LARGEST_FILE = 4 << 20
"""Largest settings file, in bytes."""
LINT = "lint"
"""The key of the settings of lint."""
Belongs = Callable[[Path], bool]
"""Whether a settings file came with the dataset."""


def nobodys(_file: Path) -> bool:
    """Where no dataset is known, every file is the user's own."""
    return False


class Origin(NamedTuple):
    """Where a setting was given: a file and the key in it, or a variable and no key; `text` names both in messages."""

    source: str
    key: str
    text: str


@dataclass(frozen=True)
class Settings:
    """The settings as given, and where each was given.

    Attributes:
        values: by name: `enable` and `disable` (card names), `guard`, parameters of cards and of the guard.
        origins: where each was given, by name.
        files: the settings files in force, and those that were skipped.
        not_taken: the settings of the latter.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    files: tuple[SettingsFile, ...] = ()
    not_taken: tuple[Override, ...] = ()


class LintTable(NamedTuple):
    """The settings of lint as a file gives them, unchecked.

    Attributes:
        values: by name.
        source: the file and the table in it, for messages: followed by the name of a setting.
        file: the file; paths in it are relative to its folder.
    """

    values: Mapping[str, Any]
    source: str
    file: SettingsFile


def load_lint(folder: Path, belongs: Belongs = nobodys, *, trust: bool = False) -> tuple[LintTable, ...]:
    """The settings of lint for the `folder` of a data.yaml, the nearest first; none if no file has any.

    Raises:
        UsageError: a file cannot be read, or the settings are not a mapping.
    """
    found: list[LintTable] = []
    for start in (folder.absolute(), Path.cwd()):
        for file, source, table in _tables(start):
            of_dataset = LINT in table and belongs(file)
            if LINT in table and not (found and of_dataset):
                where = source.replace("[tool.yolo-nanfix]", "[tool.yolo-nanfix.lint]")
                where = f"{where}: {LINT}." if where == source else f"{where}: "
                named = SettingsFile(str(file), LINT, of_dataset, trust or not of_dataset)
                found.append(LintTable(_mapping(file, table[LINT]) or {}, where, named))
                if named.trusted:
                    return tuple(found)
    return tuple(found)


def settings_files(folder: Path) -> tuple[Path, ...]:
    """Every file that `load_lint` may read for a dataset in this folder, whether it exists or not."""
    folders = dict.fromkeys(above for start in (folder.absolute(), Path.cwd()) for above in (start, *start.parents))
    return tuple(above / name for above in folders for name in ("nanfix.yaml", "pyproject.toml"))


def trusts() -> bool:
    """Whether the environment trusts settings files that came with a dataset.

    Raises:
        UsageError: the variable is neither true nor false.
    """
    text = os.environ.get(TRUST, "")
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise UsageError(f"{TRUST} must be true or false, not {shown(text)}")


def load_settings(known: Iterable[str], *, belongs: Belongs = nobodys, trust: bool = False) -> Settings:
    """Read the settings of patches and guard for the current folder.

    `known` are the names of all parameters; `enable`, `disable` and `guard` are always known.

    Raises:
        UsageError: a file cannot be read, or a name is unknown (with the nearest known one).
    """
    names = (*LISTS, "guard", *known)
    trust = trust or trusts()
    files: list[SettingsFile] = []
    not_taken: list[Override] = []
    given: list[tuple[str, Any, Origin]] = []
    for file, source, table in _tables(Path.cwd()):
        if table and set(table) <= {LINT}:
            continue
        of_dataset = belongs(file)
        files.append(SettingsFile(str(file), "training", of_dataset, trust or not of_dataset))
        own = {name: value for name, value in table.items() if name != LINT}
        if files[-1].trusted:
            given += ((name, value, Origin(str(file), name, f"{source}: {name}")) for name, value in own.items())
            break
        not_taken += (Override(What.OPTION, str(file), name, value=as_text(v), taken=False) for name, v in own.items())
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for name, value, origin in (*given, *_from_environment()):
        if name not in names:
            raise UsageError(f"{origin.text} is not a setting; {nearest(name, names)}")
        origins[name] = origin
        values[name] = _patch_names(origin.text, value) if name in LISTS else value
    return Settings(values, origins, tuple(files), tuple(not_taken))


def as_text(value: Any) -> str:
    """A value as reports show it."""
    if isinstance(value, bool):
        return str(value).lower()
    return cut(value) if isinstance(value, str) else shown(value)


def _tables(folder: Path) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Each file with settings from `folder` upward, what to call it, and what it holds."""
    for above in (folder, *folder.parents):
        own, shared = above / "nanfix.yaml", above / "pyproject.toml"
        tools = _loaded(shared, tomllib.loads).get("tool", {}) if shared.is_file() else {}
        table = _mapping(shared, tools.get("yolo-nanfix")) if isinstance(tools, dict) else None
        if own.is_file():
            if table is not None:
                raise UsageError(f"{own} and [tool.yolo-nanfix] in {shared} both hold settings; keep one of them")
            yield own, str(own), _mapping(own, _loaded(own, safe_yaml.load_yaml)) or {}
        elif table is not None:
            yield shared, f"{shared} [tool.yolo-nanfix]", table


def _loaded(path: Path, load: Callable[[str], Any]) -> Any:
    """What a settings file holds, a regular file of bounded size in UTF-8; anything else is a UsageError."""
    try:
        content = ANYWHERE.read(path, LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError(f"it is larger than {LARGEST_FILE >> 20} MiB")
        return load(content.decode("utf-8").replace("\r\n", "\n"))
    except (ValueError, RecursionError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _mapping(path: Path, value: Any) -> Mapping[str, Any] | None:
    if value is None or (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
        return value
    raise UsageError(f"{path}: the settings must be a mapping of names to values, not {shown(value)}")


def _from_environment() -> Iterator[tuple[str, Any, Origin]]:
    for variable, text in os.environ.items():
        if variable.startswith(PREFIX) and variable not in NO_SETTINGS:
            name = variable.removeprefix(PREFIX).lower()
            try:
                value = text.split(",") if name in LISTS else _scalar(name, text)
            except safe_yaml.NotYaml as error:
                raise UsageError(f"{variable}={shown(text)} is not a value") from error
            yield name, value, Origin(variable, "", variable)


def _scalar(name: str, text: str) -> Any:
    """A value as YAML reads it; `on`, `off`, `yes` and `no` stay text, except for `guard`."""
    value = safe_yaml.load_yaml(text)
    return text if isinstance(value, bool) and name != "guard" and text.lower() not in ("true", "false") else value


def _patch_names(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{where} must be a list of patch names, not {shown(value)}")
    return tuple(name.strip() for name in value if name.strip())
