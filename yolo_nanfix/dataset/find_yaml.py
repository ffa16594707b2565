"""Finds and reads data.yaml, with lines and duplicate keys, and resolves paths as Ultralytics does."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.reader import Reader

from yolo_nanfix.dataset import bounded
from yolo_nanfix.errors import DataError
from yolo_nanfix.files import not_regular
from yolo_nanfix.safe_yaml import LARGEST_TEXT, NotYaml, Repeated, TooMuch, parse


class YamlFile(NamedTuple):
    """A mapping read from `file`: its values, the 1-based line of each top-level key, and duplicate keys."""

    file: Path
    values: dict[str, Any]
    key_lines: dict[str, int]
    duplicates: tuple[Repeated, ...]


def _load(file: Path, text: str) -> YamlFile:
    """Parse `text`; errors of YAML propagate."""
    values, node, duplicates = parse(text)
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        kind = "empty" if values is None else f"a {type(values).__name__}"
        raise DataError(f"{file} must be a mapping of keys such as train, val and names, but it is {kind}")
    lines = {str(k.value): k.start_mark.line + 1 for k, _ in node.value if isinstance(k, yaml.ScalarNode)}
    return YamlFile(file, {str(k): v for k, v in values.items()}, lines, duplicates)


def read_yaml(file: Path) -> YamlFile:
    """Read `file` by safe loading only; nothing in it is ever executed.

    As in Ultralytics, bytes that are not UTF-8 and unprintable characters are left out.

    Raises:
        DataError: if the file cannot be read, is not YAML (with line and column), holds more than `safe_yaml` reads, or
            is not a mapping.
    """
    try:
        data = bounded.read_bytes(file, LARGEST_TEXT)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        printable = Reader.NON_PRINTABLE.sub("", data.decode("utf-8", errors="ignore").removeprefix("\ufeff"))
        return _load(file, printable)
    except NotYaml as error:
        where = f", line {error.line}, column {error.column}" if error.line else ""
        what = "holds too much to be read" if isinstance(error, TooMuch) else "is not valid YAML"
        raise DataError(f"{file} {what}{where}: {error.problem}") from error


NAMED = ("data", "dataset")
"""Stems of the yaml of a dataset."""
_YAML = (".yaml", ".yml")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".txz", ".tbz2", ".7z", ".rar")
_WINDOWS = re.compile(r"^[A-Za-z]:[\\/]|\\")
_HOMES = ("/home/", "/Users/", "/content/", "/kaggle/", "/workspace/", "/mnt/", "/media/", "/data/")


def find_yaml(data: str | Path) -> Path:
    """The data.yaml that `data` means: a file, a folder that holds one, or a name that Ultralytics ships.

    Raises:
        DataError: if there is none, more than one, or if `data` is an address or an archive.
    """
    name = str(data).strip()
    if "://" in name:
        fetch = "aws s3 sync, gsutil rsync, or fsspec.filesystem(...).get(..., recursive=True)"
        raise DataError(
            f"'{name}' is an address; copy the dataset to this machine first ({fetch}), then give its data.yaml"
        )
    path = Path(name)
    try:
        if path.is_dir():
            return _yaml_in(path)
        if name.lower().endswith(_ARCHIVES):
            raise DataError(
                f"'{name}' is an archive; unpack it (tar -xf, unzip), then give its data.yaml or its folder"
            )
        if path.is_file():
            if path.suffix.lower() not in _YAML:
                raise DataError(f"'{name}' is not a .yaml or .yml file, nor .json, .xml or .ndjson with annotations")
            return path.absolute()
        if path.exists() and (refusal := not_regular(path)) is not None:
            raise DataError(f"'{name}' is {refusal.value}, which is not opened; give a .yaml file or a folder")
    except (OSError, ValueError) as error:
        raise DataError(f"'{name}' cannot be read: {error}") from error
    shipped = _shipped(name)
    if shipped is None:
        raise DataError(f"'{name}' does not exist, and Ultralytics ships no dataset of that name")
    return shipped


def _yaml_in(folder: Path) -> Path:
    """The one yaml in `folder`; among several, the one named as the folder."""
    patterns = ("*.yaml", "*.yml")
    found = next(
        (f for p in patterns if (f := _settings_aside(folder.glob(p)) or _settings_aside(folder.rglob(p)))), []
    )
    if len(found) > 1:
        found = [f for f in found if _is_dataset(f)] or found
    for name in (_own_name(folder), *NAMED):
        found = [f for f in found if f.stem == name] or found
    if len(found) == 1:
        return found[0].absolute()
    if not found:
        sorted_by_class = (folder / "train").is_dir() and not (folder / "train" / "images").is_dir()
        hint = "; if its folders are classes, lint it with the task classify" if sorted_by_class else ""
        raise DataError(f"'{folder}' holds no .yaml file, no images and no annotations that lint reads{hint}")
    some = ", ".join(str(f.relative_to(folder)) for f in found[:5])
    raise DataError(f"'{folder}' holds {len(found)} yaml files ({some}); say which one")


def dataset_yamls(folder: Path) -> list[Path]:
    """The yaml files in a folder with the keys or the name of a dataset's; no settings of tools or services."""
    found = [f for pattern in ("*.yaml", "*.yml") for f in _settings_aside(folder.glob(pattern))]
    return list(filter(_is_dataset, found))


def _is_dataset(file: Path) -> bool:
    return file.stem.lower() in NAMED or _speaks_of_images(file)


def _own_name(folder: Path) -> str:
    """The name of a folder after links and dots are resolved."""
    return os.path.basename(os.path.realpath(folder))  # noqa: PTH119


def several_yamls(folder: Path) -> tuple[Path, ...]:
    """The yaml files of several datasets in one folder, none of which has the name of the folder or data.yaml."""
    try:
        found = dataset_yamls(folder) if folder.is_dir() else []
    except (OSError, ValueError):
        return ()
    same = [file for file in found if file.suffix == ".yaml"] or found
    named = {_own_name(folder), *NAMED}
    return () if len(same) < 2 or any(file.stem in named for file in same) else tuple(same)


def _speaks_of_images(file: Path) -> bool:
    """Whether a yaml has the keys of a dataset; also if it cannot be read, so that the error is shown."""
    try:
        keys = read_yaml(file).values
    except DataError:
        return True
    return not {"train", "val"}.isdisjoint(keys) or not {"names", "nc"}.isdisjoint(keys)


def _settings_aside(files: Iterable[Path]) -> list[Path]:
    """The files in order, without the settings of yolo-nanfix, which may lie beside data.yaml."""
    return sorted(file for file in files if file.name != "nanfix.yaml")


def _package() -> Path | None:
    """The folder of the installed ultralytics package, found without importing it."""
    try:
        spec = importlib.util.find_spec("ultralytics")
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _shipped(name: str) -> Path | None:
    """The dataset yaml of that bare name in the installed Ultralytics."""
    package = _package()
    if package is None or not re.fullmatch(r"[\w.-]+", name):
        return None
    names = [name] if name.endswith(_YAML) else [name + suffix for suffix in _YAML]
    return next((f for n in names if (f := package / "cfg" / "datasets" / n).is_file()), None)


def datasets_dir() -> Path:
    """Ultralytics' folder for datasets, from its settings file or, without one, a fresh install's default."""
    try:
        settings = json.loads((_config_dir() / "settings.json").read_text(encoding="utf-8"))
        return Path(settings["datasets_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        package = _package()
        git = next((p for p in package.parents if (p / ".git").exists()), None) if package else None
        return (git.parent if git else Path.cwd()) / "datasets"


def _config_dir() -> Path:
    """The folder in which Ultralytics keeps its settings."""
    if given := os.environ.get("YOLO_CONFIG_DIR"):
        return Path(given).expanduser() / "Ultralytics"
    if sys.platform == "win32":
        return Path.home() / "AppData" / "Roaming" / "Ultralytics"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Ultralytics"
    return Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "Ultralytics"


def there(path: Path) -> bool:
    """Whether a path exists; False for an invalid one (too long, with a NUL)."""
    return os.path.exists(path)  # noqa: PTH110 - a Path raises for names that are too long


def real(path: Path) -> Path:
    """The path with links resolved, as far as it exists; itself if it is invalid or its links form a cycle."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def resolve(root: Path, entry: str) -> Path:
    """Where the split path `entry` leads from `root`; a leading `../` is dropped if it leads nowhere."""
    path = real(root / entry)
    if not there(path) and entry.startswith("../"):
        path = real(root / entry[3:])
    return path


def foreign(entry: str) -> bool:
    """Whether a path looks like one of another machine."""
    return _WINDOWS.search(entry) is not None or entry.startswith(_HOMES)
