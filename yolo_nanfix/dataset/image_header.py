"""Image headers, read without decoding, and whether Ultralytics' check accepts them.

The JPEGs of a set are read together (`judge_heads`): nearly all are ordinary. All others are read one file at a time
(`read_header`): a common JPEG by its segments, anything else by Pillow.
"""

from __future__ import annotations

import logging
import os
import stat
import struct
import warnings
from base64 import b64decode
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from yolo_nanfix.dataset.paths import NO_FILE, Stamp, stamp_of

if TYPE_CHECKING:
    from PIL import Image as PILImage

BOMB_PIXELS = 178_956_970
"""Images of more pixels are never decoded; Pillow, and so Ultralytics, refuses them from the same number on."""
READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags to open a file; one replaced by a pipe does not block."""
FRAMES = frozenset((0xFFC0, 0xFFC1, 0xFFC2))  # baseline, extended and progressive JPEG
TABLES = 0xFFDB
TABLE, TWO_TABLES, PRECISE = 67, 132, 16
"""The length of a segment of one quantization table of bytes, and of two; from `PRECISE` on they hold wider numbers."""
HARMLESS = {TABLES: TABLE, 0xFFC4: 2, 0xFFDD: 2, 0xFFE0: 16, 0xFFFE: 2}
"""Quantization and Huffman tables, restart interval, JFIF and comment, and the length from which on they are valid."""
ORIENTATION = 274
"""The EXIF tag of the orientation."""
_APP1, _APP15 = 0xFFE1, 0xFFEF
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_segment = struct.Struct(">HH").unpack_from
_frame = struct.Struct(">BHHB").unpack_from
_FRAME_BYTES = 10
_SEGMENTS, _WINDOW, _LOOK, _TAGS = 64, 4096, 72, 2048
"""So many segments are read; so many bytes are read at once, examined of each segment, and of EXIF."""
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_NEVER = 1 << 16
_PARSED = {
    0xFFE2: ((b"MPF\0", _NEVER), (b"ICC_PROFILE\0", 16)),
    0xFFED: ((b"Photoshop 3.0\0", _NEVER),),
    0xFFEE: ((b"Adobe", 14),),
}
"""Segments that Pillow parses: how they begin, and the length from which on they are valid."""
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_SHORT = 3
_WIDTHS = {1: 1, 2: 1, _SHORT: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}
"""Bytes of a value of each TIFF type that cameras write."""


def _by_seeking(fd: int, length: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, length)


read_at = getattr(os, "pread", _by_seeking)


def _harmless(data: bytes, at: int, marker: int, length: int) -> bool:
    """Whether a segment is one of `HARMLESS`, and valid."""
    if marker != TABLES:
        return length >= HARMLESS.get(marker, _NEVER)
    begins = data[at + 4 : at + 6 + TABLE : TABLE - 2]
    return length in (TABLE, TWO_TABLES) and len(begins) == 2 and max(begins[: length // TABLE]) < PRECISE


def _judged(data: bytes, at: int) -> tuple[int, int, str] | None:
    """Width, height and mode of a frame header of 8 bits, 1, 3 or 4 components and a size below a bomb; else None."""
    _, length = _segment(data, at)
    bits, height, width, components = _frame(data, at + 4)
    mode = _MODES.get(components)
    if bits != 8 or mode is None or length != 8 + 3 * components or not 0 < width * height <= BOMB_PIXELS:
        return None
    return width, height, mode


def jpeg_frame(file: str, head: bytes) -> tuple[int, int, str, int] | None:
    """Width, height, Pillow's mode and orientation of a JPEG by its segments; None if Pillow has to read it.

    Read here are 8 bits, 1, 3 or 4 components, EXIF with one orientation, XMP, ICC and similar segments.

    Args:
        file: its path; it is read again where a segment reaches beyond `head`.
        head: its first bytes.
    """
    if not head.startswith(b"\xff\xd8\xff"):
        return None
    data, start, at, turn, xmp = head, 0, 2, -1, False
    for _ in range(_SEGMENTS):
        if at + _LOOK > start + len(data):
            data, start = _window(file, at), at
        here = at - start
        if here + _FRAME_BYTES > len(data):
            return None
        marker, length = _segment(data, here)
        if marker in FRAMES:
            frame = _judged(data, here)
            return (*frame, max(turn, 1)) if frame and (turn or not xmp) else None
        if marker == _APP1 and data.startswith(_EXIF, here + 4):
            if here + _TAGS > len(data):
                data, start, here = _window(file, at), at, 0
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


def _window(file: str, at: int) -> bytes:
    """Some bytes of a file from a place on; none if it cannot be read."""
    try:
        fd = os.open(file, READ)
        try:
            return read_at(fd, _WINDOW, at)
        finally:
            os.close(fd)
    except OSError:
        return b""


def orientation(tiff: bytes, size: int) -> int | None:
    """The orientation of EXIF, 1 to 8; 1 if it is invalid, 0 if there is none, None if Pillow has to read it.

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
            return None  # Pillow skips some such tags, and stops at others
        if tag == ORIENTATION:
            if turn or (kind, number) != (_SHORT, 1):
                return None
            told = value & 0xFFFF if order == "<" else value >> 16
            turn = told if 1 <= told <= 8 else 1
    return turn


logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors are printed besides the findings

HEAD_BYTES = 4096
JPEGS = ("jpg", "jpeg")
SOUND = ("", "trailing")
"""The faults of headers of images that Ultralytics takes."""
_HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")
END = b"\xff\xd9"
_WIDTH, _HEIGHT, _BITS_PER_SAMPLE = 256, 257, 258
_SEVERAL = ("AVIF", "MPO", "PNG", "TIFF", "WEBP")
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer; `git lfs pull` fetches the image"),
    (b"<!doctype html", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "XML"),
    (b"{", "JSON or other text"),
    (b"%pdf", "a PDF"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x93numpy", "a NumPy array"),
    (b"\x1ae\xdf\xa3", "a WebM video"),
)
"""First bytes, in lowercase, of files that are no images."""


class Header(NamedTuple):
    """One image file from its first and last bytes.

    Attributes:
        size: bytes in the file.
        mtime_ns: time of the last change, nanoseconds.
        inode: device and file number; equal for two names of one file.
        width: pixels, before any EXIF rotation; 0 if unknown.
        height: pixels, before any EXIF rotation; 0 if unknown.
        format: Pillow's name of the content's format (`JPEG`, `PNG`); empty if unknown.
        mode: Pillow's mode (`RGB`, `L`, `I;16`).
        unsure: whether only decoding shows the result: a PNG of 16 bits a sample, or animated.
        fault: empty if valid, else `missing`, `empty`, `foreign` (something else than an image), `unreadable`, `bomb`
            (more than `BOMB_PIXELS`), `truncated` or `trailing` (a JPEG that decodes, but does not end at its end
            marker).
        reason: the reader's message about the fault.
        content: a hash (xxh3, 64 bits) of the first bytes and the size; 0 if nothing could be read.
        bits: bits a sample.
        frames: pages or frames in the file.
        turn: the orientation of EXIF, 1 (upright) to 8; from 5 on width and height are exchanged.
        ordinary: a valid JPEG of one upright frame in RGB, 8 bits a sample, as nearly all are.
    """

    size: int = 0
    mtime_ns: int = 0
    inode: tuple[int, int] = (0, 0)
    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    unsure: bool = False
    fault: str = ""
    reason: str = ""
    content: int = 0
    bits: int = 8
    frames: int = 1
    turn: int = 1
    ordinary: bool = False


def both_ends(file: str, size: int) -> tuple[bytes, bytes]:
    """The first `HEAD_BYTES` of a file of so many bytes, and its last two."""
    fd = os.open(file, READ)
    try:
        head = os.read(fd, HEAD_BYTES)
        if len(head) >= size:
            return head, head[-2:]
        return head, read_at(fd, 2, size - 2)
    finally:
        os.close(fd)


def read_header(
    file: str, stamp: Stamp = NO_FILE, ends: Callable[[str, int], tuple[bytes, bytes]] = both_ends
) -> Header:
    """Read the header of `file`; whatever the file holds, the answer is a `Header`, never an exception.

    Args:
        file: its path.
        stamp: its size, time and place, where they are known already.
        ends: reads both ends of the file, as `both_ends` does.
    """
    if stamp == NO_FILE:
        try:
            status = os.stat(file)  # noqa: PTH116 - a Path object costs as much as the call
        except FileNotFoundError:
            return Header(fault="missing", reason="no such file")
        except (OSError, ValueError) as error:
            return Header(fault="unreadable", reason=str(error))
        stamp = stamp_of(status)
        if not stat.S_ISREG(status.st_mode):
            return _header(stamp, fault="unreadable", reason="not a regular file")
    size, mtime_ns, device, inode, _ = stamp
    if not size:
        return _header(stamp, fault="empty", reason="the file has no bytes")
    try:
        head, tail = ends(file, size)
    except (OSError, ValueError) as error:
        fault = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        return _header(stamp, fault=fault, reason=str(error))
    content, frame = xxh3_64_intdigest(head, size), jpeg_frame(file, head)
    if frame is None:
        header = _by_pillow(file, _header(stamp), head)._replace(content=content)
        return _judge_end(file, header) if header.format == "JPEG" and not header.fault and tail != END else header
    width, height, mode, turn = frame
    ordinary, place = mode == "RGB" and turn == 1, (device, inode)
    header = Header(size, mtime_ns, place, width, height, "JPEG", mode, content=content, turn=turn, ordinary=ordinary)
    return header if tail == END else _judge_end(file, header._replace(ordinary=False))


def _header(stamp: Stamp, fault: str = "", reason: str = "") -> Header:
    size, mtime_ns, device, inode, _ = stamp
    return Header(size, mtime_ns, (device, inode), fault=fault, reason=reason)


def _by_pillow(file: str, header: Header, head: bytes) -> Header:
    """What Pillow says of the header, and its own verification, which reads all chunks of a PNG."""
    from PIL import Image as PILImage  # few datasets hold a file that needs it

    try:
        with quiet(), open(file, "rb") as stream, PILImage.open(stream) as image:
            bits = _bits(image, head)
            width, height = _stored(image)
            header = header._replace(
                width=width,
                height=height,
                format=image.format or "",
                mode=image.mode,
                unsure=image.format == "PNG" and (bits == 16 or getattr(image, "is_animated", False)),
                bits=bits,
                turn=_turn(image),
                frames=_frames(image),
            )
            image.verify()
    except PILImage.DecompressionBombError as error:
        return header._replace(fault="bomb", reason=str(error).split(",")[0])
    except Exception as error:  # Pillow's readers raise anything on damaged files
        if head[4:12] in _HEIF:
            return header._replace(fault="unreadable", reason="HEIF; Pillow reads it only with pi-heif installed")
        if not header.format and (other := what_instead(head, quote=_itself(file))):
            return header._replace(fault="foreign", reason=other)
        fault = "truncated" if header.format else "unreadable"
        return header._replace(fault=fault, reason=_one_line(error))
    return header


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Pillow's warnings, of odd tags and large images, which the findings replace."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _stored(image: PILImage.Image) -> tuple[int, int]:
    """Width and height as stored; Pillow has already applied the orientation of a TIFF."""
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    width, height = image.size
    return (height, width) if (tags.get(_WIDTH), tags.get(_HEIGHT)) == (height, width) else (width, height)


def _bits(image: PILImage.Image, head: bytes) -> int:
    """Bits a sample; 8 if unknown."""
    if image.format == "PNG":
        return head[24] if len(head) > 24 else 8
    if image.format == "TIFF":
        stored = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 1)
        bits = max(stored, default=8) if isinstance(stored, tuple) else stored
        return bits if isinstance(bits, int) and 0 < bits <= 64 else 8
    if image.mode in ("I", "F"):
        return 32
    return 16 if image.mode.startswith("I;16") else 1 if image.mode == "1" else 8


def _turn(image: PILImage.Image) -> int:
    """The orientation of EXIF; 1 if there is none, or an invalid one."""
    try:
        if image.format == "TIFF":
            turn = getattr(image, "tag_v2", {}).get(ORIENTATION)
        else:  # asked without "exif", a PNG would be decoded
            turn = image.getexif().get(ORIENTATION) if "exif" in image.info else 1
    except Exception:  # EXIF holds anything
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _frames(image: PILImage.Image) -> int:
    """How many pages or frames there are; 1 if unknown."""
    try:
        return int(getattr(image, "n_frames", 1)) if image.format in _SEVERAL else 1
    except Exception:  # a damaged list of pages
        return 1


def _itself(file: str) -> bool:
    """Whether a path leads through no links and is the file's only name: else it may be no part of the dataset."""
    try:
        return os.path.realpath(file) == os.path.abspath(file) and os.stat(file).st_nlink == 1  # noqa: PTH100, PTH116
    except OSError:
        return False


def what_instead(head: bytes, quote: bool = True) -> str:
    """What kind of file begins with these bytes and is no image (text: with its first words); empty if unknown."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:32].lower()
    for sign, name in _FOREIGN:
        if start.startswith(sign):
            return name
    if head[4:8] == b"ftyp":
        return "an MP4 or MOV video"
    try:
        text = getincrementaldecoder("utf-8-sig")().decode(head)  # which may end within a letter
    except UnicodeDecodeError:
        return ""
    words = " ".join(text.split())
    if not words.isprintable() or not words:
        return ""
    return f"text ('{words[:40]}')" if quote else "text"


def _judge_end(file: str, header: Header) -> Header:
    """Decode a JPEG without an end marker: Ultralytics rewrites it if it decodes, else drops it."""
    from PIL import Image as PILImage

    try:
        with quiet(), PILImage.open(file) as image:
            image.load()
    except Exception as error:  # as above
        return header._replace(fault="truncated", reason=_one_line(error))
    return header._replace(fault="trailing", reason="the file does not end at the JPEG end marker")


def _one_line(error: Exception) -> str:
    """One line of an exception, without the file object that Pillow prints."""
    return f"{type(error).__name__}: {error}".split(" <_io")[0].splitlines()[0]


TURNING = (1, 3)
"""Channel counts of models whose images the decoder rotates, whatever their format is."""
UNTURNED = ("JPEG", "MPO", "PNG", "WEBP")
"""Formats that are not rotated for models of other channel counts."""
QUARTER = 5
"""From this orientation on, width and height are exchanged."""
_WEBP = b64decode(
    "UklGRk4AAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TA4AAAAvAQAAAAcQEf0PRET/A0VYSUYaAAAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA="
)
"""A WebP of 2x1 pixels with the orientation 6."""


def turn_of(header: Header, channels: int) -> int:
    """The orientation, 1 (upright) to 8, that Ultralytics applies to an image for a model of so many channels."""
    if header.turn == 1 or (channels not in TURNING and header.format in UNTURNED):
        return 1
    return header.turn if header.format != "WEBP" or turns_webp() else 1


@lru_cache(maxsize=1)
def turns_webp() -> bool:
    """Whether this OpenCV rotates WebP by EXIF; before 4.13 it did not."""
    import cv2  # few datasets hold a file for which that matters
    import numpy as np

    decoded = cv2.imdecode(np.frombuffer(_WEBP, np.uint8), cv2.IMREAD_COLOR)
    return decoded is not None and decoded.shape[:2] == (2, 1)


def shown_size(header: Header, channels: int) -> tuple[int, int]:
    """Width and height of the image as it is trained on."""
    size = header.width, header.height
    return size[::-1] if turn_of(header, channels) >= QUARTER else size


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST, _LONGEST = 64, 64
"""So many chunks are read, and the data of those that are no longer."""
_head = struct.Struct(">L4s")


def chunks(file: str) -> Iterator[tuple[bytes, bytes]]:
    """Name and data (of short ones) of each chunk of a PNG up to the pixels, IDAT; nothing of other files."""
    try:
        with open(file, "rb") as stream:
            if stream.read(len(_SIGNATURE)) != _SIGNATURE:
                return
            for _ in range(_MOST):
                length, name = _head.unpack(stream.read(_head.size))
                data = stream.read(length) if length <= _LONGEST and name != b"IDAT" else b""
                yield name, data
                if name == b"IDAT":
                    return
                stream.seek(length - len(data) + 4, 1)
    except (OSError, ValueError, struct.error):
        return


def still_apart(file: str) -> bool:
    """Whether a PNG is animated and its still image, which comes first, is none of the frames."""
    names = [name for name, _ in chunks(file)]
    return names[-1:] == [b"IDAT"] and b"acTL" in names and b"fcTL" not in names


_HEAD_WINDOW = 1024
"""Bytes in which a frame header is looked for; those of ordinary JPEGs begin within some hundred."""
_RGB_LENGTH = 17
"""Bytes of a frame header of three components, its marker not counted."""


def read_heads(files: Sequence[str], sizes: Sequence[int]) -> tuple[list[bytes], list[int]]:
    """The first bytes of files that end as a JPEG does, for `judge_heads`, and the `content` hashes of all.

    Empty for files that end otherwise, or cannot be read.

    Args:
        files: their paths.
        sizes: bytes of each.
    """
    heads: list[bytes] = []
    contents: list[int] = []
    for file, size in zip(files, sizes, strict=True):
        try:
            head, tail = both_ends(file, size)
        except (OSError, ValueError):
            head = tail = b""
        if tail != END:
            head = b""
        heads.append(head[:_HEAD_WINDOW])
        contents.append(xxh3_64_intdigest(head, size))
    return heads, contents


def judge_heads(heads: Sequence[bytes]) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Which of N files are ordinary JPEGs (`Header.ordinary`), by the heads that `read_heads` returns.

    The segments of all files are walked at once, one segment of each per step.

    Returns:
        (N,) whether each is ordinary, and (N, 2) width and height; 0 where it is not.
    """
    count = len(heads)
    sizes = np.zeros((count, 2), np.int32)
    data = np.frombuffer(b"".join([head.ljust(_HEAD_WINDOW, b"\0") for head in heads]), np.uint8)
    starts = np.arange(count) * _HEAD_WINDOW
    open_ = np.flatnonzero((data[starts] == 0xFF) & (data[starts + 1] == 0xD8) & (data[starts + 2] == 0xFF))
    at = np.full(count, 2)
    while len(open_):
        place = starts[open_] + at[open_]
        marker, length = _uint16(data, place), _uint16(data, place + 2)
        framed = _IS_FRAME[marker]
        frames, spot = open_[framed], place[framed]
        height, width = _uint16(data, spot + 5), _uint16(data, spot + 7)
        usual = (data[spot + 4] == 8) & (data[spot + 9] == 3) & (length[framed] == _RGB_LENGTH)
        usual &= (height * width > 0) & (height * width <= BOMB_PIXELS)
        sizes[frames[usual]] = np.stack([width[usual], height[usual]], axis=1)
        on = length >= _LEAST_LENGTH[marker]
        _judge_tables(data, place, length, marker, on)
        open_ = open_[on]
        at[open_] += 2 + length[on]
        open_ = open_[at[open_] <= _HEAD_WINDOW - _FRAME_BYTES]
    return sizes[:, 0] > 0, sizes


def _uint16(data: NDArray[np.uint8], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Big-endian 16-bit numbers at some positions."""
    return data[place].astype(np.int64) << 8 | data[place + 1]


def _judge_tables(
    data: NDArray[np.uint8],
    place: NDArray[np.int64],
    length: NDArray[np.int64],
    marker: NDArray[np.int64],
    on: NDArray[np.bool_],
) -> None:
    """Clear `on` for quantization tables that are not of the usual sizes."""
    tables = np.flatnonzero((marker == TABLES) & on)
    spot, taken = place[tables] + 4, length[tables]
    second = np.minimum(spot + TABLE - 2, len(data) - 1)
    two = (taken == TWO_TABLES) & (data[second] < PRECISE)
    on[tables] = (data[spot] < PRECISE) & ((taken == TABLE) | two)


_IS_FRAME, _LEAST_LENGTH = np.zeros(1 << 16, np.bool_), np.full(1 << 16, 1 << 16)
_IS_FRAME[list(FRAMES)] = True
_LEAST_LENGTH[list(HARMLESS)] = list(HARMLESS.values())
