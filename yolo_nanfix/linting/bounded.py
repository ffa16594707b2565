"""Reads files of a dataset whole, if they are regular and no larger than they may be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from yolo_nanfix.linting.oversized import LIST_BYTES, LISTED
from yolo_nanfix.regular import ANYWHERE

SMALL = 16 << 20
"""Bytes of a file of names, notes or settings at most."""
_CHUNK = 1 << 22


def read(path: str | os.PathLike[str], most: int = SMALL) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be read, is none, or is larger than `most` bytes.
    """
    try:
        data = ANYWHERE.read(path, most + 1)
    except ValueError as error:  # it can be no path
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from error
    if len(data) > most:
        raise OSError(errno.EFBIG, f"more than {most / 2**20:g} MB", os.fspath(path))
    return data


def excess(listed: Path) -> str | None:
    """What of a list of images is more than is read: its lines or its bytes; None of any other.

    Raises:
        OSError: it cannot be read.
    """
    size = listed.stat().st_size
    if size <= LISTED:
        return None
    if size > LIST_BYTES:
        return f"{size} bytes"
    lines = 0
    with ANYWHERE.open(listed) as stream:
        while chunk := stream.read(_CHUNK):
            lines += chunk.count(b"\n")
    return f"{lines} lines" if lines > LISTED else None
