"""What is done to files: looked at, written in one step, moved. Every answer about a file is one clear line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import time
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.fixing.rows import Left


class Seen(NamedTuple):
    """A file as it was met: its bytes, permission bits, time of change, and what tells it from any other state."""

    content: bytes
    mode: int
    mtime_ns: int
    stamp: tuple[int, ...]


def digest(content: bytes) -> str:
    """SHA-256 of the bytes, as hex."""
    return hashlib.sha256(content).hexdigest()


def stamp(path: str) -> tuple[int, ...] | None:
    """Device, number, size and times of a path, links not followed; None if nothing is there."""
    try:
        s = os.lstat(path)
    except (OSError, ValueError):
        return None
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def look(path: str, since_ns: int | None, *, rewrite: bool) -> Seen:
    """Read a file that is to be changed.

    Args:
        path: the file.
        since_ns: it must not have changed after this time.
        rewrite: whether its bytes are to change, or only its place.

    Raises:
        Left: it may or can not be changed; the message says why.
    """
    try:
        before = os.lstat(path)
    except FileNotFoundError:
        raise Left("vanished since the lint") from None
    except (OSError, ValueError) as error:
        raise Left(f"cannot be looked at ({say(error)})") from None
    if stat.S_ISLNK(before.st_mode):
        raise Left("is a symbolic link; fix the file that it points to")
    if not stat.S_ISREG(before.st_mode):
        raise Left("is not a regular file")
    if since_ns is not None and max(before.st_mtime_ns, before.st_ctime_ns) > since_ns:
        raise Left("changed since the lint; lint again")
    if not before.st_mode & 0o222:
        raise Left("is read-only")
    if not os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK):  # noqa: PTH120
        raise Left("is in a read-only folder")
    if rewrite and before.st_nlink > 1:
        raise Left(f"has {before.st_nlink} names (hard links); a fix would part them")
    if rewrite and hasattr(os, "geteuid") and os.geteuid() not in (0, before.st_uid):
        raise Left("belongs to another user")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise Left(f"cannot be read ({say(error)})") from None
    if stamp(path) != (before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns, before.st_ctime_ns):
        raise Left("changed while it was read; lint again")
    seen = stamp(path)
    return Seen(content, stat.S_IMODE(before.st_mode), before.st_mtime_ns, seen or ())


def put(path: str, content: bytes, mode: int, temp: str, *, mtime_ns: int | None = None, like: str = "") -> None:
    """Write a file in one step: to `temp` in the same folder, flushed to the disk, which then takes its place.

    Args:
        path: the file; it may be there or not.
        content: its new bytes.
        mode: permission bits.
        temp: name of the temporary file.
        mtime_ns: time of change to set; by default now.
        like: a file whose owner and extended attributes are taken over, if it is there.

    Raises:
        OSError: nothing was changed.
    """
    aside = os.path.join(os.path.dirname(path), temp)  # noqa: PTH118, PTH120
    try:
        with open(aside, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if like and os.path.lexists(like):
            shutil.copystat(like, aside)
            owner = os.lstat(like)
            with contextlib.suppress(AttributeError, PermissionError):
                os.chown(aside, owner.st_uid, owner.st_gid)
        os.chmod(aside, mode)  # noqa: PTH101
        now = time.time_ns()
        os.utime(aside, ns=(now, now if mtime_ns is None else mtime_ns))
        os.replace(aside, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)  # noqa: PTH108
        raise


def move(source: str, target: str, content: bytes, mode: int, mtime_ns: int, temp: str) -> None:
    """Move a file to where nothing is; across disks its bytes are copied first.

    Raises:
        OSError: it is where it was.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "is there already", target)
    try:
        os.rename(source, target)  # noqa: PTH104
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        put(target, content, mode, temp, mtime_ns=mtime_ns, like=source)
        os.unlink(source)  # noqa: PTH108


def sync_folders(folders: set[str]) -> None:
    """Flush the entries of folders to the disk, where the system can."""
    for folder in folders:
        with contextlib.suppress(OSError):
            fd = os.open(folder or ".", os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def say(error: BaseException) -> str:
    """One line of an exception."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0] if str(error) else type(error).__name__
