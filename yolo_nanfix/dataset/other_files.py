"""What else lies in the folders of images and labels: everything that is neither an image nor a .txt file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.listing import Folders
from yolo_nanfix.dataset.options import UNLABELLED
from yolo_nanfix.dataset.paths import folder_of, folders_of, is_image, label_path

_IMAGES, _LABELS = (".jpg", ".png", ".JPG"), (".txt",)


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
        """What follows the last dot, in lowercase and without spaces; empty without a dot."""
        return self.name.rpartition(".")[2].strip().lower() if "." in self.name else ""


@dataclass(frozen=True)
class Census:
    """What lies in the folders of a dataset besides images and .txt files.

    Attributes:
        image_folders: the folders of the images, and those below the folders that data.yaml names.
        label_folders: the folders in which Ultralytics looks for labels, as far as they are not image folders.
        others: whatever else is there, and hidden files whatever their suffix.
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


def take_census(config: DataConfig, files: Sequence[str], task: str, folders: Folders) -> Census:
    """List the folders of a dataset once; folders that cannot be read count as empty of others.

    Args:
        config: names the folders of the splits.
        files: the listed images; folders outside those of the splits are looked at for their sake.
        task: a classification dataset has no label folders, and its .txt files are others.
        folders: those that were listed already.
    """
    look = _Look(folders)
    without = task in ("classify", UNLABELLED)
    usual = _IMAGES if without else _IMAGES + _LABELS
    for paths in config.splits.values():
        for path in paths:
            look.below(str(path), usual)
    met = {os.path.realpath(folder) for folder in look.seen}
    for folder in sorted(folders_of(files) - set(look.seen)):
        if (real := os.path.realpath(folder)) not in met:  # a link that forms a cycle gives one folder many names
            met.add(real)
            look.at(folder, usual)
    images = tuple(look.seen)
    if without:
        tops = [path for paths in config.splits.values() for path in paths]
    else:
        labels = dict.fromkeys(folder_of(label_path(f"{folder}{os.sep}x.jpg")) for folder in images)
        tops = [Path(folder) for folder in labels]
        for folder in labels:
            if os.path.realpath(folder) not in met:
                look.at(folder, _LABELS)
    caches = dict.fromkeys(str(top.with_suffix(".cache")) for top in tops if top.name)
    there = tuple(cache for cache in caches if os.path.isfile(cache))  # noqa: PTH113
    return Census(images, tuple(look.seen)[len(images) :], tuple(look.others), tuple(look.empty), there)


class _Look:
    """Looks at folders, each once, and keeps what is worth a word."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self.seen: dict[str, None] = {}
        self.others: list[Other] = []
        self.empty: list[str] = []

    def below(self, top: str, usual: tuple[str, ...]) -> None:
        """Look at a folder and at all below it, hidden ones and links aside."""
        waiting = [top]
        while waiting:
            waiting += sorted(self.at(waiting.pop(), usual), reverse=True)

    def at(self, folder: str, usual: tuple[str, ...]) -> list[str]:
        """Look at one folder; the folders in it. Names that end as `usual` are passed over, for they are many."""
        if folder in self.seen or not os.path.isdir(folder):  # noqa: PTH112
            return []
        self.seen[folder] = None
        try:
            names = self._folders.entries(folder) or os.listdir(folder)  # noqa: PTH208 - names alone
        except (OSError, ValueError):
            return []
        if not names:
            self.empty.append(folder)
        below = []
        for name in [name for name in names if name[-4:] not in usual or name[0] == "."]:
            path = f"{folder}{os.sep}{name}"
            kind = _kind(path, folder)
            if kind == "folder" and name[0] != ".":
                below.append(path)
            elif kind != "file" or name[0] == "." or not is_image(name):
                self.others.append(Other(folder, name, kind))
        return below


def _kind(path: str, folder: str) -> str:
    """What an entry is, as in `Other`; what is neither regular nor a folder is a file too."""
    try:
        if not os.path.islink(path):  # noqa: PTH114
            return "folder" if os.path.isdir(path) else "file"  # noqa: PTH112
        if not os.path.isdir(path):  # noqa: PTH112
            return "file" if os.path.isfile(path) else "broken"  # noqa: PTH113
        target, here = os.path.realpath(path), os.path.realpath(folder)
        return "loop" if f"{here}{os.sep}".startswith(f"{target}{os.sep}") else "link"
    except (OSError, ValueError):
        return "broken"
