"""What an image file says about itself without decoding it, and whether Ultralytics' check would take it."""

from __future__ import annotations

import logging
import os
import stat
import warnings
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_64_intdigest

from yolo_nanfix.dataset.jpeg_segments import ORIENTATION, READ, from_camera, plain, read_at
from yolo_nanfix.dataset.stamps import NOTHING, Stamp, stamp_of

if TYPE_CHECKING:
    from PIL import Image as PILImage

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors, which findings tell, go to stderr too

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
"""How files begin that stand where an image should, in small letters."""


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
        unsure: True where only decoding tells what comes out: a PNG of 16 bits a sample, or animated.
        fault: empty if sound, else `missing`, `empty`, `foreign` (something else than an image), `unreadable`, `bomb`
            (more than `BOMB_PIXELS`), `truncated` or `trailing` (a JPEG that decodes, but does not end at its end
            marker).
        reason: what the reader said about the fault.
        content: a hash (xxh3, 64 bits) of the first bytes and the size; 0 if nothing could be read.
        bits: bits a sample.
        frames: pages or frames in the file.
        turn: the orientation of EXIF, 1 (upright) to 8; from 5 on width and height change places.
        ordinary: a sound JPEG of one upright frame in RGB, 8 bits a sample, as nearly all are.
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
    file: str, stamp: Stamp = NOTHING, ends: Callable[[str, int], tuple[bytes, bytes]] = both_ends
) -> Header:
    """Read the header of `file`; whatever the file holds, the answer is a `Header`, never an exception.

    Args:
        file: its path.
        stamp: its size, time and place, where they are known already.
        ends: reads both ends of the file, as `both_ends` does.
    """
    if stamp == NOTHING:
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
    content, turn = xxh3_64_intdigest(head, size), 1
    frame = plain(head)
    if frame is None and (told := from_camera(file, head)) is not None:
        frame, turn = told
    if frame is None:
        header = _by_pillow(file, _header(stamp), head)._replace(content=content)
        return _judge_end(file, header) if header.format == "JPEG" and not header.fault and tail != END else header
    width, height, mode = frame
    ordinary = mode == "RGB" and turn == 1
    own = (size, mtime_ns, (device, inode), width, height, "JPEG", mode, False, "", "", content, 8, 1, turn, ordinary)
    header = tuple.__new__(Header, own)  # as `Header(*own)`, in half the time
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
        if not header.format and (other := foreign(head, quote=_itself(file))):
            return header._replace(fault="foreign", reason=other)
        fault = "truncated" if header.format else "unreadable"
        return header._replace(fault=fault, reason=_say(error))
    return header


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings, of odd tags and large images, are not shown: the findings tell what matters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _stored(image: PILImage.Image) -> tuple[int, int]:
    """Width and height as stored; those that Pillow tells of a TIFF are turned by its orientation already."""
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    width, height = image.size
    return (height, width) if (tags.get(_WIDTH), tags.get(_HEIGHT)) == (height, width) else (width, height)


def _bits(image: PILImage.Image, head: bytes) -> int:
    """Bits a sample; 8 where that cannot be told."""
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
    """The orientation of EXIF; 1 if there is none, or a senseless one."""
    try:
        if image.format == "TIFF":
            turn = getattr(image, "tag_v2", {}).get(ORIENTATION)
        else:  # asked without "exif", a PNG would be decoded
            turn = image.getexif().get(ORIENTATION) if "exif" in image.info else 1
    except Exception:  # EXIF holds anything
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _frames(image: PILImage.Image) -> int:
    """How many pages or frames there are; 1 where that cannot be told."""
    try:
        return int(getattr(image, "n_frames", 1)) if image.format in _SEVERAL else 1
    except Exception:  # a damaged list of pages
        return 1


def _itself(file: str) -> bool:
    """Whether a file is where its path says, and has no other name: what links lead to may be no part of a dataset."""
    try:
        return os.path.realpath(file) == os.path.abspath(file) and os.stat(file).st_nlink == 1  # noqa: PTH100, PTH116
    except OSError:
        return False


def foreign(head: bytes, quote: bool = True) -> str:
    """What a file is that begins like this and is no image, text perhaps with how it begins; empty if not known."""
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
        return header._replace(fault="truncated", reason=_say(error))
    return header._replace(fault="trailing", reason="the file does not end at the JPEG end marker")


def _say(error: Exception) -> str:
    """One line of an exception, without the file object that Pillow prints."""
    return f"{type(error).__name__}: {error}".split(" <_io")[0].splitlines()[0]
