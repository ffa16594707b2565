"""Files that Ultralytics does not read: images beside the splits, and label files in other folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.paths import folder_of, is_image, label_path
from yolo_nanfix.files import ANYWHERE

MOST_FOLDERS = 2000
"""How many folders are searched: the root may be a whole disk."""
SPLIT_NAMES = frozenset(("train", "training", "val", "valid", "validation", "test", "testing", "eval", "holdout"))
OTHER_SPLITS = ("test", "minival")


def siblings(config: DataConfig) -> tuple[str, ...]:
    """Folders beside those of the splits that may hold images, and are in no split.

    Beside `images/train` each folder counts, beside `train/images` each that holds `images`, and in the root those with
    the name of a split.
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
    """The names of the folders in a folder, except hidden ones and those of labels."""
    try:
        return sorted(
            entry.name
            for entry in os.scandir(folder)
            if entry.name[0] != "." and entry.name.lower() != "labels" and entry.is_dir()
        )
    except OSError:
        return []


def _overlaps(folder: str, known: Set[str]) -> bool:
    """Whether a folder is one of the known ones, holds one or lies in one."""
    own = f"{folder}{os.sep}"
    return any(own.startswith(f"{one}{os.sep}") or f"{one}{os.sep}".startswith(own) for one in known)


def images_below(top: str) -> list[str]:
    """The images in and below a folder, in at most `MOST_FOLDERS` folders; except hidden ones."""
    return [
        f"{folder}{os.sep}{name}"
        for folder, names in _below(top)
        for name in sorted(names)
        if is_image(name) and name[0] != "."
    ]


def state_below(top: str) -> bytes:
    """A value that changes when a file is added to or removed from a folder or one below it."""
    times: list[str] = []
    for folder, _ in _below(top):
        try:
            status = os.stat(folder)  # noqa: PTH116 - as elsewhere here
            times.append(f"{folder}\0{status.st_mtime_ns}\0{status.st_ctime_ns}")
        except OSError:  # it was removed meanwhile
            times.append(folder)
    return os.fsencode("\0".join(times))


def _below(top: str) -> Iterator[tuple[str, list[str]]]:
    """A folder and those below it, except hidden ones, with the names of the files in each."""
    for count, (folder, below, names) in enumerate(os.walk(top)):
        below[:] = sorted(name for name in below if name[0] != ".") if count < MOST_FOLDERS else []
        yield folder, names


DEEPEST = 6
"""How deep folders are searched: the root may be a whole disk."""
SHALLOW = 3
"""Folders so near to the root of a disk are not searched, unless data.yaml lies there."""
ENOUGH = 0.5
"""A folder is worth naming if it has a label file for this share of the images."""
_TRIED = 3
_LEAST_NUMBERS = 3


def find_labels(images: Sequence[str], roots: Sequence[str], taken: Set[str] = frozenset()) -> dict[str, Any]:
    """Where label files lie that are named as most of some images; nothing if there are none.

    Args:
        images: images of which none has a label file.
        roots: folders of the dataset; the first one above the images is searched, else what lies beside the images.
        taken: label files that belong to other images.

    Returns:
        `folder`: the folder; of several the one above them. `files`: how many .txt files are in it. `matching`: how
        many of them are named as one of the images. `repeated`: how many of the names are those of several images each.
        `capitals`: folders of images or labels that are written with a capital, which Ultralytics does not know.
        `nameless`: whether the images lie in no folder `images`, so that their labels are looked for beside them.
        `above`: whether it is above the folder in which Ultralytics looks: the images lie in folders of their own.
    """
    home = os.path.commonpath([folder_of(image) for image in images])
    above = [root for root in roots if root != os.sep and f"{home}{os.sep}".startswith(f"{root}{os.sep}")]
    if not above and len(Path(home).parts) <= SHALLOW:
        return {}  # the images lie here and there on the disk
    top = above[0] if above else folder_of(home)
    stems = Counter(_stem(image) for image in images)
    wanted = folder_of(label_path(images[0]))
    found: dict[str, tuple[int, list[str]]] = {}
    for folder, texts in _texts(top):
        matching = [text for text in texts if text[:-4] in stems and f"{folder}{os.sep}{text}" not in taken]
        if matching:
            found[folder] = len(texts), matching
    if not found:
        return {}
    best = max(found, key=lambda folder: (len(found[folder][1]), len(os.path.commonpath([folder, wanted]))))
    folders = [best] if len(found[best][1]) >= ENOUGH * len(stems) else sorted(found)
    names = {name for folder in folders for name in found[folder][1]}
    if len(names) < ENOUGH * len(stems) or not any(_is_label(f"{f}{os.sep}{found[f][1][0]}") for f in folders[:_TRIED]):
        return {}
    folder = os.path.commonpath(folders)
    return {
        "folder": folder,
        "files": sum(found[one][0] for one in folders),
        "matching": len(names),
        "capitals": _capitals(home, folder),
        "nameless": f"{os.sep}images{os.sep}" not in images[0],
        "above": f"{wanted}{os.sep}".startswith(f"{folder}{os.sep}") and folder != wanted,
        "repeated": sum(stems[name[:-4]] > 1 for name in names),
    }


def _stem(path: str) -> str:
    """The name of a file without its suffix."""
    return path.rpartition(os.sep)[2].rpartition(".")[0]


def _texts(top: str) -> Iterator[tuple[str, list[str]]]:
    """The folders below and with `top` that hold .txt files, and their names; except hidden ones and links."""
    waiting = [(top, 0)]
    for _ in range(MOST_FOLDERS):
        if not waiting:
            return
        folder, depth = waiting.pop(0)
        texts = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".txt"):
                        texts += [entry.name] if entry.is_file() else []  # a pipe would be waited for
                    elif depth < DEEPEST and entry.name[0] != "." and entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
        except OSError:
            continue
        if texts:
            yield folder, sorted(texts)


def _is_label(path: str) -> bool:
    """Whether a text file looks like a label file: empty, or its first row is numbers."""
    try:
        row = ANYWHERE.read(path, 4096).decode("utf-8", "replace").strip().partition("\n")[0].split()
        return len([float(token) for token in row]) >= _LEAST_NUMBERS or not row
    except (OSError, ValueError):
        return False


def _capitals(*paths: str) -> tuple[str, ...]:
    """Folders in paths that are `images` or `labels` but for their capitals."""
    names = dict.fromkeys(name for path in paths for name in Path(path).parts)
    return tuple(name for name in names if name.lower() in ("images", "labels") and name != name.lower())
