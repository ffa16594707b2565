"""Which files there are: each folder is listed once, with the size and time of every file in it."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.suffixes import is_image

LOOPS = 41
"""A folder is met so often when a link in it leads back to it: the system then says that the link goes round."""


class Stamp(NamedTuple):
    """What tells whether a file has changed: bytes, nanoseconds, device and number on it."""

    size: int
    mtime_ns: int
    device: int
    inode: int


NOTHING = Stamp(0, 0, 0, 0)
"""The stamp of a file that does not exist, or is not a regular one."""


class Folders:
    """Folders that were listed, each once."""

    def __init__(self) -> None:
        """None yet."""
        self._files: dict[str, dict[str, Stamp]] = {}
        self._below: dict[str, list[tuple[str, tuple[int, int]]]] = {}

    def files(self, folder: str) -> dict[str, Stamp]:
        """The files in a folder by their names; those that are not regular have the stamp of nothing."""
        if folder not in self._files:
            self._list(folder)
        return self._files[folder]

    def stamp(self, path: str) -> Stamp:
        """The stamp of one file."""
        folder, _, name = path.rpartition(os.sep)
        return self.files(folder or os.sep if path.startswith(os.sep) else folder).get(name, NOTHING)

    def images(self, folder: str) -> list[str]:
        """All paths under a folder that have the suffix of an image, as `glob("**/*.*", recursive=True)` finds them.

        Links to folders are followed, and so are links that go round, as far as the system does; several of them in
        one folder, which Ultralytics would follow for ever, are followed `LOOPS` times.
        """
        found: list[str] = []
        waiting = [folder]
        met: Counter[tuple[int, int]] = Counter()
        while waiting:
            here = waiting.pop()
            names = self.files(here)
            found += [f"{here}{os.sep}{name}" for name in names if is_image(name) and not name.startswith(".")]
            for name, identity in self._below[here]:
                met[identity] += 1
                if met[identity] <= LOOPS:
                    waiting.append(f"{here}{os.sep}{name}")
        return found

    def _list(self, folder: str) -> None:
        files: dict[str, Stamp] = {}
        below: list[tuple[str, tuple[int, int]]] = []
        try:
            with os.scandir(folder or os.curdir) as entries:
                for entry in entries:
                    try:
                        s = entry.stat()
                    except (OSError, ValueError):  # a broken link, or one that goes round
                        files[entry.name] = NOTHING
                        continue
                    if stat.S_ISREG(s.st_mode):
                        files[entry.name] = Stamp(s.st_size, s.st_mtime_ns, s.st_dev, s.st_ino)
                    else:
                        files[entry.name] = NOTHING
                        if stat.S_ISDIR(s.st_mode) and not entry.name.startswith("."):
                            below.append((entry.name, (s.st_dev, s.st_ino)))
        except (OSError, ValueError):  # no such folder, or one that may not be read: it holds nothing for us
            pass
        self._files[folder], self._below[folder] = files, below


def list_images(paths: Sequence[Path], folders: Folders) -> list[str]:
    """The image paths that folders and .txt lists name, sorted; repeated where they are named twice.

    Raises:
        DataError: if a list cannot be read as UTF-8 text.
    """
    found: list[str] = []
    for path in paths:
        if path.is_dir():
            found += folders.images(str(path))
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig").strip().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a folder and cannot be read as a list of images: {error}") from error
        listed = (f"{path.parent}{os.sep}{line[2:]}" if line.startswith("./") else line for line in lines)
        found += [file for line in listed if is_image(file := line.replace("/", os.sep))]
    return sorted(found)
