"""How large files may be that are read into memory: what is larger is named, and not read."""

from __future__ import annotations

import re
from typing import NamedTuple

LABEL_BYTES = 64 << 20
"""Bytes of a label file at most."""
LINE_BYTES = 1 << 20
"""Bytes of a line of a label file at most."""
ROWS = 100_000
"""Lines of a label file at most; crowds and stars, the fullest images there are, have some ten thousand objects."""
NUMBERS = 5_000_000
"""Numbers of a label file at most: all of a row are looked at together, each with its neighbours."""
LISTED = 10_000_000
"""Lines of a list of images at most."""
LIST_BYTES = 256 << 20
"""Bytes of a list of images at most."""
ANNOTATIONS = "YOLO_NANFIX_ANNOTATIONS_MB"
"""The variable that says up to how many MB annotations are read; one file, or all of a folder together."""
ANNOTATION_MB = 512
"""The same without it: COCO's own instances_train2017.json has 450."""
ENTRIES = 2_000_000
"""Entries of the lists of such a file at most, as long as the variable is no larger than that."""
ENTRY_BYTES = 16 << 20
"""Bytes of one of them at most, likewise: as Python has it, it may take 30 times as much memory."""
OBJECTS = 2_000_000
"""Boxes, outlines and sets of keypoints in annotations at most, likewise."""
CORNERS = 32_000_000
"""Their corners and keypoints at most, likewise."""
OF_ONE = 4_000_000
"""Those of one image at most, likewise."""
_PART = 1 << 20
_BLANKS = bytes(32 if chr(i).isspace() and i < 128 else 120 for i in range(256))
_ENDS = b"\n\r\v\f\x1c\x1d\x1e"
_WIDE_ENDS = (b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")
_ANY_END = re.compile(rb"\r\n|[\n\r\v\f\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


class Oversized(NamedTuple):
    """What of a label file is too large.

    Attributes:
        kind: `large` (the file), `many` (its lines), `numbers` (its words) or `long` (one of its lines).
        number: its bytes, or how many lines or words there are.
        lines: the lines of the file; 1 where they were not counted.
        line: the long one, from 1.
    """

    kind: str
    number: int
    lines: int = 1
    line: int | None = None


class TooLarge(Exception):  # noqa: N818 - a fact about a file
    """A label file is not read; `found` says why."""

    def __init__(self, found: Oversized) -> None:
        """Keep it."""
        super().__init__(found)
        self.found = found


def check_size(size: int) -> None:
    """Look at the bytes of a label file.

    Raises:
        TooLarge: there are too many.
    """
    if size > LABEL_BYTES:
        raise TooLarge(Oversized("large", size))


def check_lines(data: bytes) -> None:
    """Look at the lines of a label file, without making anything of them.

    Raises:
        TooLarge: there are too many, or one is too long.
    """
    if len(data) <= min(ROWS, LINE_BYTES):
        return
    ends = len(data) - len(data.translate(None, _ENDS)) + sum(map(data.count, _WIDE_ENDS)) - data.count(b"\r\n")
    lines = ends + (data[-1:] not in _ENDS and not data.endswith(_WIDE_ENDS))
    if lines > ROWS:
        raise TooLarge(Oversized("many", lines, lines))
    if len(data) > 2 * NUMBERS and (words := _words(data)) > NUMBERS:
        raise TooLarge(Oversized("numbers", words, lines))
    start = number = 0
    while len(data) - start > LINE_BYTES:  # as far as the last line that can be too long
        end = _ANY_END.search(data, start)
        length = (end.start() if end else len(data)) - start
        number += 1
        if length > LINE_BYTES:
            raise TooLarge(Oversized("long", length, lines, number))
        start = end.end() if end else len(data)


def _words(data: bytes) -> int:
    """How many words there are, between blanks of ASCII."""
    words, blank = 0, True
    for at in range(0, len(data), _PART):
        marks = data[at : at + _PART].translate(_BLANKS)
        words += marks.count(b" x") + (blank and marks[:1] == b"x")
        blank = marks.endswith(b" ")
    return words
