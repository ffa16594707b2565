"""Statistics of decoded images (`lint --deep`): brightness, damage, perceptual hashes.

JPEGs are decoded at an eighth of their size, some files at a time.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from yolo_nanfix.dataset.decode import Pixels, decode, needs_decoding, too_large
from yolo_nanfix.dataset.image_header import HEAD_BYTES, JPEGS, SOUND, Header, read_header
from yolo_nanfix.dataset.paths import NO_FILE, Stamp

Grey = NDArray[np.uint8]
Content = memoryview | bytes

SMALL_SIDE = 32
"""Small copies have at least so many pixels a side, if the image has."""
_TOGETHER, _MEMORY, _PIXELS = 64, 1 << 23, 1 << 28
"""So many files, or so many bytes of them, or so many pixels, are read one after the other."""
_LARGEST = 1 << 28
"""Bytes of a JPEG that are read at most: it would have more pixels than are ever decoded."""
_GREY = 128
_HARMLESS_BYTES = 16
_WANTED = {"min_height": SMALL_SIDE, "min_width": SMALL_SIDE, "min_factor": 1}
_decoder = partial(simplejpeg.decode_jpeg, colorspace="GRAY", **_WANTED)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker")


Opened = tuple[str, str, Header, Content | None]
"""Path and suffix of a file, its header, and its content if it was read whole."""
_memory = threading.local()
"""Where a thread reads files to: allocating memory for each file costs more than reading it."""


def open_all(images: Iterable[tuple[str, str, Stamp]]) -> Iterator[list[Opened]]:
    """Read images, some at a time; their contents are valid until the next ones are asked for.

    Args:
        images: path, suffix and stamp of each.
    """
    if not hasattr(_memory, "view"):
        _memory.view = memoryview(bytearray(_MEMORY))
    some: list[Opened] = []
    used = pixels = 0
    for file, suffix, stamp in images:
        size = stamp[0]
        whole = suffix in JPEGS and 0 < size < _MEMORY  # else it may be anything, of any size
        if some and (len(some) == _TOGETHER or pixels >= _PIXELS or (whole and used + size >= _MEMORY)):
            yield some
            some, used, pixels = [], 0, 0
        if whole:
            some.append(_read_jpeg(file, suffix, stamp, _memory.view[used : used + size + 1]))
            used += size
        else:
            some.append((file, suffix, read_header(file, stamp), None))
        header = some[-1][2]
        pixels += header.width * header.height
    if some:
        yield some


def _read_jpeg(file: str, suffix: str, stamp: Stamp, room: memoryview) -> Opened:
    """A file, read into memory for one byte more than it should have."""
    count = 0

    def both_ends(file: str, size: int) -> tuple[bytes, bytes]:
        nonlocal count
        with open(file, "rb", buffering=0) as stream:
            count = stream.readinto(room)
        return bytes(room[: min(count, HEAD_BYTES)]), bytes(room[max(count - 2, 0) : count])

    header = read_header(file, stamp, both_ends)
    return file, suffix, header, room[:count] if count == stamp[0] else None


def decode_all(contents: Sequence[Content | None]) -> list[Grey | None]:
    """The grey copies of some JPEGs, (h, w) each; None for no content, or an invalid one (`small_jpeg` says why)."""
    found: list[Grey | None] = []
    for content in contents:  # nothing else in this loop: decoding leaves nothing in the processor's caches
        try:
            found.append(None if content is None else _decoder(content))
        except Exception:  # a decoder raises anything
            found.append(None)
    return [None if small is None else small[..., 0] for small in found]


def small_jpeg(file: str, content: Content | None, least: int = SMALL_SIDE) -> tuple[Grey | None, str]:
    """The grey copy of a JPEG, (h, w), at an eighth of its size or more, and what the decoder complained about.

    Args:
        file: its path.
        content: its bytes, if they were read.
        least: pixels a side that the copy has, if the image has.
    """
    damage = ""
    try:
        if content is None:
            with open(file, "rb", buffering=0) as stream:
                content = stream.read(_LARGEST)
        try:
            small = _decode(content, least, strict=True)
        except ValueError as error:
            damage = "" if _is_padding(str(error)) else str(error)
            small = _decode(content, least, strict=False)
    except Exception:  # what it cannot decode at all is left to the decoder that Ultralytics uses
        return None, ""
    return small[..., 0], damage


def _decode(content: Content, least: int, *, strict: bool) -> Grey:
    """(h, w, 1) bytes; ValueError for what cannot be decoded, if strict also for what is damaged.

    What the decoder leaves out of a damaged one is grey.
    """
    room: Grey | None = None
    wanted = {**_WANTED, "min_height": least, "min_width": least}
    if not strict:
        height, width = simplejpeg.decode_jpeg_header(content, **wanted)[:2]
        room = np.full(height * width, _GREY, np.uint8)
    small: Grey = _decoder(content, buffer=room, strict=strict, **wanted)
    return small


def _is_padding(complaint: str) -> bool:
    """Whether a complaint is about padding between segments, as some cameras and tools leave it."""
    found = _EXTRANEOUS.search(complaint)
    return bool(found) and int(found[1]) <= _HARMLESS_BYTES if found else False


_HEAD = 4096
_FRAME, _SCAN = b"\xff\xc2", b"\xff\xda"
_MOST = 256
"""Scans that are read at most; encoders write ten or so."""


def without_detail(content: Content) -> str:
    """The defect of a progressive JPEG of which a colour component has only the scan of its mean values; or ""."""
    if bytes(content[:_HEAD]).find(_FRAME) < 0:
        return ""
    data = bytes(content)
    frame = data.find(_FRAME)
    count = data[frame + 9] if frame + 9 < len(data) else 0
    wanted = {data[frame + 10 + 3 * k] for k in range(count) if frame + 10 + 3 * k < len(data)}
    if data[frame + 2 : frame + 4] != (8 + 3 * count).to_bytes(2, "big") or len(wanted) != count or not count:
        return ""
    detailed: set[int] = set()
    at, scans = data.find(_SCAN, frame), 0
    while at >= 0 and scans < _MOST and at + 5 <= len(data):
        own = data[at + 4]
        end = at + 5 + 2 * own
        if data[at + 2 : at + 4] != (6 + 2 * own).to_bytes(2, "big") or end + 1 >= len(data):
            return ""
        if data[end + 1] and not data[end]:
            return ""  # all coefficients at once: the frame of a thumbnail was met, not that of the image
        if data[end]:  # the first coefficient of the scan; that of mean values is 0
            detailed.update(data[at + 5 : end : 2])
        scans += 1
        at = data.find(_SCAN, end)
    lacking = len(wanted - detailed)
    if not scans or not lacking:
        return ""
    return f"a progressive JPEG that ends after {scans} scans: {lacking} of {count} colour components have no detail"


LOOKS = (
    "as it is",
    "mirrored",
    "flipped upside down",
    "turned by 180 degrees",
    "mirrored and turned left",
    "turned right",
    "turned left",
    "mirrored and turned right",
)
"""The orientations of the eight hashes of an image."""
_LOW = 8
_PLAIN = 2.0
"""Images of a lower standard deviation show nothing to be hashed."""
_NO_LOOKS: tuple[int, ...] = (0,) * 8


class Deep(NamedTuple):
    """Statistics of a small grey copy of an image, 8 bits a sample.

    Attributes:
        low, high: smallest and largest value.
        mean: mean value.
        deviation: standard deviation.
        tail: share of the height, from the bottom, in which all values are the same.
        tail_value: that value; 0 if there is no tail.
        detail: energy of the Laplacian by that of the contrast; 0 if the image is plain or under 32 pixels.
        damage: what the JPEG decoder complained about; empty if nothing, or if another decoder was used.
    """

    low: int = 0
    high: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    tail: float = 0.0
    tail_value: int = 0
    detail: float = 0.0
    damage: str = ""


Look = tuple[Header, Deep | None, tuple[int, ...], Pixels | None]
"""An image as decoding it showed: header, statistics, hashes and, unless the header of a JPEG is enough, pixels.

There are no statistics if nothing could be decoded, or the image is too large to be. The eight hashes are of the image
and its mirrored and turned copies (see `LOOKS`); 0 where it shows nothing.
"""


def look_all(images: Iterable[tuple[str, str, Stamp]], channels: int) -> Iterator[Look]:
    """Read the headers of images and decode those that are valid; never raises.

    Several are read, then decoded, then measured: alternating between the three would empty the processor's caches.

    Args:
        images: path, suffix and stamp of each.
        channels: of the model to train.
    """
    for some in open_all(images):
        contents = [content if _is_simple(suffix, header, channels) else None for _, suffix, header, content in some]
        decoded = [
            _decoded(image, channels)
            if small is None or content is None
            else (image[2], small, without_detail(content), None)
            for image, content, small in zip(some, contents, decode_all(contents), strict=True)
        ]
        yield from _judge_all(decoded)


def small_copy(file: str, channels: int, least: int = SMALL_SIDE) -> Grey | None:
    """A grey copy, (h, w), of at least so many pixels a side; None if it cannot be decoded."""
    ((image,),) = open_all([(file, file.rpartition(".")[2].lower(), NO_FILE)])
    return _decoded(image, channels, least)[1]


_Decoded = tuple[Header, Grey | None, str, Pixels | None]
"""The header of an image, its grey copy, what the decoder complained about, and what rules about pixels ask for."""


def _is_simple(suffix: str, header: Header, channels: int) -> bool:
    """Whether an image is a valid JPEG of which the header tells size, bands and type."""
    if header.fault not in SOUND or header.format not in ("JPEG", "MPO") or header.mode not in ("L", "RGB"):
        return False
    return not too_large(header) and not needs_decoding(suffix, header, channels)


def _decoded(image: Opened, channels: int, least: int = SMALL_SIDE) -> _Decoded:
    file, suffix, header, content = image
    if _is_simple(suffix, header, channels):
        small, damage = small_jpeg(file, content, least)
        if small is not None:
            return header, small, damage, None
    if header.fault not in SOUND or too_large(header):
        return header, None, "", None
    pixels, stored = decode(file, suffix, channels)
    return header, None if stored is None else shrink(stored, least), "", pixels


def shrink(stored: NDArray[Any], least: int = SMALL_SIDE) -> Grey:
    """A grey copy of (H, W) or (H, W, C) values as they are trained on, at an eighth of the size or more."""
    height, width = stored.shape[:2]
    factor = min(8, max(1, min(height, width) // least))
    size = (max(1, width // factor), max(1, height // factor))
    if stored.dtype == np.uint16:
        stored = (stored >> 8).astype(np.uint8)
    elif stored.dtype != np.uint8:
        stored = np.clip(np.nan_to_num(stored.astype(np.float32)), 0, 255)
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    if channels > 4:
        stored, channels = stored.mean(axis=2, dtype=np.float32), 1
    small = cv2.resize(np.ascontiguousarray(stored), size, interpolation=cv2.INTER_AREA)
    if small.ndim == 3 and channels in (3, 4):
        small = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY if channels == 3 else cv2.COLOR_BGRA2GRAY)
    elif small.ndim == 3:
        small = small[..., 0]
    return np.asarray(small, np.uint8)


def _judge_all(decoded: Sequence[_Decoded]) -> Iterator[Look]:
    """The statistics and hashes of some images."""
    found = [None if small is None else _measure(small, damage) for _, small, damage, _ in decoded]
    shows = [i for i, deep in enumerate(found) if deep is not None and deep.deviation >= _PLAIN]
    looks = dict(zip(shows, _hash_all([small for i in shows if (small := decoded[i][1]) is not None]), strict=True))
    for i, ((header, _, _, pixels), deep) in enumerate(zip(decoded, found, strict=True)):
        yield header, deep, looks.get(i, _NO_LOOKS), pixels


def _measure(small: Grey, damage: str) -> Deep:
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(small))
    low, high = cv2.minMaxLoc(small)[:2]
    tail, value = _tail(small)
    detail = 0.0
    if deviation >= _PLAIN and min(small.shape) >= SMALL_SIDE:
        edges = cv2.norm(cv2.Laplacian(small, cv2.CV_16S))
        detail = edges**2 / (small.size * deviation**2)
    return Deep(int(low), int(high), mean, deviation, tail, value, detail, damage)


def _tail(small: Grey) -> tuple[float, int]:
    """The share of rows at the bottom in which all values are one, and that value."""
    last = small[-1].tobytes()
    value = last[0]
    if last.count(value) != len(last):
        return 0.0, 0
    other = np.flatnonzero((small != value).any(axis=1))
    first = int(other[-1]) + 1 if len(other) else 0
    return (len(small) - first) / len(small), value


def _hash_all(smalls: Sequence[Grey]) -> Iterator[tuple[int, ...]]:
    """Of each grey copy eight hashes of 64 bits: `LOOKS`, in that order. The lowest bit is always set."""
    found = np.empty((len(smalls), 8), np.uint64)
    shapes: dict[tuple[int, ...], list[int]] = {}
    for i, small in enumerate(smalls):
        shapes.setdefault(small.shape, []).append(i)
    for (height, width), places in shapes.items():
        values = np.stack([smalls[i] for i in places]).astype(np.float32)
        waves = (_waves(height) @ values @ _waves(width).T) > 0
        upright = _packed(waves)
        found[places] = np.concatenate([upright ^ _MIRRORS, _transposed(upright) ^ _MIRRORS], axis=1) | np.uint64(1)
    return map(tuple, found.tolist())


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(n, 1), 64 bits each of (n, 8, 8), the first as the lowest."""
    return np.packbits(bits.reshape(-1, 64), axis=1, bitorder="little").view("<u8").astype(np.uint64)


def _transposed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 bits each as rows of 8 with rows and columns exchanged (Hacker's Delight, 7-3)."""
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        swapped = (bits ^ bits >> np.uint64(shift)) & np.uint64(mask)
        bits = bits ^ swapped ^ swapped << np.uint64(shift)
    return bits


@lru_cache(maxsize=64)
def _waves(length: int) -> NDArray[np.float32]:
    """(8, length): the lowest cosines of the DCT of so many values."""
    at = (2 * np.arange(length) + 1) * np.pi / (2 * length)
    return np.cos(np.arange(_LOW)[:, None] * at).astype(np.float32)


_ODD = np.tile(np.arange(_LOW) % 2 == 1, (_LOW, 1))
_MIRRORS = _packed(np.stack([_ODD ^ _ODD, _ODD, _ODD.T, _ODD ^ _ODD.T])).T
"""(1, 4) uint64: the bits that change by no mirroring, by mirroring in x, in y and in both."""
