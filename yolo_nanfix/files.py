"""Files and folders that are not finished yet: beside their places, until they take them in one step.

A process that is killed leaves them. Their names tell the machine and the process, and each is locked as long as its
process lives, so that the next one that writes there knows what is dead and clears it, and touches nobody else's work.
Where a disk knows no locks, or another machine (or this one before it was started anew) wrote, age decides.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import count
from pathlib import Path

OLD = 24 * 3600
"""Seconds after which a leftover is cleared of which it cannot be told whether its process lives."""
_NAME = re.compile(r"\.(.*)\.nanfix-([0-9a-f]{8})-\d+-\d+\.(?:tmp|old)", re.DOTALL)
_LONGEST = 100
_numbers = count()


@contextmanager
def file(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """A new, empty file beside `path` to write to; at the end of the block it takes the place of `path` in one step.

    What dead processes left of the same file is cleared first.

    Args:
        path: where the content belongs.
        mode: permission bits, less those of the umask.

    Raises:
        OSError: it cannot be written; then nothing is left behind, and `path` is as it was.
    """
    clear(path.parent, of=path.name)
    with _made(path, mode) as fresh:
        yield fresh
        fresh.replace(path)


@contextmanager
def folder(path: Path, mode: int = 0o777) -> Iterator[Path]:
    """A new folder beside `path`, which is removed at the end of the block unless it has another name by then.

    Raises:
        OSError: it cannot be made.
    """
    clear(path.parent, of=path.name)
    with _made(path, mode, is_folder=True) as fresh:
        yield fresh


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    """While the block puts something new at `path`, what stands there waits beside it.

    At the end it is removed, or comes back if there is nothing new; `waiting` finds it after a kill.

    Raises:
        OSError: it cannot be moved.
    """
    if not os.path.lexists(path):
        yield
        return
    old, descriptor = path.with_name(f".{_short(path.name)}.{_ours()}.old"), _folder(path)
    try:
        with suppress(BlockingIOError):
            _lock(descriptor)
        path.rename(old)
        yield
    finally:
        if os.path.lexists(path):
            _remove(old)
        elif os.path.lexists(old):
            old.rename(path)
        if descriptor >= 0:
            os.close(descriptor)


def waiting(path: Path) -> Path | None:
    """What a dead process had moved away from `path` and put nothing in its place, or None."""
    if os.path.lexists(path):
        return None
    return next((entry for entry in _dead(path.parent, path.name) if entry.suffix == ".old"), None)


def clear(parent: Path, of: str | None = None) -> int:
    """Remove what dead processes left in a folder; this never raises.

    Args:
        parent: the folder; what is below it is not looked at.
        of: only what was to become the file or folder of this name.

    Returns:
        How many files and folders were removed.
    """
    return sum(_remove(path) for path in _dead(parent, of))


def _remove(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
    return not os.path.lexists(path)


def _dead(parent: Path, of: str | None) -> Iterator[Path]:
    """What dead processes left in a folder, each locked while it is looked at."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if entry.name[:1] == "." and ".nanfix-" in entry.name]
    except OSError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or (of is not None and match[1] != _short(of)):
            continue
        try:
            descriptor = _opened(parent / name)
        except OSError:
            continue
        try:
            if _is_dead(descriptor, parent / name, is_ours=match[2] == machine()):
                yield parent / name
        finally:
            os.close(descriptor)


def _is_dead(descriptor: int, path: Path, *, is_ours: bool) -> bool:
    """Whether the process that made it is dead; it is locked then, so that no other one takes it for dead, too."""
    status = os.fstat(descriptor)
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        return False
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        return False
    try:
        known = _lock(descriptor) and is_ours
    except BlockingIOError:
        return False
    if not known and time.time() - status.st_mtime < OLD:
        return False
    return _stands(descriptor, path)


def _opened(path: Path) -> int:
    """A file or folder, opened so that it can be locked.

    Raises:
        OSError: it cannot be opened, or is a link.
    """
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, os.O_RDWR | flags)
    except IsADirectoryError:
        return os.open(path, os.O_RDONLY | flags)


def _lock(descriptor: int) -> bool:
    """Lock a file or folder; False where the disk or the system has no locks.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except (ImportError, OSError):
        return False
    return True


def _stands(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to what was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


@contextmanager
def _made(path: Path, mode: int, *, is_folder: bool = False) -> Iterator[Path]:
    """A new file or folder beside `path` under a name of this process, locked; it is removed at the end."""
    fresh, descriptor = path, -1
    try:
        for _ in range(9):
            fresh = path.with_name(f".{_short(path.name)}.{_ours()}.tmp")
            if is_folder:
                fresh.mkdir(mode)
                descriptor = _folder(fresh)
            else:
                descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
            with suppress(BlockingIOError):  # one that clears took it for dead before it was locked
                _lock(descriptor)
                if descriptor < 0 or _stands(descriptor, fresh):
                    break
        else:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(fresh))
        yield fresh
    finally:
        if fresh != path and os.path.lexists(fresh):
            _remove(fresh)
        if descriptor >= 0:
            os.close(descriptor)


def _folder(path: Path) -> int:
    try:
        return _opened(path)
    except OSError:  # Windows opens none
        return -1


def _ours() -> str:
    return f"nanfix-{machine()}-{os.getpid()}-{next(_numbers)}"


@lru_cache(maxsize=1)
def machine() -> str:
    """Eight hex digits of this machine since it was started: containers on it have the same."""
    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        known = platform.node()
    return hashlib.sha256(known.encode()).hexdigest()[:8]


def _short(name: str) -> str:
    """A name, cut so that what is put around it still fits into a name."""
    return os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore")
