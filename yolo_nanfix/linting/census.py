"""What else lies in the folders of images and labels: everything that is neither an image nor a .txt file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.paths import folder_of, label_path
from yolo_nanfix.linting.suffixes import is_image

_USUAL = (".jpg", ".png", ".JPG")


class Other(NamedTuple):
    """One entry of a folder.

    Attributes:
        folder: where it lies.
        name: its name.
        kind: `file`, `folder`, `link` (to a folder), `loop` (a link to a folder above) or `broken` (a link that leads
            nowhere).
    """

    folder: str
    name: str
    kind: str

    @property
    def path(self) -> str:
        """Folder and name."""
        return f"{self.folder}{os.sep}{self.name}"

    @property
    def suffix(self) -> str:
        """What follows the last dot, in small letters and without blanks; empty without a dot."""
        return self.name.rpartition(".")[2].strip().lower() if "." in self.name else ""


@dataclass(frozen=True)
class Census:
    """What lies in the folders of a dataset besides listed images and .txt files.

    Attributes:
        image_folders: the folders of the images, and those below the folders that data.yaml names.
        label_folders: the folders in which Ultralytics looks for labels, as far as they are not image folders.
        others: whatever else is there, and hidden files and broken links whatever their suffix.
        empty: the folders among all these that hold nothing.
        caches: Ultralytics' caches of the label folders that exist.
    """

    image_folders: tuple[str, ...] = ()
    label_folders: tuple[str, ...] = ()
    others: tuple[Other, ...] = ()
    empty: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()


def dumps(census: Census) -> str:
    """A census as text."""
    fields = (census.image_folders, census.label_folders, census.others, census.empty, census.caches)
    return json.dumps(fields, separators=(",", ":"))


def loads(text: str) -> Census:
    """A census from text."""
    images, labels, others, empty, caches = json.loads(text)
    return Census(tuple(images), tuple(labels), tuple(Other(*o) for o in others), tuple(empty), tuple(caches))


def take_census(config: DataConfig, files: Iterable[str], task: str) -> Census:
    """List the folders of a dataset once; folders that cannot be read count as empty of others.

    Args:
        config: names the folders of the splits.
        files: the listed images; folders outside those of the splits are looked at for their sake.
        task: a classification dataset has no label folders, and its .txt files are others.
    """
    look = _Look(() if task == "classify" else (".txt",))
    for paths in config.splits.values():
        for path in paths:
            look.below(str(path))
    met = {os.path.realpath(folder) for folder in look.seen}
    for folder in sorted({folder_of(file) for file in files} - set(look.seen)):
        if (real := os.path.realpath(folder)) not in met:  # a link that goes round gives one folder many names
            met.add(real)
            look.at(folder)
    images = tuple(look.seen)
    if task == "classify":
        tops = [path for paths in config.splits.values() for path in paths]
    else:
        labels = dict.fromkeys(folder_of(label_path(f"{folder}{os.sep}x.jpg")) for folder in images)
        tops = [Path(folder) for folder in labels]
        for folder in labels:
            if os.path.realpath(folder) not in met:
                look.at(folder)
    caches = dict.fromkeys(str(top.with_suffix(".cache")) for top in tops if top.name)
    there = tuple(cache for cache in caches if os.path.isfile(cache))  # noqa: PTH113
    return Census(images, tuple(look.seen)[len(images) :], tuple(look.others), tuple(look.empty), there)


class _Look:
    """Looks at folders, each once, and keeps what is worth a word."""

    def __init__(self, usual: tuple[str, ...]) -> None:
        self._usual = (*_USUAL, *usual)
        self.seen: dict[str, None] = {}
        self.others: list[Other] = []
        self.empty: list[str] = []

    def below(self, top: str) -> None:
        """Look at a folder and at all below it, hidden ones and links aside."""
        waiting = [top]
        while waiting:
            waiting += sorted(self.at(waiting.pop()), reverse=True)

    def at(self, folder: str) -> list[str]:
        """Look at one folder; the folders in it."""
        if folder in self.seen or not os.path.isdir(folder):  # noqa: PTH112
            return []
        self.seen[folder] = None
        below, count = [], 0
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    count += 1
                    kind = _kind(entry, folder)
                    name = entry.name
                    if kind == "folder" and name[0] != ".":
                        below.append(f"{folder}{os.sep}{name}")
                    elif kind != "file" or name[0] == "." or not (name[-4:] in self._usual or is_image(name)):
                        self.others.append(Other(folder, name, kind))
        except (OSError, ValueError):
            return below
        if not count:
            self.empty.append(folder)
        return below


def _kind(entry: os.DirEntry[str], folder: str) -> str:
    """What an entry is, as in `Other`; a file that is neither regular nor a folder is a file too."""
    if entry.is_symlink():
        return _link(entry, folder)
    return "folder" if entry.is_dir() else "file"


def _link(entry: os.DirEntry[str], folder: str) -> str:
    """What a link is: as in `Other`; links to folders elsewhere are `link`."""
    try:
        if not entry.is_dir():
            return "file" if entry.is_file() else "broken"
        target = os.path.realpath(entry.path)
        here = os.path.realpath(folder)
        return "loop" if f"{here}{os.sep}".startswith(f"{target}{os.sep}") else "link"
    except OSError:
        return "broken"
