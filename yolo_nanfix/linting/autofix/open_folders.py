"""Folders that are held open while files in them change: links that are put in their path lead nowhere else."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from yolo_nanfix.linting.autofix.row_edits import Left

_HELD = {os.open, os.stat, os.unlink, os.rename, os.link, os.mkdir} <= os.supports_dir_fd
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = (
    getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that takes the place of a file is not waited for
)


class Folder:
    """A folder that is held open; names are those of files in it, and links among them are not followed."""

    def __init__(self, path: str, number: int | None) -> None:
        """`number` is the open folder; None where the system has no such thing."""
        self.path, self._number = path, number

    def _at(self, name: str) -> str:
        return name if self._number is not None else os.path.join(self.path, name)  # noqa: PTH118

    def status(self, name: str) -> os.stat_result:
        """What is known of a file.

        Raises:
            OSError: it is not there.
        """
        return os.stat(self._at(name), dir_fd=self._number, follow_symlinks=False)

    def has(self, name: str) -> bool:
        """Whether anything is there."""
        try:
            self.status(name)
        except OSError:
            return False
        return True

    def open(self, name: str, flags: int) -> int:
        """Open a file, never a link; it never waits for a pipe."""
        return os.open(self._at(name), flags | _FILE, 0o600, dir_fd=self._number)

    def unlink(self, name: str) -> None:
        """Remove a name."""
        os.unlink(self._at(name), dir_fd=self._number)

    def replace(self, name: str, other: str) -> None:
        """Let a file take the place of another one."""
        os.replace(self._at(name), self._at(other), src_dir_fd=self._number, dst_dir_fd=self._number)

    def take(self, source: Folder, name: str, other: str) -> None:
        """Move a file here, to a name that is free; what holds that name meanwhile is never overwritten.

        Raises:
            OSError: it is where it was.
        """
        ends = {"src_dir_fd": source._number, "dst_dir_fd": self._number}
        try:
            os.link(source._at(name), self._at(other), follow_symlinks=False, **ends)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError) as error:  # on other disks, and on those without hard links
            if self.has(other):
                raise FileExistsError(errno.EEXIST, "is there already", other) from error
            os.rename(source._at(name), self._at(other), **ends)  # noqa: PTH104
        else:
            try:
                source.unlink(name)
            except OSError:
                self.unlink(other)
                raise

    def mkdir(self, name: str) -> None:
        """Make a folder, unless another process just did."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._at(name), dir_fd=self._number)

    def set(self, name: str, mode: int, mtime_ns: int, atime_ns: int) -> None:
        """Give a file permission bits and times."""
        if self._number is None:
            os.chmod(self._at(name), mode)  # noqa: PTH101
            os.utime(self._at(name), ns=(atime_ns, mtime_ns))
            return
        number = self.open(name, os.O_RDONLY)
        try:
            os.fchmod(number, mode)
            os.utime(number, ns=(atime_ns, mtime_ns))
        finally:
            os.close(number)


@contextlib.contextmanager
def held(path: str) -> Iterator[Folder]:
    """Hold a folder open.

    Args:
        path: where it is, all links resolved.

    Raises:
        Left: a link is in its path now.
        OSError: it is not there, or is no folder.
    """
    number = os.open(path, _FOLDER) if _HELD else None
    try:
        there = os.stat(path) if number is None else os.fstat(number)  # noqa: PTH116
        if not stat.S_ISDIR(there.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if os.path.realpath(path) != path or not os.path.samestat(there, os.lstat(path)):
            raise Left("lies behind another link than before; lint again")
        yield Folder(path, number)
    finally:
        if number is not None:
            os.close(number)


def make(path: str) -> None:
    """Make a folder, with those above it, where it is missing; raises as `held` does."""
    missing = []
    while not os.path.lexists(path):
        path, name = os.path.split(path)
        missing.append(name)
    for name in reversed(missing):
        with held(path) as parent:
            parent.mkdir(name)
        path = os.path.join(path, name)  # noqa: PTH118
