"""Reads files for `lint --deep`, some at a time, and decodes JPEGs at an eighth of their size."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from yolo_nanfix.dataset.image_header import HEAD_BYTES, JPEGS, Header, read_header
from yolo_nanfix.dataset.stamps import Stamp

Grey = NDArray[np.uint8]
Content = memoryview | bytes

LEAST = 32
"""Small copies have at least so many pixels a side, if the image has."""
_TOGETHER, _MEMORY, _PIXELS = 64, 1 << 23, 1 << 28
"""So many files, or so many bytes of them, or so many pixels, are read one after the other."""
_LARGEST = 1 << 28
"""Bytes of a JPEG that are read at most: it would have more pixels than are ever decoded."""
_GREY = 128
_HARMLESS_BYTES = 16
_WANTED = {"min_height": LEAST, "min_width": LEAST, "min_factor": 1}
_decoder = partial(simplejpeg.decode_jpeg, colorspace="GRAY", **_WANTED)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker")


class Opened(NamedTuple):
    """A file: path, suffix, header, and what it holds, if it was read whole."""

    file: str
    suffix: str
    header: Header
    content: Content | None


class _Memory(threading.local):
    """Where files are read to; memory that is asked for anew for each file costs more than reading it."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_MEMORY))


_memory = _Memory()


def open_all(images: Iterable[tuple[str, str, Stamp]]) -> Iterator[list[Opened]]:
    """Read images, some at a time; what they hold is good until the next ones are asked for.

    Args:
        images: path, suffix and stamp of each.
    """
    some: list[Opened] = []
    used = pixels = 0
    for file, suffix, stamp in images:
        whole = suffix in JPEGS and 0 < stamp.size < _MEMORY  # else it may be anything, of any size
        if some and (len(some) == _TOGETHER or pixels >= _PIXELS or (whole and used + stamp.size >= _MEMORY)):
            yield some
            some, used, pixels = [], 0, 0
        if whole:
            some.append(_opened(file, suffix, stamp, _memory.view[used : used + stamp.size + 1]))
            used += stamp.size
        else:
            some.append(Opened(file, suffix, read_header(file, stamp), None))
        pixels += some[-1].header.width * some[-1].header.height
    if some:
        yield some


def _opened(file: str, suffix: str, stamp: Stamp, room: memoryview) -> Opened:
    """A file that is read into some room, of a byte more than it should take."""
    count = 0

    def both_ends(file: str, size: int) -> tuple[bytes, bytes]:
        nonlocal count
        with open(file, "rb", buffering=0) as stream:
            count = stream.readinto(room)
        return bytes(room[: min(count, HEAD_BYTES)]), bytes(room[max(count - 2, 0) : count])

    header = read_header(file, stamp, both_ends)
    return Opened(file, suffix, header, room[:count] if count == stamp.size else None)


def decode_all(contents: Sequence[Content | None]) -> list[Grey | None]:
    """The grey copies of some JPEGs; None for nothing, and for what is not sound: `small_jpeg` says why."""
    found: list[Grey | None] = []
    for content in contents:  # each step is taken with the caches of the processor full of the last image: so few
        try:
            found.append(None if content is None else _decoder(content))
        except Exception:  # a decoder raises anything
            found.append(None)
    return [None if small is None else small[..., 0] for small in found]


def small_jpeg(file: str, content: Content | None, least: int = LEAST) -> tuple[Grey | None, str]:
    """The grey copy of a JPEG, (h, w), at an eighth of its size or more, and what the decoder complained about.

    Args:
        file: its path.
        content: what it holds, if that was read.
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
            damage = "" if _harmless(str(error)) else str(error)
            small = _decode(content, least, strict=False)
    except Exception:  # what it cannot decode at all is left to the decoder that Ultralytics uses
        return None, ""
    return small[..., 0], damage


def _decode(content: Content, least: int, *, strict: bool) -> Grey:
    """(h, w, 1) bytes; ValueError for what cannot be decoded, if strict also for what is damaged.

    What the decoder leaves out of a damaged one is grey, not what the memory held before.
    """
    room: Grey | None = None
    wanted = {**_WANTED, "min_height": least, "min_width": least}
    if not strict:
        height, width = simplejpeg.decode_jpeg_header(content, **wanted)[:2]
        room = np.full(height * width, _GREY, np.uint8)
    small: Grey = _decoder(content, buffer=room, strict=strict, **wanted)
    return small


def _harmless(complaint: str) -> bool:
    """Whether a complaint is about padding between segments, as some cameras and tools leave it."""
    found = _EXTRANEOUS.search(complaint)
    return bool(found) and int(found[1]) <= _HARMLESS_BYTES if found else False
