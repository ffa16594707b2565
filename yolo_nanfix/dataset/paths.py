"""Text handling of paths, which is asked for every file: no `Path` objects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby

NO_LABELS = ("classes.txt", "labels.txt", "train.txt", "val.txt", "test.txt")
"""Text files that tools put beside labels: lists of classes or images."""


def label_path(image: str) -> str:
    """Where Ultralytics looks for labels: the last folder `images` becomes `labels`, the suffix .txt."""
    head, found, tail = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{head}{os.sep}labels{os.sep}{tail}" if found else image
    return path.rpartition(".")[0] + ".txt"


def by_folder(paths: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What stands before the names of paths, and the names, those of one folder that follow each other together."""
    start = 0
    for head, same in groupby([path[: path.rfind(os.sep) + 1] for path in paths]):
        stop = start + len(list(same))
        yield head, [path[len(head) :] for path in paths[start:stop]]
        start = stop


def folder_of(path: str) -> str:
    """The folder part of a path."""
    return path.rpartition(os.sep)[0] or (os.sep if path.startswith(os.sep) else os.curdir)


def folders_of(paths: Sequence[str]) -> set[str]:
    """The folder parts of many paths."""
    return {folder_of(head) for head, _ in by_folder(paths)}


def labels_beside(folder: str) -> str:
    """The folder in which Ultralytics looks for the labels of the images in a folder."""
    return folder_of(label_path(f"{folder}{os.sep}x.jpg"))
