"""What is done to files: looked at, written in one step, moved. Every answer about a file is one clear line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from yolo_nanfix.linting.autofix.open_folders import Folder, held
from yolo_nanfix.linting.autofix.row_edits import Left

Stamp = tuple[int, ...]
_CHUNK = 1 << 20
LARGEST = 1 << 28
"""Bytes of a file that is changed at most: it is held in memory, and kept for the undo."""


class Seen(NamedTuple):
    """A file as it was met: its bytes, permission bits, time of change, and what tells it from any other state."""

    content: bytes
    mode: int
    mtime_ns: int
    stamp: Stamp


class Spot(NamedTuple):
    """A name in a folder that is held open; there may be a file of that name or not."""

    folder: Folder
    name: str


def digest(content: bytes) -> str:
    """SHA-256 of the bytes, as hex."""
    return hashlib.sha256(content).hexdigest()


def digest_at(spot: Spot) -> str | None:
    """SHA-256 of what is at a spot; None if nothing is, something no file has for links, folders and the like."""
    try:
        before = spot.folder.status(spot.name)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(before.st_mode):
        return "not a file"
    state = hashlib.sha256()
    with open(spot.folder.open(spot.name, os.O_RDONLY), "rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def stamp(spot: Spot) -> Stamp | None:
    """Device, number, size and times of a file; None if nothing is there."""
    try:
        return _stamp(spot.folder.status(spot.name))
    except (OSError, ValueError):
        return None


def _stamp(s: os.stat_result) -> Stamp:
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def _read(spot: Spot) -> tuple[bytes, os.stat_result]:
    with open(spot.folder.open(spot.name, os.O_RDONLY), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Left("is not a regular file")
        return stream.read(), status


def look(path: str, since_ns: int | None, *, rewrite: bool) -> Seen:
    """Read a file that is to be changed.

    Args:
        path: the file, links among its folders resolved.
        since_ns: it must not have changed after this time.
        rewrite: whether its bytes are to change, or only its place.

    Raises:
        Left: it may or can not be changed; the message says why.
    """
    folder, name = os.path.split(path)
    try:
        with held(folder) as here:
            before = here.status(name)
            _check(folder, before, since_ns, rewrite=rewrite)
            try:
                content, status = _read(Spot(here, name))
            except OSError as error:
                raise Left(f"cannot be read ({say(error)})") from None
            after = stamp(Spot(here, name))
    except FileNotFoundError:
        raise Left("vanished since the lint") from None
    except (OSError, ValueError) as error:
        raise Left(f"cannot be looked at ({say(error)})") from None
    if not _stamp(before) == _stamp(status) == after:
        raise Left("changed while it was read; lint again")
    return Seen(content, stat.S_IMODE(before.st_mode), before.st_mtime_ns, _stamp(before))


def _check(folder: str, status: os.stat_result, since_ns: int | None, *, rewrite: bool) -> None:
    """Whether a file may be changed; raises `Left` if not."""
    if stat.S_ISLNK(status.st_mode):
        raise Left("is a symbolic link; fix the file that it points to")
    if status.st_size > LARGEST:
        raise Left(f"is larger than {LARGEST >> 20} MB, more than is kept for an undo")
    if not stat.S_ISREG(status.st_mode):
        raise Left("is not a regular file")
    if since_ns is not None:
        _unchanged(status, since_ns, time.time_ns())
    if not status.st_mode & 0o222:
        raise Left("is read-only")
    if not os.access(folder or ".", os.W_OK | os.X_OK):
        raise Left("is in a read-only folder")
    if rewrite and status.st_nlink > 1:
        raise Left(f"has {status.st_nlink} names (hard links); a fix would part them")
    if rewrite and hasattr(os, "geteuid") and os.geteuid() not in (0, status.st_uid):
        raise Left("belongs to another user")


def _unchanged(status: os.stat_result, since_ns: int, now_ns: int) -> None:
    """Whether a file is as it was at a time, by its times; raises `Left` if not.

    Any program may date a file to the future, which tells nothing. The time of the last change of its entry is the
    system's own: in the future it is where a clock is wrong, or the disk keeps but one time.
    """
    if any(since_ns < time_ns <= now_ns for time_ns in (status.st_mtime_ns, status.st_ctime_ns)):
        raise Left("changed since the lint; lint again")
    if status.st_ctime_ns > max(since_ns, now_ns):
        raise Left(
            "changed in the future, by the clock of this machine, so whether it changed since the lint cannot be told; "
            "set the clock right, or touch the file, and lint again"
        )


def put(
    spot: Spot,
    content: bytes,
    mode: int,
    temp: str,
    *,
    mtime_ns: int | None = None,
    like: Spot | None = None,
    instead_of: Stamp | None = None,
) -> None:
    """Write a file in one step: to `temp` in the same folder, flushed to the disk, which then takes its place.

    Args:
        spot: where.
        content: its new bytes.
        mode: permission bits.
        temp: name of the temporary file.
        mtime_ns: time of change to set; by default now.
        like: a file whose owner and extended attributes are taken over, if it is there.
        instead_of: what tells the file whose place it takes; None: it is written where nothing is.

    Raises:
        Left: another file is there than the one whose place it is to take; nothing was changed.
        OSError: the same; FileExistsError if something is where nothing should be.
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
            raise Left("changed since the lint; lint again")
        else:
            folder.replace(temp, spot.name)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.unlink(temp)
        raise


def _adopt(like: Spot, number: int) -> None:
    """Give an open file the owner and the extended attributes of another one, as far as that is there and allowed."""
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


def move(source: Spot, target: Spot, content: Callable[[], bytes], mode: int, mtime_ns: int, temp: str) -> None:
    """Move a file to where nothing is; across disks its bytes are copied first.

    Args:
        source: where it is.
        target: where it goes.
        content: gives its bytes.
        mode, mtime_ns: its permission bits and time of change.
        temp: name of the temporary file.

    Raises:
        OSError: it is where it was; FileExistsError if something is where it should go.
    """
    try:
        target.folder.take(source.folder, source.name, target.name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        put(target, content(), mode, temp, mtime_ns=mtime_ns, like=source)
        source.folder.unlink(source.name)


def sync_folders(folders: set[str]) -> None:
    """Flush the entries of folders to the disk, where the system can."""
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
