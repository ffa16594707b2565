"""Where the splits of a data.yaml and the images of their lists are: where Ultralytics looks, or else beside the yaml.

Most published yamls hold paths of the machine on which they were written, with which Ultralytics does not start; the
images nearly always lie beside the yaml, under the last folders of these paths.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.dataset.find_yaml import YamlFile, datasets_dir, foreign, real, resolve, there
from yolo_nanfix.errors import DataError
from yolo_nanfix.files import ANYWHERE

TRIED = 5
"""So many lines of a list are looked for; in a list that was moved, none of them leads to a file."""
LIST_HEAD = 1 << 14
"""Bytes in which these lines are looked for."""
_SEPARATOR = re.compile(r"[\\/]+")


Moved = tuple[str, str, bool]
"""What the lines of a list begin with, what is read in its place, and whether backslashes separate their folders."""


def read_moved(text: str, how: Moved) -> str:
    """The text of a list, with paths that exist."""
    start, place, windows = how
    lines = (text.replace("\\", "/") if windows else text).splitlines()
    return "\n".join(place + line[len(start) :] if line.startswith(start) else line for line in lines)


def moved(listed: Path, bases: Iterable[Path]) -> Moved | None:
    """How to read a list whose first images lie in one of these folders, not where it says; None for any other."""
    lines = _first(listed)
    if not lines or any(line.startswith("./") or os.path.exists(line) for line in lines):  # noqa: PTH110
        return None
    for base in bases:
        for line in lines:
            windows = "\\" in line
            plain = line.replace("\\", "/") if windows else line
            parts = [part for part in _SEPARATOR.split(plain) if part]
            for cut in range(len(parts)):
                tail = "/".join(parts[cut:])
                if plain.endswith(tail) and os.path.isfile(base / tail):  # noqa: PTH113
                    return plain[: len(plain) - len(tail)], f"{base}{os.sep}", windows
    return None


def _first(listed: Path) -> Sequence[str]:
    """The first lines of a list; none if it cannot be read."""
    try:
        head = ANYWHERE.read(listed, LIST_HEAD)
    except OSError:
        return ()
    lines = [line.strip() for line in head.decode("utf-8-sig", "replace").splitlines()]
    return [line for line in lines if line and "\0" not in line][:TRIED]


SPLITS = ("train", "val", "test")
ABOVE = 2
"""So many folders must agree where images are looked for above the folder of the yaml."""
VAL = ("val", "valid", "validation")
"""What the split for validation is called."""
_RENAMED: tuple[dict[str, str], ...] = tuple(dict.fromkeys(VAL, name) for name in VAL)


class SplitPath(NamedTuple):
    """One path of a split in data.yaml.

    Attributes:
        split: `train`, `val` or `test`.
        key: the key in data.yaml.
        entry: the path as written.
        looked: where Ultralytics looks for it.
        found: what is linted for it.
    """

    split: str
    key: str
    entry: str
    looked: Path
    found: Path = Path()

    @property
    def foreign(self) -> bool:
        """Whether it is a path of another machine."""
        return foreign(self.entry)

    def named(self, root: Path) -> Path:
        """Where it leads from a root as text alone, links not followed; a `../` is dropped as `resolve` does it."""
        path = Path(os.path.abspath(root / self.entry))  # noqa: PTH100 - without following links
        if not there(path) and self.entry.startswith("../"):
            return Path(os.path.abspath(root / self.entry[3:]))  # noqa: PTH100
        return path


def find_splits(
    source: YamlFile, root: Path | None = None
) -> tuple[Path, dict[str, tuple[Path, ...]], Path | None, tuple[SplitPath, ...], tuple[Path, ...]]:
    """Find the splits of a data.yaml.

    Args:
        source: the yaml; `train` and `val` are in it.
        root: another folder in which they are looked for, instead of `path:` and the folder of the yaml.

    Returns:
        `root`, `splits`, `missing_test`, `astray` and `named` of a `DataConfig`.

    Raises:
        DataError: nothing is at a path of train or val, nor elsewhere under its last folders.
    """
    said = _root(source) if root is None else root
    own = real(_root(source))
    entries = list(_split_paths(source, own))
    base = own if root is None else real(root)
    found: dict[SplitPath, Path] = {}
    for entry in entries:
        path = entry.looked if root is None else resolve(base, entry.entry)
        if there(path):
            found[entry] = path
    lost = [entry for entry in entries if entry not in found]
    named = {entry: entry.named(said) for entry in found}
    if lost:
        base, more = _seek(source, lost, [base] if root is not None else [source.file.parent]) or (base, {})
        found |= {entry: real(path) for entry, path in more.items()}
        named |= more
    for entry in entries:
        if entry not in found and entry.split != "test":
            raise _missing(source, entry, root)
    tests = [entry for entry in entries if entry.split == "test"]
    missing = next((entry.looked for entry in tests if entry not in found), None)
    splits = {split: tuple(found[e] for e in entries if e.split == split and e in found) for split in SPLITS}
    if missing or not tests:
        del splits["test"]
    astray = tuple(e._replace(found=found[e]) for e in entries if e in found and not there(e.looked))
    return base, splits, missing, astray, (Path(os.path.abspath(said)), *named.values())  # noqa: PTH100


def at(source: YamlFile, key: str) -> str:
    """`file:line` of a key."""
    return f"{source.file}:{source.key_lines[key]}" if key in source.key_lines else str(source.file)


def _root(source: YamlFile) -> Path:
    """The dataset's root as named: `path:` (also under Ultralytics' datasets folder), else the folder of the yaml."""
    given = source.values.get("path")
    root = Path(given) if given else source.file.parent
    if not root.is_absolute() and not there(root):
        root = datasets_dir() / root
    return root


def _split_paths(source: YamlFile, root: Path) -> Iterator[SplitPath]:
    """The paths of all splits, in order."""
    raw = source.values
    val = "validation" if "val" not in raw and "validation" in raw else "val"
    for split, key in zip(SPLITS, ("train", val, "test"), strict=True):
        value = raw.get(key) or []
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str) or "\0" in text:
                raise DataError(f"{at(source, key)}: '{key}' must list paths as text, not {text!r}")
            yield SplitPath(split, key, text, resolve(root, text))


def _seek(
    source: YamlFile, lost: Sequence[SplitPath], bases: Sequence[Path]
) -> tuple[Path, Mapping[SplitPath, Path]] | None:
    """Where missing paths lead from one of some folders, by as many of their last parts as possible; None if nowhere.

    The first parts are taken away from all alike, for they come from one machine; a test split may be missing.
    """
    given = source.values.get("path") or ""
    needed = [entry for entry in lost if entry.split != "test"] or lost
    for least, base in [(1, base) for base in bases] + [(ABOVE, base.parent) for base in bases]:
        parts = {entry: _parts(given, entry.entry) for entry in lost}
        for cut in range(max(map(len, parts.values()))):
            tails = {entry: tail[cut:] for entry, tail in parts.items() if len(tail) - cut >= least}
            places = {entry: _there(base, tail) for entry, tail in tails.items()}
            found = {entry: path for entry, path in places.items() if path is not None}
            texts = {entry.entry for entry in found}
            if all(entry in found for entry in needed) and len(set(map(real, found.values()))) >= len(texts):
                return base, found
    return None


def _there(base: Path, parts: Sequence[str]) -> Path | None:
    """Where some folders lead from another one; what one tool calls `val` is `valid` or `validation` to another."""
    for names in ({}, *_RENAMED):
        path = base.joinpath(*(names.get(part, part) for part in parts))
        if there(path):
            return path
    return None


def _parts(given: str, text: str) -> list[str]:
    """The folders of a path, from `path:` on unless it is absolute; what leads nowhere or upward is left out."""
    whole = text if Path(text).is_absolute() or re.match(r"[A-Za-z]:[\\/]", text) else f"{given}/{text}"
    return [part for part in _SEPARATOR.split(whole) if part not in ("", ".", "..", "~")]


def _missing(source: YamlFile, entry: SplitPath, root: Path | None) -> DataError:
    """The error for a path that leads nowhere."""
    hint = " (a path of another machine)" if entry.foreign else ""
    if source.values.get("download"):
        hint += "; the yaml has a 'download:' entry, which lint never executes: download the data first"
    elif root is None:
        hint += f", nor are its last folders beside {source.file.name}; --root DIR says where the images are"
    else:
        hint += f", nor are its last folders below {real(root)}, which --root names"
    looked = entry.looked if root is None else resolve(real(root), entry.entry)
    return DataError(f"{at(source, entry.key)}: '{entry.key}' names '{entry.entry}', but {looked} does not exist{hint}")
