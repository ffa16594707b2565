"""Lists of class names beside a dataset, as tools write them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset import bounded
from yolo_nanfix.dataset.config import DataConfig, class_numbers
from yolo_nanfix.dataset.find_yaml import read_yaml, resolve
from yolo_nanfix.dataset.grounds import ground
from yolo_nanfix.dataset.paths import Stamp, labels_beside, stamp_of
from yolo_nanfix.errors import DataError
from yolo_nanfix.files import Within

TEXTS = ("classes.txt", "_classes.txt", "obj.names", "classes.names", "labels.txt", "_darknet.labels", "names.txt")
"""One name a line: labelImg, Label Studio, Darknet and CVAT, Roboflow."""
NOTES = "notes.json"
"""Label Studio's file with the categories."""
YAMLS = (".yaml", ".yml")
LARGEST_LIST = 1 << 20
"""A larger file is no list of names."""
YAML_SPLITS = ("train", "val", "test", "minival", "validation")
_NUMBERED = r"(\d+)\s*[:,;\t ]\s*(\S.*)"


def first(folders: Iterable[str], within: Within) -> tuple[Path, Mapping[int, str]] | None:
    """The first list of class names in some folders, and the names by number; links that lead elsewhere are skipped."""
    for folder in folders:
        for name in (*TEXTS, NOTES):
            file = Path(folder) / name
            if file.is_file() and within.holds(file) and (names := names_in(file)):
                return file, names
    return None


def names_in(file: Path) -> Mapping[int, str]:
    """The names in one file, numbered from 0 without gaps; none if it holds no such list."""
    try:
        names = _of_text(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return {i: names.get(i, f"class_{i}") for i in range(max(names, default=-1) + 1)} if len(names) < 10_000 else {}


def candidates(config: DataConfig) -> list[str]:
    """The files beside a dataset that may hold class names, except data.yaml."""
    own = os.path.realpath(config.yaml_file)
    homes, folders = _folders(config)
    found = [f"{folder}{os.sep}{name}" for folder in folders for name in (*TEXTS, NOTES)]
    found = [file for file in found if os.path.isfile(file)]  # noqa: PTH113
    for home in homes:
        found += [f"{home}{os.sep}{name}" for name in _names_in(home) if name.endswith(YAMLS)]
    held = ground(config).hold(found) if found else ()
    return [f for f, ours in dict(zip(found, held, strict=True)).items() if ours and os.path.realpath(f) != own]


def stamps(config: DataConfig) -> list[tuple[str, Stamp]]:
    """The candidates with their stamps: the cache of a dataset is valid while they stay the same."""
    found = []
    for file in candidates(config):
        try:
            status = os.stat(file)  # noqa: PTH116
        except OSError:
            continue
        found.append((file, stamp_of(status)))
    return found


def beside(config: DataConfig) -> Iterator[tuple[str, Mapping[int, str]]]:
    """The lists of class names beside a dataset: the file, and the names by number."""
    for file in candidates(config):
        try:
            if os.path.getsize(file) > LARGEST_LIST:  # noqa: PTH202
                continue
            names = _of_yaml(Path(file), config) if file.endswith(YAMLS) else _of_text(Path(file))
        except (OSError, ValueError, DataError, RecursionError):
            continue
        if names:
            yield file, names


def _folders(config: DataConfig) -> tuple[list[str], list[str]]:
    """The folders in which other yaml files are read, and all in which lists are looked for."""
    homes = [str(config.home), str(config.root)]
    homes = list({os.path.realpath(home): home for home in homes}.values())
    tops = [str(path) for paths in config.splits.values() for path in paths if path.is_dir()]
    inner = [folder for top in tops for folder in (top, labels_beside(top))]
    above = [os.path.dirname(folder) for folder in inner]  # noqa: PTH120
    inside = [folder for folder in above if any(folder.startswith(f"{home}{os.sep}") for home in homes)]
    every = {os.path.realpath(folder): folder for folder in (*homes, *inner, *inside)}
    return [home for home in homes if home not in tops], list(every.values())


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []


def _of_text(file: Path) -> Mapping[int, str]:
    """The names in one file that is no yaml; none if it holds no list of them."""
    text = bounded.read_bytes(file, LARGEST_LIST).decode("utf-8-sig")
    return _of_notes(text) if file.name == NOTES else _of_lines(text.splitlines())


def _of_lines(lines: Sequence[str]) -> Mapping[int, str]:
    """One name a line, perhaps with its number before it."""
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    matches = [re.fullmatch(_NUMBERED, name) for name in names]
    if not all(name.isprintable() for name in names) or all(map(_is_row, names)):
        return {}
    if all(matches):
        return {int(match[1]): match[2].strip() for match in matches if match is not None}
    return dict(enumerate(names))


def _is_row(line: str) -> bool:
    """Whether a line is a label row: nothing but numbers, several of them."""
    words = line.split()
    try:
        return len(words) > 1 and all(float(word) is not None for word in words)
    except ValueError:
        return False


def _of_notes(text: str) -> Mapping[int, str]:
    """Label Studio's categories."""
    values = json.loads(text)
    entries = values.get("categories") if isinstance(values, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return {}
    found = [(entry.get("id"), entry.get("name")) for entry in entries]
    return {number: str(name) for number, name in found if type(number) is int and name is not None}


def _of_yaml(file: Path, config: DataConfig) -> Mapping[int, str]:
    """`names` of another yaml that names images of this set."""
    values = read_yaml(file).values
    names: Any = values.get("names")
    if isinstance(names, dict):
        names = class_numbers(names)
    elif isinstance(names, list):
        names = {number: str(name) for number, name in enumerate(names)}
    if not isinstance(names, dict) or not names or not _same_images(values, file, config):
        return {}
    return dict(names)


def _same_images(values: Mapping[str, Any], file: Path, config: DataConfig) -> bool:
    """Whether a yaml names a folder or list of images that data.yaml names too."""
    known = {os.path.realpath(path) for paths in config.splits.values() for path in paths}
    root = Path(values["path"]) if isinstance(values.get("path"), str) else file.parent
    for split in YAML_SPLITS:
        entries = values.get(split)
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, str) and "\0" not in entry:
                places = (resolve(root, entry), resolve(config.root, entry))
                if any(os.path.realpath(place) in known for place in places):
                    return True
    return False
