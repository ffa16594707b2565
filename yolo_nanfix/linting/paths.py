"""Text handling of paths, which is asked for every file: no `Path` objects."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence


def label_path(image: str) -> str:
    """Where Ultralytics looks for labels: the last folder `images` becomes `labels`, the suffix .txt."""
    head, found, tail = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{head}{os.sep}labels{os.sep}{tail}" if found else image
    return path.rpartition(".")[0] + ".txt"


def label_paths(images: Sequence[str]) -> list[str]:
    """`label_path` of many images; fast where those of one folder follow each other."""
    found: list[str] = []
    last, labels = None, ""
    for image in images:
        folder, _, name = image.rpartition(os.sep)
        stem = name.rpartition(".")[0]
        if folder != last:
            last, labels = folder, label_path(image).removesuffix(f"{stem}.txt")
        found.append(f"{labels}{stem}.txt")
    return found


def folder_of(path: str) -> str:
    """The folder part of a path."""
    return path.rpartition(os.sep)[0] or (os.sep if path.startswith(os.sep) else os.curdir)


def folders_of(paths: Collection[str]) -> set[str]:
    """The folder parts of many paths."""
    found = {path.rpartition(os.sep)[0] for path in paths}
    if "" in found:
        found = {folder_of(path) for path in paths}
    return found


def labels_beside(folder: str) -> str:
    """The folder in which Ultralytics looks for the labels of the images in a folder."""
    return folder_of(label_path(f"{folder}{os.sep}x.jpg"))
