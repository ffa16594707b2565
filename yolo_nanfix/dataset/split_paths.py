"""Where the splits of a data.yaml are, and the images of their lists: where Ultralytics looks, or else beside the yaml.

Most published yamls hold paths of the machine on which they were written. Ultralytics does not start with them; the
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
"""So many lines of a list are looked for; none of them is where it says in a list that was moved."""
HEAD = 1 << 14
"""Bytes in which these lines are looked for."""
_SEPARATOR = re.compile(r"[\\/]+")


class Moved(NamedTuple):
    """How the lines of a list are read.

    Attributes:
        start: what they begin with.
        place: what is read in its place.
        windows: whether their folders are parted by backslashes.
    """

    start: str
    place: str
    windows: bool

    def read(self, text: str) -> str:
        """The text of the list, with the paths that are there."""
        lines = (text.replace("\\", "/") if self.windows else text).splitlines()
        return "\n".join(
            self.place + line[len(self.start) :] if line.startswith(self.start) else line for line in lines
        )


def moved(listed: Path, bases: Iterable[Path]) -> Moved | None:
    """How a list is read whose first images are not where it says, but in one of these folders; None for any other."""
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
                    return Moved(plain[: len(plain) - len(tail)], f"{base}{os.sep}", windows)
    return None


def _first(listed: Path) -> Sequence[str]:
    """The first lines of a list; none if it cannot be read."""
    try:
        head = ANYWHERE.read(listed, HEAD)
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


class Astray(NamedTuple):
    """A path of data.yaml where nothing is, and what is linted in its place.

    Attributes:
        key: the key in data.yaml.
        entry: the path as written.
        looked: where Ultralytics looks for it.
        found: what is there instead.
        foreign: whether it is a path of another machine.
    """

    key: str
    entry: str
    looked: Path
    found: Path
    foreign: bool


class Placed(NamedTuple):
    """The splits of a data.yaml.

    Attributes:
        root: the folder that their paths start from.
        splits: the absolute paths of each split; none of a `val` that is empty.
        missing_test: the path that `test:` names, if nothing is there.
        astray: those that were found elsewhere.
        named: the root and the paths of the splits before links are followed: what data.yaml says.
    """

    root: Path
    splits: Mapping[str, tuple[Path, ...]]
    missing_test: Path | None
    astray: tuple[Astray, ...]
    named: tuple[Path, ...]


class _Entry(NamedTuple):
    """One path of a split: its key in data.yaml, how it is written, where it leads by the yaml."""

    split: str
    key: str
    text: str
    path: Path

    def named(self, root: Path) -> Path:
        """Where it leads from a root as text alone, links not followed; a `../` is dropped as `resolve` does it."""
        path = Path(os.path.abspath(root / self.text))  # noqa: PTH100 - without following links
        if not there(path) and self.text.startswith("../"):
            return Path(os.path.abspath(root / self.text[3:]))  # noqa: PTH100
        return path


def place(source: YamlFile, root: Path | None = None) -> Placed:
    """Find the splits of a data.yaml.

    Args:
        source: the yaml; `train` and `val` are in it.
        root: another folder in which they are looked for, in the place of `path:` and of the folder of the yaml.

    Raises:
        DataError: nothing is at a path of train or val, nor elsewhere under its last folders.
    """
    said = _root(source) if root is None else root
    own = real(_root(source))
    entries = list(_entries(source, own))
    base = own if root is None else real(root)
    found: dict[_Entry, Path] = {}
    for entry in entries:
        path = entry.path if root is None else resolve(base, entry.text)
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
    missing = next((entry.path for entry in tests if entry not in found), None)
    splits = {split: tuple(found[e] for e in entries if e.split == split and e in found) for split in SPLITS}
    if missing or not tests:
        del splits["test"]
    astray = (Astray(e.key, e.text, e.path, found[e], foreign(e.text)) for e in entries if e in found)
    gone = tuple(a for a in astray if not there(a.looked))
    return Placed(base, splits, missing, gone, (Path(os.path.abspath(said)), *named.values()))  # noqa: PTH100


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


def _entries(source: YamlFile, root: Path) -> Iterator[_Entry]:
    """The paths of all splits, in order."""
    raw = source.values
    val = "validation" if "val" not in raw and "validation" in raw else "val"
    for split, key in zip(SPLITS, ("train", val, "test"), strict=True):
        value = raw.get(key) or []
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str) or "\0" in text:
                raise DataError(f"{at(source, key)}: '{key}' must list paths as text, not {text!r}")
            yield _Entry(split, key, text, resolve(root, text))


def _seek(source: YamlFile, lost: Sequence[_Entry], bases: Sequence[Path]) -> tuple[Path, Mapping[_Entry, Path]] | None:
    """Where paths that lead nowhere lead from a folder, by as many of their last parts as can be; None if nowhere.

    The first parts are taken away from all alike, for they come from one machine; a test split may be missing.
    """
    given = source.values.get("path") or ""
    needed = [entry for entry in lost if entry.split != "test"] or lost
    for least, base in [(1, base) for base in bases] + [(ABOVE, base.parent) for base in bases]:
        parts = {entry: _parts(given, entry.text) for entry in lost}
        for cut in range(max(map(len, parts.values()))):
            tails = {entry: tail[cut:] for entry, tail in parts.items() if len(tail) - cut >= least}
            places = {entry: _there(base, tail) for entry, tail in tails.items()}
            found = {entry: path for entry, path in places.items() if path is not None}
            texts = {entry.text for entry in found}
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


def _missing(source: YamlFile, entry: _Entry, root: Path | None) -> DataError:
    """The error for a path that leads nowhere."""
    hint = " (a path of another machine)" if foreign(entry.text) else ""
    if source.values.get("download"):
        hint += "; the yaml has a 'download:' entry, which lint never executes: download the data first"
    elif root is None:
        hint += f", nor are its last folders beside {source.file.name}; --root DIR says where the images are"
    else:
        hint += f", nor are its last folders below {real(root)}, which --root names"
    looked = entry.path if root is None else resolve(real(root), entry.text)
    return DataError(f"{at(source, entry.key)}: '{entry.key}' names '{entry.text}', but {looked} does not exist{hint}")
