"""What the user wants patched, and how lint shall be, from files, environment and arguments.

The order, later ones winning: defaults of the cards, `nanfix.yaml` or `[tool.yolo-nanfix]` in `pyproject.toml`,
environment variables `YOLO_NANFIX_<NAME>`, arguments of `patch(...)`. The files are looked for in the current folder
and, as ruff and pytest do, in those above it; the nearest counts. One that came with the dataset (see `overrides`) is
passed over unless it is trusted, and what it says is told as not taken.

What belongs to lint stands under the key `lint` of the same files. For it the nearest file that has this key counts,
from the folder of data.yaml upward, then from the current folder upward; a file that holds nothing else is passed over
when patches are settled. If that one came with the dataset and is not trusted, the nearest of the user's own counts,
too, and wins over it. Arguments win over both.
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
from yolo_nanfix.shown import cut, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "YOLO_NANFIX_"
LISTS = ("enable", "disable")
"""Card names: put beside the default set, and taken out of it."""
CACHE = "YOLO_NANFIX_CACHE"
"""The variable that names the folder of the cache; a place on this machine, no setting."""
ANNOTATIONS = "YOLO_NANFIX_ANNOTATIONS_MB"
"""The variable that says how large annotation files lint reads: what the memory of this machine bears, no setting."""
TRUST = "YOLO_NANFIX_TRUST_DATASET_SETTINGS"
"""The variable that trusts the settings files of datasets, as the option `--trust-dataset-settings` does."""
MOST = 4 << 20
"""Bytes of the largest file that is read for settings."""
LINT = "lint"
"""The key under which the settings of lint stand."""
Belongs = Callable[[Path], bool]
"""Whether a settings file came with the dataset."""


def nobodys(_file: Path) -> bool:
    """Where no dataset is known, every file is the user's own."""
    return False


@dataclass(frozen=True)
class Settings:
    """Names and values as given, and where each was given.

    Attributes:
        values: by name: `enable` and `disable` (card names), `guard`, parameters of cards and of the guard.
        sources: the file and key, or the variable, of each name.
        places: the same as file and key; of a variable its name and nothing.
        files: the settings files in force, and those that were passed over.
        not_taken: what the latter say.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    files: tuple[SettingsFile, ...] = ()
    not_taken: tuple[Override, ...] = ()


class LintTable(NamedTuple):
    """The settings of lint as a file gives them, unchecked.

    Attributes:
        values: by name.
        source: the file and the table in it; a name put behind it says where that setting stands.
        file: the file; paths in it start from its folder.
    """

    values: Mapping[str, Any]
    source: str
    file: SettingsFile


def load_lint(folder: Path, belongs: Belongs = nobodys, *, trust: bool = False) -> tuple[LintTable, ...]:
    """The settings of lint that hold for a dataset, the nearest first; none if no file gives any.

    It is the nearest file alone, but for one that came with the dataset and is not trusted: behind that the nearest of
    the user's own counts, too.

    Args:
        folder: the folder of its data.yaml.
        belongs: whether a file came with the dataset.
        trust: take such a file as any other.

    Raises:
        UsageError: a file cannot be read, or the settings are no mapping.
    """
    counting: list[LintTable] = []
    for start in (folder.absolute(), Path.cwd()):
        for file, source, table in _tables(start):
            of_dataset = LINT in table and belongs(file)
            if LINT in table and not (counting and of_dataset):
                where = source.replace("[tool.yolo-nanfix]", "[tool.yolo-nanfix.lint]")
                where = f"{where}: {LINT}." if where == source else f"{where}: "
                named = SettingsFile(str(file), LINT, of_dataset, trust or not of_dataset)
                counting.append(LintTable(_mapping(file, table[LINT]) or {}, where, named))
                if named.trusted:
                    return tuple(counting)
    return tuple(counting)


def settings_files(folder: Path) -> tuple[Path, ...]:
    """Every file that `load_lint` may read for a dataset in this folder, whether it is there or not."""
    folders = dict.fromkeys(above for start in (folder.absolute(), Path.cwd()) for above in (start, *start.parents))
    return tuple(above / name for above in folders for name in ("nanfix.yaml", "pyproject.toml"))


def trusts(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment trusts what settings files of datasets say.

    Raises:
        UsageError: the variable is neither yes nor no.
    """
    text = (os.environ if environ is None else environ).get(TRUST, "")
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise UsageError(f"{TRUST} must be true or false, not {shown(text)}")


def load(
    known: Iterable[str],
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    belongs: Belongs = nobodys,
    trust: bool = False,
) -> Settings:
    """Read the settings that hold in a folder.

    Args:
        known: the names of all parameters; `enable`, `disable` and `guard` are known anyway.
        folder: where to start looking for files; the current folder if None.
        environ: the environment; the process's own if None.
        belongs: whether a file came with the dataset; then it is passed over, and a file above it counts.
        trust: take such a file as any other.

    Raises:
        UsageError: a file cannot be read, or a name is unknown (with the nearest known one).
    """
    names = (*LISTS, "guard", *known)
    trust = trust or trusts(environ)
    files, not_taken, layers = _from_files(folder or Path.cwd(), belongs, trust)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    places: dict[str, tuple[str, str]] = {}
    for source, found in (*layers, _from_environment(os.environ if environ is None else environ)):
        for name, value in found.items():
            variable = f"{source}{name.upper()}" if source == PREFIX else ""
            where = variable or f"{source}: {name}"
            if name not in names:
                raise UsageError(f"{where} is not a setting; {nearest(name, names)}")
            values[name] = _names(where, value) if name in LISTS else value
            sources[name] = where
            places[name] = (variable, "") if variable else (files[-1].file, name)
    return Settings(values, sources, places, files, not_taken)


_Layer = tuple[str, Mapping[str, Any]]


def _from_files(
    folder: Path, belongs: Belongs, trust: bool
) -> tuple[tuple[SettingsFile, ...], tuple[Override, ...], list[_Layer]]:
    """The files that were looked at, what was not taken of those that came with the dataset, and what counts."""
    files: list[SettingsFile] = []
    not_taken: list[Override] = []
    for file, source, table in _tables(folder):
        if table and set(table) <= {LINT}:
            continue
        own = {name: value for name, value in table.items() if name != LINT}
        of_dataset = belongs(file)
        files.append(SettingsFile(str(file), "training", of_dataset, trust or not of_dataset))
        if files[-1].trusted:
            return tuple(files), tuple(not_taken), [(source, own)]
        not_taken += (
            Override(What.OPTION, str(file), name, value=as_text(value), taken=False) for name, value in own.items()
        )
    return tuple(files), tuple(not_taken), []


def as_text(value: Any) -> str:
    """A value as it stands in a line."""
    if isinstance(value, bool):
        return str(value).lower()
    return cut(value) if isinstance(value, str) else shown(value)


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
        return tomllib.loads(_text(path))
    except (ValueError, RecursionError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _yaml(path: Path) -> Any:
    try:
        return safe_yaml.load_yaml(_text(path))
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _text(path: Path) -> str:
    """The text of a settings file.

    Raises:
        OSError: it is no regular file, or cannot be read.
        ValueError: it is far too large, or no UTF-8.
    """
    content = ANYWHERE.read(path, MOST + 1)
    if len(content) > MOST:
        raise ValueError(f"it is larger than {MOST >> 20} MiB")
    return content.decode("utf-8").replace("\r\n", "\n")


def _mapping(path: Path, value: Any) -> Mapping[str, Any] | None:
    if value is None or (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
        return value
    raise UsageError(f"{path}: the settings must be a mapping of names to values, not {shown(value)}")


def _from_environment(environ: Mapping[str, str]) -> tuple[str, Mapping[str, Any]]:
    found = {}
    for variable, text in environ.items():
        if variable.startswith(PREFIX) and variable not in (CACHE, ANNOTATIONS, TRUST):
            name = variable.removeprefix(PREFIX).lower()
            try:
                found[name] = text.split(",") if name in LISTS else _scalar(name, text)
            except safe_yaml.NotYaml as error:
                raise UsageError(f"{variable}={shown(text)} is not a value") from error
    return PREFIX, found


def _scalar(name: str, text: str) -> Any:
    """A value as YAML reads it; words that YAML 1.1 takes for yes and no stay words, but for `guard`."""
    value = safe_yaml.load_yaml(text)
    return text if isinstance(value, bool) and name != "guard" and text.lower() not in ("true", "false") else value


def _names(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{where} must be a list of patch names, not {shown(value)}")
    return tuple(name.strip() for name in value if name.strip())
