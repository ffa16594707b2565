"""The other files in the folders of images and labels: those that are neither an image nor a .txt file."""

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
        others: all other entries, and hidden files whatever their suffix.
        empty: the folders among all these that hold nothing.
        caches: Ultralytics' caches of the label folders that exist.
    """

    image_folders: tuple[str, ...] = ()
    label_folders: tuple[str, ...] = ()
    others: tuple[Other, ...] = ()
    empty: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()


def packed_census(census: Census) -> str:
    """A census as JSON."""
    fields = (census.image_folders, census.label_folders, census.others, census.empty, census.caches)
    return json.dumps(fields, separators=(",", ":"))


def unpacked_census(text: str) -> Census:
    """A census from JSON."""
    images, labels, others, empty, caches = json.loads(text)
    return Census(tuple(images), tuple(labels), tuple(Other(*o) for o in others), tuple(empty), tuple(caches))


def take_census(config: DataConfig, files: Sequence[str], task: str, folders: Folders) -> Census:
    """List the folders of a dataset, each once; those that cannot be read have no others.

    Args:
        config: names the folders of the splits.
        files: the listed images, whose folders are listed too.
        task: a classification dataset has no label folders, and its .txt files are others.
        folders: those that were listed already.
    """
    seen: dict[str, None] = {}
    others: list[Other] = []
    empty: list[str] = []

    def look(folder: str, usual: tuple[str, ...]) -> list[str]:
        """Look at one folder, once; the folders in it. Names that end as `usual` are skipped: they are many."""
        if folder in seen or not os.path.isdir(folder):  # noqa: PTH112
            return []
        seen[folder] = None
        try:
            names = folders.entries(folder) or os.listdir(folder)  # noqa: PTH208 - names alone
        except (OSError, ValueError):
            return []
        if not names:
            empty.append(folder)
        unusual = [name for name in names if name[-4:] not in usual or name[0] == "."]
        found = [Other(folder, name, _kind(f"{folder}{os.sep}{name}", folder)) for name in unusual]
        others.extend(other for other in found if _is_other(other))
        return [other.path for other in found if other.kind == "folder" and other.name[0] != "."]

    without = task in ("classify", UNLABELLED)
    usual = _IMAGES if without else _IMAGES + _LABELS
    tops = [path for paths in config.splits.values() for path in paths]
    for top in tops:
        waiting = [str(top)]
        while waiting:
            waiting += sorted(look(waiting.pop(), usual), reverse=True)
    met = {os.path.realpath(folder) for folder in seen}
    for folder in sorted(folders_of(files) - set(seen)):
        if (real := os.path.realpath(folder)) not in met:  # a link that forms a cycle gives one folder many names
            met.add(real)
            look(folder, usual)
    images = tuple(seen)
    if not without:
        labels = dict.fromkeys(folder_of(label_path(f"{folder}{os.sep}x.jpg")) for folder in images)
        tops = [Path(folder) for folder in labels]
        for folder in labels:
            if os.path.realpath(folder) not in met:
                look(folder, _LABELS)
    caches = dict.fromkeys(str(top.with_suffix(".cache")) for top in tops if top.name)
    existing = tuple(cache for cache in caches if os.path.isfile(cache))  # noqa: PTH113
    return Census(images, tuple(seen)[len(images) :], tuple(others), tuple(empty), existing)


def _is_other(entry: Other) -> bool:
    """Whether an entry is neither an image nor a folder to enter."""
    return (
        entry.name[0] == "."
        or entry.kind not in ("file", "folder")
        or (entry.kind == "file" and not is_image(entry.name))
    )


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
