"""Walks the segments of a JPEG up to its frame header, also past what cameras write before it.

Whatever is in any doubt here is left to Pillow, which takes ten times as long; what is told is what Pillow tells.
"""

from __future__ import annotations

import os
import struct

BOMB_PIXELS = 178_956_970
"""Images of more pixels are never decoded; Pillow, and so Ultralytics, refuses them from the same number on."""
READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""A pipe that has taken the place of a file is not waited for."""
FRAMES = frozenset((0xFFC0, 0xFFC1, 0xFFC2))  # baseline, extended and progressive JPEG
TABLES = 0xFFDB
TABLE, TWO_TABLES, PRECISE = 67, 132, 16
"""The length of a segment of one quantization table of bytes, and of two; from `PRECISE` on they hold wider numbers."""
HARMLESS = {TABLES: TABLE, 0xFFC4: 2, 0xFFDD: 2, 0xFFE0: 16, 0xFFFE: 2}
"""Quantization and Huffman tables, restart interval, JFIF and comment, and the length from which on they are sound."""
ORIENTATION = 274
"""The tag of EXIF that says how an image is to be turned."""
_APP1, _APP15 = 0xFFE1, 0xFFEF
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_segment = struct.Struct(">HH").unpack_from
_frame = struct.Struct(">BHHB").unpack_from
_FRAME_BYTES = 10
_SEGMENTS, _WINDOW, _LOOK, _TAGS = 64, 4096, 72, 2048
"""So many segments are walked; so many bytes are read at once, and looked at of each segment, and of EXIF."""
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_NEVER = 1 << 16
_PARSED = {
    0xFFE2: ((b"MPF\0", _NEVER), (b"ICC_PROFILE\0", 16)),
    0xFFED: ((b"Photoshop 3.0\0", _NEVER),),
    0xFFEE: ((b"Adobe", 14),),
}
"""Segments that Pillow parses: how they begin, and the length from which on nothing can go wrong with them."""
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_SHORT = 3
_WIDTHS = {1: 1, 2: 1, _SHORT: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}
"""Bytes of a value of each TIFF type that cameras write."""
Frame = tuple[int, int, str]
"""Width, height and Pillow's mode."""


def _by_seeking(fd: int, length: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, length)


read_at = getattr(os, "pread", _by_seeking)


def plain(head: bytes) -> Frame | None:
    """What the frame header of an ordinary JPEG says; None if in any doubt.

    Ordinary: 8 bits, 1, 3 or 4 components, nothing but common segments up to the frame header, all of it in `head`.
    """
    if not head.startswith(b"\xff\xd8\xff"):
        return None
    at, end = 2, len(head) - _FRAME_BYTES
    while at <= end:
        marker, length = _segment(head, at)
        if marker in FRAMES:
            return _judged(head, at)
        if not _harmless(head, at, marker, length):
            return None
        at += 2 + length
    return None


def _harmless(data: bytes, at: int, marker: int, length: int) -> bool:
    """Whether the segment at some place is one of `HARMLESS`, and sound."""
    if marker != TABLES:
        return length >= HARMLESS.get(marker, _NEVER)
    begins = data[at + 4 : at + 6 + TABLE : TABLE - 2]
    return length in (TABLE, TWO_TABLES) and len(begins) == 2 and max(begins[: length // TABLE]) < PRECISE


def _judged(data: bytes, at: int) -> Frame | None:
    """What the frame header at some place says, if it is one of 8 bits, 1, 3 or 4 components and a bearable size."""
    _, length = _segment(data, at)
    bits, height, width, components = _frame(data, at + 4)
    mode = _MODES.get(components)
    if bits != 8 or mode is None or length != 8 + 3 * components or not 0 < width * height <= BOMB_PIXELS:
        return None
    return width, height, mode


def from_camera(file: str, head: bytes) -> tuple[Frame, int] | None:
    """As `plain`, of a JPEG with EXIF, XMP, ICC and the like, and its orientation; None if in any doubt.

    Args:
        file: its path.
        head: its first bytes.
    """
    if not head.startswith(b"\xff\xd8\xff"):
        return None
    try:
        fd = os.open(file, READ)
        try:
            return _walk(fd, head)
        finally:
            os.close(fd)
    except OSError:
        return None


def _walk(fd: int, data: bytes) -> tuple[Frame, int] | None:
    """As `from_camera`, of an open file that begins with `data`."""
    start, at, turn, xmp = 0, 2, -1, False
    for _ in range(_SEGMENTS):
        if at + _LOOK > start + len(data):
            data, start = read_at(fd, _WINDOW, at), at
        here = at - start
        if here + _FRAME_BYTES > len(data):
            return None
        marker, length = _segment(data, here)
        if marker in FRAMES:
            frame = _judged(data, here)
            return (frame, max(turn, 1)) if frame and (turn or not xmp) else None
        if marker == _APP1 and data.startswith(_EXIF, here + 4):
            if here + _TAGS > len(data):
                data, start, here = read_at(fd, _WINDOW, at), at, 0
            told = orientation(data[here + 10 : here + 2 + length], length - 8) if turn < 0 else None
            if told is None:
                return None
            turn = told
        elif _APP1 <= marker <= _APP15:
            parsed = _PARSED.get(marker, ())
            if length < 2 or any(length < least and data.startswith(begin, here + 4) for begin, least in parsed):
                return None
            xmp |= marker == _APP1 and data.startswith(_XMP, here + 4)
        elif not _harmless(data, here, marker, length):
            return None
        at += 2 + length
    return None


def orientation(tiff: bytes, size: int) -> int | None:
    """The orientation, 1 to 8, that EXIF tells; 1 if it is a senseless one, 0 if none is told, None if in any doubt.

    Args:
        tiff: how the data begins, from the byte order on.
        size: bytes of all of it.
    """
    order = _ORDERS.get(tiff[:4])
    if order is None or len(tiff) < 10:
        return None
    (first,) = struct.unpack_from(f"{order}L", tiff, 4)
    if first < 8 or first + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    tags = tiff[first + 2 : first + 2 + 12 * count]
    if len(tags) < 12 * count:
        return None
    turn, beyond = 0, 0
    for tag, kind, number, value in struct.iter_unpack(f"{order}HHLL", tags):
        taken = number * _WIDTHS.get(kind, 0)
        if taken > 4:
            beyond += taken
        if not taken or (taken > 4 and value + taken > size) or beyond > size:
            return None  # Pillow passes over some such tags, and stops at others
        if tag == ORIENTATION:
            if turn or (kind, number) != (_SHORT, 1):
                return None
            told = value & 0xFFFF if order == "<" else value >> 16
            turn = told if 1 <= told <= 8 else 1
    return turn
