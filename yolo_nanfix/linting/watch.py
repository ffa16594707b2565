"""What a dataset looks like from outside, cheap enough to be asked every second: times and sizes of its files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from yolo_nanfix.dataset import bounded, class_lists
from yolo_nanfix.dataset.bounded import LIST_BYTES
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.discover import dataset
from yolo_nanfix.dataset.find_yaml import find_yaml
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import folder_of, labels_beside
from yolo_nanfix.errors import DataError

Stamps = dict[str, tuple[int, ...]]


def stamps(data: str | Path, more: Iterable[Path] = (), root: Path | None = None) -> Stamps:
    """Times of the last changes (ns), one of which nothing sets back, and size of each file of a dataset and of `more`.

    Files that are not there are left out. A data.yaml that cannot be used is watched alone, a folder without one
    with all that is in it. `root` is where images are looked for, as in `LintOptions`.
    """
    found: Stamps = {}
    for file in more:
        _stamp(file, found)
    try:
        config = dataset(data, LintOptions(root=root))
        _stamp(config.yaml_file, found)
        folders = list(_folders(config, found))
        for beside in class_lists.candidates(config):
            _stamp(Path(beside), found)
    except (DataError, OSError, ValueError):
        folders = [os.fspath(data)] if os.path.isdir(data) else []  # noqa: PTH112
        if not folders:
            _stamp(_yaml_of(data), found)
    for folder in dict.fromkeys(folders):
        _walk(folder, found)
    return found


def _yaml_of(data: str | Path) -> Path:
    try:
        return find_yaml(data)
    except DataError:
        return Path(data)


def _folders(config: DataConfig, found: Stamps) -> Iterator[str]:
    """The folders of images and of labels; lists of images are stamped and read for the folders that they name."""
    for path in (path for paths in config.splits.values() for path in paths):
        named = [str(path)]
        if not path.is_dir():
            _stamp(path, found)
            lines = bounded.read(path, LIST_BYTES).decode("utf-8-sig", "replace").splitlines()
            files = (f"{path.parent}{os.sep}{line[2:]}" if line.startswith("./") else line for line in lines)
            named = [folder_of(file) for file in files if os.sep in file]
        for folder in dict.fromkeys(named):
            yield folder
            yield labels_beside(folder)


def _walk(folder: str, found: Stamps) -> None:
    """Stamp all files below a folder; links to folders are not followed, so that a loop of links ends."""
    todo = [folder.rstrip(os.sep) or os.sep]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        _stamp(Path(entry.path), found)
        except (OSError, ValueError):
            continue


def _stamp(file: Path, found: Stamps) -> None:
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return
    found[os.fspath(file)] = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)
