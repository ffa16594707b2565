"""Files that tell whether they are as they were written: what is not whole, or not one's own, is as good as none.

A file begins with its length and a hash of its name and of all that follows, so that no flipped bit, no lost end and no
file in the place of another one is taken for what was written. It is read whole, not mapped: nobody can cut it while it
is looked at. The hash has no secret: who may write into the user's cache folder is the user.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from xxhash import xxh3_128_digest

MAGIC = b"nanfix1\n"
BEGIN = len(MAGIC) + 8 + 16
"""Bytes before the content: the magic, the length of the whole file, and the hash; a multiple of 8, as columns want."""
LEFT_SECONDS = 3600
"""A file written aside that is older was left by a process that was killed."""
_PREFIX, _ASIDE = "nanfix-", ".tmp"
_LENGTH = 8


def read(path: Path) -> memoryview | None:
    """The content of a file, which may be written into; None if it is not as `write` left it, or not one's own."""
    if not path.is_absolute():  # without a home the user's folders start where the command stands: in a dataset, say
        return None
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb", buffering=0) as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or not _own(status):
                return None
            begin = stream.read(BEGIN)
            if begin[: len(MAGIC) + _LENGTH] != _begin(status.st_size):
                return None  # before anything of a size that nobody wrote is allocated
            data = memoryview(bytearray(status.st_size - BEGIN))
            at = 0
            while at < len(data) and (count := stream.readinto(data[at:])):
                at += count
    except (OSError, ValueError, MemoryError):
        return None
    return data if at == len(data) and begin[len(MAGIC) + _LENGTH :] == _hash(path, data) else None


def write(path: Path, content: bytes) -> None:
    """Put a file in place, whole.

    Raises:
        OSError: it cannot be written.
    """
    import tempfile

    if not path.is_absolute():
        raise OSError(f"{path} is no place of the user's")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX, suffix=_ASIDE)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(_begin(BEGIN + len(content)) + _hash(path, content))
            stream.write(content)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def tidy(folder: Path) -> None:
    """Remove what was written aside by processes that were killed.

    Raises:
        OSError: it cannot be removed.
    """
    for aside in folder.glob(f"{_PREFIX}*{_ASIDE}"):
        if abs(time.time() - aside.lstat().st_mtime) > LEFT_SECONDS:  # as old as the clock may have been set back
            aside.unlink(missing_ok=True)


def _begin(length: int) -> bytes:
    return MAGIC + length.to_bytes(_LENGTH, "little")


def _hash(path: Path, content: bytes | memoryview) -> bytes:
    """A hash of a file's name and content."""
    name = os.fsencode(path.name)
    return xxh3_128_digest(b"".join((xxh3_128_digest(name), xxh3_128_digest(content))))


def _own(status: os.stat_result) -> bool:
    """Whether a file belongs to the user; where there are no users (Windows), each does."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
