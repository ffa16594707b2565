"""Folders beside those of the splits, and the images in them: images that are in no split."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.paths import folder_of, is_image

MOST_FOLDERS = 2000
"""So many folders are looked at: the root may be a whole disk."""
SPLIT_NAMES = frozenset(("train", "training", "val", "valid", "validation", "test", "testing", "eval", "holdout"))
OTHER_SPLITS = ("test", "minival")


def siblings(config: DataConfig) -> tuple[str, ...]:
    """Folders beside those of the splits that may hold images, and are in no split.

    Beside `images/train` each folder counts, beside `train/images` each that holds `images`, and beside a folder of
    the root those that are named as splits are: there may be anything.
    """
    tops = [str(path) for paths in config.splits.values() for path in paths if path.is_dir()]
    known = {os.path.realpath(top) for top in tops}
    named = [config.raw.get(key) for key in OTHER_SPLITS]
    known |= {os.path.realpath(config.root / name) for name in named if isinstance(name, str) and "\0" not in name}
    roots = {str(config.root), str(config.home)}
    found: dict[str, None] = {}
    for top in tops:
        inner = os.path.basename(top) if os.path.basename(top).lower() == "images" else ""  # noqa: PTH119
        parent = folder_of(folder_of(top)) if inner else folder_of(top)
        if not any(f"{parent}{os.sep}".startswith(f"{root.rstrip(os.sep)}{os.sep}") for root in roots):
            continue
        for name in _folders_in(parent):
            free = inner or parent not in roots or name.lower() in SPLIT_NAMES
            folder = f"{parent}{os.sep}{name}{os.sep}{inner}".rstrip(os.sep)
            if free and os.path.isdir(folder) and not _overlaps(os.path.realpath(folder), known):  # noqa: PTH112
                found[folder] = None
    return tuple(found)


def _folders_in(folder: str) -> list[str]:
    """The names of the folders in a folder, hidden ones and those of labels aside."""
    try:
        return sorted(
            entry.name
            for entry in os.scandir(folder)
            if entry.name[0] != "." and entry.name.lower() != "labels" and entry.is_dir()
        )
    except OSError:
        return []


def _overlaps(folder: str, known: Set[str]) -> bool:
    """Whether a folder is one of those that are known, holds one or lies in one."""
    own = f"{folder}{os.sep}"
    return any(own.startswith(f"{one}{os.sep}") or f"{one}{os.sep}".startswith(own) for one in known)


def images_below(top: str) -> list[str]:
    """The images in and below a folder, as far as `MOST_FOLDERS` folders go; hidden ones aside."""
    return [
        f"{folder}{os.sep}{name}"
        for folder, names in _below(top)
        for name in sorted(names)
        if is_image(name) and name[0] != "."
    ]


def state_below(top: str) -> bytes:
    """What differs as soon as a file comes into or goes from a folder or one below it."""
    times: list[str] = []
    for folder, _ in _below(top):
        try:
            status = os.stat(folder)  # noqa: PTH116 - as elsewhere here
            times.append(f"{folder}\0{status.st_mtime_ns}\0{status.st_ctime_ns}")
        except OSError:  # it goes just now
            times.append(folder)
    return os.fsencode("\0".join(times))


def _below(top: str) -> Iterator[tuple[str, list[str]]]:
    """A folder and those below it, hidden ones aside, with the names of the files in each."""
    for count, (folder, below, names) in enumerate(os.walk(top)):
        below[:] = sorted(name for name in below if name[0] != ".") if count < MOST_FOLDERS else []
        yield folder, names
