"""The other files in the folders of images and labels: those that are neither an image nor a .txt file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.listing import Folders
from yolo_nanfix.dataset.options import UNLABELLED
from yolo_nanfix.dataset.paths import folder_of, folders_of, is_image, label_path

_IMAGES, _LABELS = (".jpg", ".png", ".JPG"), (".txt",)


def suffix_in(path: str) -> str:
    """What follows the last dot in a name, in lowercase and without spaces; empty without a dot."""
    name = path.rpartition(os.sep)[2]
    return name.rpartition(".")[2].strip().lower() if "." in name else ""


def is_hidden(path: str) -> bool:
    """Whether a name begins with a dot."""
    return path.rpartition(os.sep)[2].startswith(".")


def find_others(config: DataConfig, files: Sequence[str], task: str, folders: Folders) -> dict[str, Any]:
    """List the folders of a dataset, each once; those that cannot be read have no others.

    Args:
        config: names the folders of the splits.
        files: the listed images, whose folders are listed too.
        task: a classification dataset has no label folders, and its .txt files are others.
        folders: those that were listed already.

    Returns:
        `label_folders`, `others`, `empty` and `caches` of a `Survey`.
    """
    seen: dict[str, None] = {}
    others: dict[str, str] = {}
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
        found = {path: _kind(path, folder) for path in (f"{folder}{os.sep}{name}" for name in unusual)}
        others.update((path, kind) for path, kind in found.items() if _is_other(path, kind))
        return [path for path, kind in found.items() if kind == "folder" and not is_hidden(path)]

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
    return {
        "label_folders": tuple(seen)[len(images) :],
        "others": others,
        "empty": tuple(empty),
        "caches": tuple(cache for cache in caches if os.path.isfile(cache)),  # noqa: PTH113
    }


def _is_other(path: str, kind: str) -> bool:
    """Whether an entry is neither an image nor a folder to enter."""
    return is_hidden(path) or (kind != "folder" and not (kind == "file" and is_image(path)))


def _kind(path: str, folder: str) -> str:
    """What an entry is, as in `Survey.others`; what is neither regular nor a folder is a file too."""
    try:
        if not os.path.islink(path):  # noqa: PTH114
            return "folder" if os.path.isdir(path) else "file"  # noqa: PTH112
        if not os.path.isdir(path):  # noqa: PTH112
            return "file" if os.path.isfile(path) else "broken"  # noqa: PTH113
        target, here = os.path.realpath(path), os.path.realpath(folder)
        return "loop" if f"{here}{os.sep}".startswith(f"{target}{os.sep}") else "link"
    except (OSError, ValueError):
        return "broken"
