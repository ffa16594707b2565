"""Files that tell whether they are as they were written: what is not whole, or not one's own, is as good as none.

A file begins with its length and a hash of its name and of all that follows, so that no flipped bit, no lost end and no
file in the place of another one is taken for what was written. It is read whole, not mapped: nobody can cut it while it
is looked at. The hash has no secret: who may write into the user's cache folder is the user.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from xxhash import xxh3_128_digest

from yolo_nanfix import files

MAGIC = b"nanfix1\n"
BEGIN = len(MAGIC) + 8 + 16
"""Bytes before the content: the magic, the length of the whole file, and the hash; a multiple of 8, as columns want."""
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
    if not path.is_absolute():
        raise OSError(f"{path} is no place of the user's")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.file(path, 0o600) as aside, open(aside, "wb") as stream:
        stream.write(_begin(BEGIN + len(content)) + _hash(path, content))
        stream.write(content)


def _begin(length: int) -> bytes:
    return MAGIC + length.to_bytes(_LENGTH, "little")


def _hash(path: Path, content: bytes | memoryview) -> bytes:
    """A hash of a file's name and content."""
    name = os.fsencode(path.name)
    return xxh3_128_digest(b"".join((xxh3_128_digest(name), xxh3_128_digest(content))))


def _own(status: os.stat_result) -> bool:
    """Whether a file belongs to the user; where there are no users (Windows), each does."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
