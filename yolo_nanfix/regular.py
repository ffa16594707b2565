"""Opens regular files, and within given folders only: what comes from anybody may hold links, pipes and devices.

All that ends in a file which is passed on (handoffs, pages) opens what a dataset or a run names through `Within`, so
that nothing of this machine but the dataset gets there. A hard link cannot be told from a file: it is one, and nothing
is said of it; an archive that is unpacked cannot bring one to a file that it does not hold itself.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import BinaryIO

SYSTEM = ("/proc", "/sys")
"""Folders in which the system answers as if there were files: they look regular, and tell of this machine."""
_READ = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that takes the place of the file meanwhile is not waited for
    | getattr(os, "O_NOCTTY", 0)
)


class Refusal(str, Enum):
    """Why a file that is there is not opened; the values are what to call it."""

    FOLDER = "a folder"
    DEVICE = "a device"
    PIPE = "a pipe"
    SOCKET = "a socket"
    SYSTEM = "a file of the system"
    LINK = "a link that leads elsewhere"
    OUTSIDE = "a file elsewhere"
    MOVED = "another file than a moment ago"
    LARGE = "far too large"


class NotRegular(OSError):  # noqa: N818 - it says what the file is
    """A file is not opened; an OSError, so that whoever bears files which cannot be read bears this one, too.

    Attributes:
        refusal: why.
    """

    def __init__(self, path: str | os.PathLike[str], refusal: Refusal) -> None:
        """`path` is the file as it was named."""
        super().__init__(errno.EINVAL, f"not opened: it is {refusal.value}", os.fspath(path))
        self.refusal = refusal


class Within:
    """The folders from which files may be opened."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]] = (), *, follow_links: bool = False) -> None:
        """Take the folders as they are on disk, links in their own paths resolved.

        Args:
            folders: all below them may be opened.
            follow_links: files elsewhere may be opened, too; but nothing that is not a regular file.
        """
        self.folders = tuple(dict.fromkeys(_real(folder) for folder in folders))
        self.follow_links = follow_links

    def holds(self, path: str | os.PathLike[str]) -> bool:
        """Whether the file that a path leads to, all links resolved, lies in one of the folders."""
        return any(inside(_real(path), folder) for folder in self.folders)

    def hold(self, paths: Iterable[str]) -> list[bool]:
        """The same of many paths, faster: links are looked for once a folder, and in the last part of each path."""
        real: dict[str, str] = {}
        found = []
        for path in paths:
            folder, name = os.path.split(path)
            if folder not in real:
                real[folder] = _real(folder)
            place = os.path.join(real[folder], name)  # noqa: PTH118
            place = _real(path) if name in ("", "..") or os.path.islink(place) else place  # noqa: PTH114
            found.append(any(inside(place, one) for one in self.folders))
        return found

    def refusal(self, path: str | os.PathLike[str]) -> Refusal | None:
        """Why `open` would refuse what is at a path, without opening it; None if it would not.

        Raises:
            OSError: nothing is there, or it may not be looked at.
            ValueError: it can be no path.
        """
        real = _real(path)
        if not (self.follow_links or any(inside(real, folder) for folder in self.folders)):
            named = os.path.abspath(path)  # noqa: PTH100 - without following links
            led = any(inside(named, folder) for folder in self.folders) or Path(path).is_symlink()
            return Refusal.LINK if led else Refusal.OUTSIDE
        return not_regular(real)

    def open(self, path: str | os.PathLike[str]) -> BinaryIO:
        """Open a regular file for reading.

        It never waits for a pipe, and never opens a device. What was judged is what is opened, also if links change
        meanwhile.

        Raises:
            NotRegular: it is none, or lies elsewhere.
            OSError: nothing is there, or it may not be read.
            ValueError: it can be no path.
        """
        refused = self.refusal(path)
        if refused is not None:
            raise NotRegular(path, refused)
        real = _real(path)
        number = os.open(real, _READ)
        try:
            opened = os.fstat(number)
            refused = _kind(opened.st_mode)
            if refused is None and (_real(path) != real or not os.path.samestat(opened, os.lstat(real))):
                refused = Refusal.MOVED
            if refused is not None:
                raise NotRegular(path, refused)
            return os.fdopen(number, "rb")
        except BaseException:
            os.close(number)
            raise

    def read(self, path: str | os.PathLike[str], most: int = -1) -> bytes:
        """The bytes of a regular file, at most so many; raises as `open` does."""
        with self.open(path) as stream:
            return stream.read(most)


ANYWHERE = Within(follow_links=True)
"""Opens regular files wherever they are: for what the user names."""


def not_regular(path: str | os.PathLike[str]) -> Refusal | None:
    """What is at a path if it is no regular file, links followed; also what only looks like one, as in `/proc`.

    Raises:
        OSError: nothing is there, or it may not be looked at.
        ValueError: it can be no path.
    """
    if any(inside(_real(path), folder) for folder in SYSTEM):
        return Refusal.SYSTEM
    return _kind(os.stat(path).st_mode)  # noqa: PTH116 - asked for each file


def inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or below it, as text: both absolute and without links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _kind(mode: int) -> Refusal | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return Refusal.FOLDER
    if stat.S_ISFIFO(mode):
        return Refusal.PIPE
    return Refusal.SOCKET if stat.S_ISSOCK(mode) else Refusal.DEVICE


def _real(path: str | os.PathLike[str]) -> str:
    return os.path.realpath(path)
