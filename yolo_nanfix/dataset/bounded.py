"""Limits on the size of a dataset's files, and reading of regular files within them."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from yolo_nanfix.errors import DataError, LabelsTooLarge, UsageError
from yolo_nanfix.files import ANYWHERE, NotRegular, Refusal, not_regular
from yolo_nanfix.wording import shown

LABEL_BYTES = 64 << 20
"""Bytes of a label file at most."""
LINE_BYTES = 1 << 20
"""Bytes of a line of a label file at most."""
LABEL_ROWS = 100_000
"""Lines of a label file at most; images of crowds or stars have some ten thousand objects."""
NUMBERS = 5_000_000
"""Numbers of a label file at most."""
LISTED = 10_000_000
"""Lines of a list of images at most."""
LIST_BYTES = 256 << 20
"""Bytes of a list of images at most."""
ANNOTATIONS = "YOLO_NANFIX_ANNOTATIONS_MB"
"""The environment variable for how many MB of annotations are read: of one file, or of a folder together."""
ANNOTATION_MB = 512
"""Its default: COCO's own instances_train2017.json has 450."""
ANNOTATION_ENTRIES = 2_000_000
"""Entries of the lists of such a file at most; a multiple of it if the variable is larger than its default."""
ENTRY_BYTES = 16 << 20
"""Bytes of one of them at most, likewise: as Python objects it may take 30 times as much memory."""
ANNOTATION_OBJECTS = 2_000_000
"""Boxes, outlines and keypoint sets in annotations at most, likewise."""
ANNOTATION_CORNERS = 32_000_000
"""Their corners and keypoints at most, likewise."""
OF_ONE = 4_000_000
"""Those of one image at most, likewise."""
_PART = 1 << 20
_BLANKS = bytes(32 if chr(i).isspace() and i < 128 else 120 for i in range(256))
_ENDS = b"\n\r\v\f\x1c\x1d\x1e"
_WIDE_ENDS = (b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")
_ANY_END = re.compile(rb"\r\n|[\n\r\v\f\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


def check_size(size: int) -> None:
    """Raise `LabelsTooLarge` for a label file of so many bytes if these are too many."""
    if size > LABEL_BYTES:
        raise LabelsTooLarge("large", size)


def check_lines(data: bytes) -> None:
    """Raise `LabelsTooLarge` for a label file with too many lines or numbers, or with a line that is too long."""
    if len(data) <= min(LABEL_ROWS, LINE_BYTES):
        return
    ends = len(data) - len(data.translate(None, _ENDS)) + sum(map(data.count, _WIDE_ENDS)) - data.count(b"\r\n")
    lines = ends + (data[-1:] not in _ENDS and not data.endswith(_WIDE_ENDS))
    if lines > LABEL_ROWS:
        raise LabelsTooLarge("many", lines, lines)
    if len(data) > 2 * NUMBERS and (words := _count_words(data)) > NUMBERS:
        raise LabelsTooLarge("numbers", words, lines)
    start = number = 0
    while len(data) - start > LINE_BYTES:  # as far as the last line that can be too long
        end = _ANY_END.search(data, start)
        length = (end.start() if end else len(data)) - start
        number += 1
        if length > LINE_BYTES:
            raise LabelsTooLarge("long", length, lines, number)
        start = end.end() if end else len(data)


def _count_words(data: bytes) -> int:
    """How many words there are, separated by ASCII whitespace."""
    words, blank = 0, True
    for at in range(0, len(data), _PART):
        marks = data[at : at + _PART].translate(_BLANKS)
        words += marks.count(b" x") + (blank and marks[:1] == b"x")
        blank = marks.endswith(b" ")
    return words


SMALL_FILE = 16 << 20
"""Bytes of a file of names, notes or settings at most."""
_CHUNK = 1 << 22
_DIGITS = 9


def read_bytes(path: str | os.PathLike[str], most: int = SMALL_FILE) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be read, is not regular, or is larger than `most` bytes.
    """
    try:
        size = min(os.stat(path).st_size, most)  # noqa: PTH116
        data = ANYWHERE.read(path, size + 1)  # memory is taken for as much as is asked for
        if size < len(data) <= most:  # it has grown
            data = ANYWHERE.read(path, most + 1)
    except ValueError as error:  # not a valid path
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from error
    if len(data) > most:
        raise OSError(errno.EFBIG, f"more than {most / 2**20:g} MB", os.fspath(path))
    return data


def most_annotations() -> int:
    """Up to how many bytes annotations are read.

    Raises:
        UsageError: the variable holds no whole number of MB.
    """
    value = os.environ.get(ANNOTATIONS, "").strip() or str(ANNOTATION_MB)
    if not value.isdecimal() or len(value) > _DIGITS:
        raise UsageError(f"{ANNOTATIONS} must be a whole number of MB, not {shown(value)}")
    return int(value) << 20


def times() -> int:
    """By what the limits within annotations are multiplied: 1 unless the variable is larger than its default.

    Raises:
        UsageError: the variable holds no whole number of MB.
    """
    return max(1, -(-most_annotations() // (ANNOTATION_MB << 20)))


def check_annotations(files: Iterable[Path]) -> None:
    """Check the bytes of annotation files, which are held in memory together.

    Raises:
        DataError: there are too many.
        UsageError: the environment variable is malformed.
        OSError: a file has no status.
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
    """By what a list of images is too large, its lines or its bytes; None if it is not.

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


def read_label(path: str) -> bytes | None:
    """The bytes of a label file, or None if there is no regular file.

    Raises:
        OSError: it exists but cannot be read.
        LabelsTooLarge: it is too large.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path object costs as much as the call
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    check_size(status.st_size)
    with open(path, "rb", buffering=0, opener=_open) as stream:
        data = stream.read(LABEL_BYTES + 1)  # it may have grown
    if data is None:  # a pipe has taken its place
        raise NotRegular(path, not_regular(path) or Refusal.PIPE)
    if len(data) != status.st_size and (refusal := not_regular(path)) is not None:  # as in /proc, where sizes are 0
        raise NotRegular(path, refusal)
    check_size(len(data))
    check_lines(data)
    return data


def _open(path: str, flags: int) -> int:
    """Open without blocking: a pipe may have taken the place of the file."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
