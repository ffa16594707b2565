"""Reads files of a dataset whole, if they are regular and no larger than they may be."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from yolo_nanfix.dataset.oversized import ANNOTATION_MB, ANNOTATIONS, LIST_BYTES, LISTED
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.shown import shown

SMALL = 16 << 20
"""Bytes of a file of names, notes or settings at most."""
_CHUNK = 1 << 22
_DIGITS = 9


def read(path: str | os.PathLike[str], most: int = SMALL) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be read, is none, or is larger than `most` bytes.
    """
    try:
        size = min(os.stat(path).st_size, most)  # noqa: PTH116
        data = ANYWHERE.read(path, size + 1)  # memory is taken for as much as is asked for
        if size < len(data) <= most:  # it has grown
            data = ANYWHERE.read(path, most + 1)
    except ValueError as error:  # it can be no path
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from error
    if len(data) > most:
        raise OSError(errno.EFBIG, f"more than {most / 2**20:g} MB", os.fspath(path))
    return data


def most_annotations() -> int:
    """Up to how many bytes annotations are read.

    Raises:
        UsageError: the variable holds no whole number of MB.
    """
    said = os.environ.get(ANNOTATIONS, "").strip() or str(ANNOTATION_MB)
    if not said.isdecimal() or len(said) > _DIGITS:
        raise UsageError(f"{ANNOTATIONS} must be a whole number of MB, not {shown(said)}")
    return int(said) << 20


def times() -> int:
    """How many times the usual bounds within annotations hold: once, unless more MB are to be read than usual.

    Raises:
        UsageError: the variable holds no whole number of MB.
    """
    return max(1, -(-most_annotations() // (ANNOTATION_MB << 20)))


def check_annotations(files: Iterable[Path]) -> None:
    """Look at the bytes of annotation files, which are held in memory all together.

    Raises:
        UsageError: there are more than are read, or the variable that says how many are is malformed.
        OSError: one cannot be looked at.
    """
    sizes = {file: file.stat().st_size for file in files}
    total, most = sum(sizes.values()), most_annotations()
    if total > most:
        largest = max(sizes, key=sizes.__getitem__)
        raise DataError(
            f"{largest}: annotations of {total / 2**20:.0f} MB, more than the {most >> 20} MB that are read: they take "
            f"three times the memory; set {ANNOTATIONS}={(total >> 20) + 1} to read them all the same, or split them"
        )


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
