"""Text handling of paths, which is asked for every file: no `Path` objects."""

from __future__ import annotations

import os


def label_path(image: str) -> str:
    """Where Ultralytics looks for labels: the last folder `images` becomes `labels`, the suffix .txt."""
    head, found, tail = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{head}{os.sep}labels{os.sep}{tail}" if found else image
    return path.rpartition(".")[0] + ".txt"


def folder_of(path: str) -> str:
    """The folder part of a path."""
    return path.rpartition(os.sep)[0] or (os.sep if path.startswith(os.sep) else os.curdir)
