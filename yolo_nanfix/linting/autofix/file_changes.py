"""Reads, writes and moves files atomically, in folders that are held open meanwhile.

Links that others put into the path of a held folder have no effect. Each refusal is a `Left` with its reason.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.autofix.reasons import Left, Why

Stamp = tuple[int, ...]
_READ_AT_ONCE = 1 << 20
LARGEST_CHANGED = 1 << 28
"""Largest file in bytes that is changed: it is held in memory, and stored for undo."""
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
        """`number` is its file descriptor; None on systems without `dir_fd`."""
        self.path, self._number = path, number

    def _at(self, name: str) -> str:
        return name if self._number is not None else os.path.join(self.path, name)  # noqa: PTH118

    def status(self, name: str) -> os.stat_result:
        """The status of a file; raises OSError if it does not exist."""
        return os.stat(self._at(name), dir_fd=self._number, follow_symlinks=False)

    def has(self, name: str) -> bool:
        """Whether anything has this name."""
        try:
            self.status(name)
        except OSError:
            return False
        return True

    def open(self, name: str, flags: int) -> int:
        """Open a file, never a link, without waiting for a pipe."""
        return os.open(self._at(name), flags | _FILE, 0o600, dir_fd=self._number)

    def unlink(self, name: str) -> None:
        """Remove a name."""
        os.unlink(self._at(name), dir_fd=self._number)

    def replace(self, name: str, other: str) -> None:
        """Replace a file by another one of the folder."""
        os.replace(self._at(name), self._at(other), src_dir_fd=self._number, dst_dir_fd=self._number)

    def take(self, source: Folder, name: str, other: str) -> None:
        """Move a file here, to a free name; never overwrites. After an OSError it is where it was."""
        ends = {"src_dir_fd": source._number, "dst_dir_fd": self._number}
        try:
            os.link(source._at(name), self._at(other), follow_symlinks=False, **ends)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError) as error:  # another disk, or one without hard links
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
        """Make a folder, if it does not exist."""
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
        path: its path, all links resolved.

    Raises:
        Left: its path contains a link now.
        OSError: it does not exist, or is no folder.
    """
    number = os.open(path, _FOLDER) if _HELD else None
    try:
        there = os.stat(path) if number is None else os.fstat(number)  # noqa: PTH116
        if not stat.S_ISDIR(there.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if os.path.realpath(path) != path or not os.path.samestat(there, os.lstat(path)):
            raise Left(Why.BEHIND_LINK)
        yield Folder(path, number)
    finally:
        if number is not None:
            os.close(number)


def make(path: str) -> None:
    """Make a folder, with missing parents; raises as `held` does."""
    missing = []
    while not os.path.lexists(path):
        path, name = os.path.split(path)
        missing.append(name)
    for name in reversed(missing):
        with held(path) as parent:
            parent.mkdir(name)
        path = os.path.join(path, name)  # noqa: PTH118


class Seen(NamedTuple):
    """A file as it was read: bytes, permission bits, modification time, and a stamp that changes when it does."""

    content: bytes
    mode: int
    mtime_ns: int
    stamp: Stamp


class Edit(NamedTuple):
    """One file that is to change: `seen` at `path` becomes `after` at `target` (the same path unless it is moved).

    Attributes:
        done: the findings that it fixes.
        what: the reason, in a word or two.
        group: of edits with one group all are done or none: the code of a finding about the whole set, or a label file
            that goes to quarantine with its images. Empty for a single file.
        whole: whether it belongs to a fix of the whole set.
    """

    path: str
    target: str
    seen: Seen
    after: bytes
    done: tuple[Finding, ...]
    what: str
    group: str = ""
    whole: bool = False


class FolderEntry(NamedTuple):
    """A name in a folder that is held open; the file may exist or not."""

    folder: Folder
    name: str


def digest(content: bytes) -> str:
    """SHA-256 of the bytes, as hex."""
    return hashlib.sha256(content).hexdigest()


def digest_at(spot: FolderEntry) -> str | None:
    """SHA-256 of a file; None if it does not exist, `not a file` for links, folders and the like."""
    try:
        before = spot.folder.status(spot.name)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(before.st_mode):
        return "not a file"
    state = hashlib.sha256()
    with open(spot.folder.open(spot.name, os.O_RDONLY), "rb") as stream:
        while chunk := stream.read(_READ_AT_ONCE):
            state.update(chunk)
    return state.hexdigest()


def stamp(spot: FolderEntry) -> Stamp | None:
    """Device, inode, size and times of a file; None if it does not exist."""
    try:
        return _stamp_of(spot.folder.status(spot.name))
    except (OSError, ValueError):
        return None


def _stamp_of(s: os.stat_result) -> Stamp:
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def _read_at(spot: FolderEntry) -> tuple[bytes, os.stat_result]:
    with open(spot.folder.open(spot.name, os.O_RDONLY), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Left(Why.NOT_REGULAR)
        return stream.read(), status


def look(path: str, since_ns: int | None, *, rewrite: bool) -> Seen:
    """Read a file that is to be changed.

    Args:
        path: the file, links among its folders resolved.
        since_ns: it must not have changed after this time.
        rewrite: whether its bytes are to change, or only its path.

    Raises:
        Left: it must not, or cannot, be changed.
    """
    folder, name = os.path.split(path)
    try:
        with held(folder) as here:
            before = here.status(name)
            _check_status(folder, before, since_ns, rewrite=rewrite)
            try:
                content, status = _read_at(FolderEntry(here, name))
            except OSError as error:
                raise Left(Why.CANNOT_BE_READ, error=say(error)) from None
            after = stamp(FolderEntry(here, name))
    except FileNotFoundError:
        raise Left(Why.VANISHED) from None
    except (OSError, ValueError) as error:
        raise Left(Why.CANNOT_BE_LOOKED_AT, error=say(error)) from None
    if not _stamp_of(before) == _stamp_of(status) == after:
        raise Left(Why.CHANGED_MEANWHILE)
    return Seen(content, stat.S_IMODE(before.st_mode), before.st_mtime_ns, _stamp_of(before))


def _check_status(folder: str, status: os.stat_result, since_ns: int | None, *, rewrite: bool) -> None:
    """Raise `Left` if a file must not be changed."""
    if stat.S_ISLNK(status.st_mode):
        raise Left(Why.LINK)
    if status.st_size > LARGEST_CHANGED:
        raise Left(Why.TOO_LARGE, megabytes=LARGEST_CHANGED >> 20)
    if not stat.S_ISREG(status.st_mode):
        raise Left(Why.NOT_REGULAR)
    if since_ns is not None:
        _unchanged(status, since_ns, time.time_ns())
    if not status.st_mode & 0o222:
        raise Left(Why.READ_ONLY)
    if not os.access(folder or ".", os.W_OK | os.X_OK):
        raise Left(Why.READ_ONLY_FOLDER)
    if rewrite and status.st_nlink > 1:
        raise Left(Why.HARD_LINKS, names=status.st_nlink)
    if rewrite and hasattr(os, "geteuid") and os.geteuid() not in (0, status.st_uid):
        raise Left(Why.OTHER_USER)


def _unchanged(status: os.stat_result, since_ns: int, now_ns: int) -> None:
    """Raise `Left` if a file has changed since a time, by its own times.

    Any program can set a modification time in the future, so that tells nothing. The system sets the time of the last
    change of the inode: it is in the future if a clock is wrong, or if the disk stores only one time.
    """
    if any(since_ns < time_ns <= now_ns for time_ns in (status.st_mtime_ns, status.st_ctime_ns)):
        raise Left(Why.CHANGED)
    if status.st_ctime_ns > max(since_ns, now_ns):
        raise Left(Why.CHANGED_LATER)


def put_file(
    spot: FolderEntry,
    content: bytes,
    mode: int,
    temp: str,
    *,
    mtime_ns: int | None = None,
    like: FolderEntry | None = None,
    instead_of: Stamp | None = None,
) -> None:
    """Write a file atomically: to `temp` in the same folder, flushed to the disk, which then replaces it.

    Args:
        spot: folder and name.
        content: its new bytes.
        mode: permission bits.
        temp: name of the temporary file.
        mtime_ns: modification time to set; by default now.
        like: a file whose owner and extended attributes are copied, if it exists.
        instead_of: the stamp of the file that it replaces; None if there must be none.

    Raises:
        Left: the file to replace has changed; nothing was changed.
        OSError: nothing was changed; FileExistsError if there is a file where none must be.
    """
    folder = spot.folder
    stream = open(folder.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")  # noqa: SIM115 - closed below
    try:
        with stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            if like is not None:
                _adopt(like, stream.fileno())
        now = time.time_ns()
        folder.set(temp, mode, now if mtime_ns is None else mtime_ns, now)
        if instead_of is None:
            folder.take(folder, temp, spot.name)
        elif stamp(spot) != instead_of:
            raise Left(Why.CHANGED)
        else:
            folder.replace(temp, spot.name)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.unlink(temp)
        raise


def _adopt(like: FolderEntry, number: int) -> None:
    """Copy owner and extended attributes of another file to an open one, as far as that exists and is allowed."""
    try:
        source = like.folder.open(like.name, os.O_RDONLY)
    except OSError:
        return
    try:
        owner = os.fstat(source)
        with contextlib.suppress(AttributeError, PermissionError):
            os.fchown(number, owner.st_uid, owner.st_gid)
        with contextlib.suppress(AttributeError, OSError):
            for name in os.listxattr(source):
                with contextlib.suppress(OSError):
                    os.setxattr(number, name, os.getxattr(source, name))
    finally:
        os.close(source)


def move(
    source: FolderEntry, target: FolderEntry, content: Callable[[], bytes], mode: int, mtime_ns: int, temp: str
) -> None:
    """Move a file to a free name; across disks its bytes are copied first.

    Args:
        source, target: folder and name, before and after.
        content: returns its bytes.
        mode, mtime_ns: its permission bits and modification time.
        temp: name of the temporary file.

    Raises:
        OSError: it was not moved; FileExistsError if the target exists.
    """
    try:
        target.folder.take(source.folder, source.name, target.name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        put_file(target, content(), mode, temp, mtime_ns=mtime_ns, like=source)
        source.folder.unlink(source.name)


def sync_folders(folders: set[str]) -> None:
    """Flush the entries of folders to the disk, if the system can."""
    for folder in folders:
        with contextlib.suppress(OSError):
            fd = os.open(folder or ".", os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def say(error: BaseException) -> str:
    """One line of an exception."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0] if str(error) else type(error).__name__
