"""The headers of many JPEGs at once: nearly all are ordinary, and told from the bytes of all of them together.

What is in any doubt here is left to `headers.read_header`, which reads one file with care.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from yolo_nanfix.dataset.image_header import END, HEAD_BYTES
from yolo_nanfix.dataset.jpeg_segments import (
    BOMB_PIXELS,
    FRAMES,
    HARMLESS,
    PRECISE,
    READ,
    TABLE,
    TABLES,
    TWO_TABLES,
    read_at,
)

_WINDOW = 1024
"""The bytes in which a frame header is looked for; those of ordinary JPEGs begin within some hundred."""
_FRAME_BYTES = 10
_RGB_LENGTH = 17
"""Bytes of a frame header of three components, its marker not counted."""


class Heads(NamedTuple):
    """N files.

    Attributes:
        ordinary: (N,) bool, a JPEG as in `Header.ordinary`.
        width, height: (N,) int32, pixels; 0 where it is not ordinary.
    """

    ordinary: NDArray[np.bool_]
    width: NDArray[np.int32]
    height: NDArray[np.int32]


def read_heads(files: Sequence[str], sizes: Sequence[int]) -> tuple[list[bytes], list[int]]:
    """The first bytes of files that end as a JPEG does, as many as `judge_heads` looks at, and their `content` hashes.

    Nothing of any that does not end so, or cannot be read.

    Args:
        files: their paths.
        sizes: bytes of each.
    """
    heads: list[bytes] = []
    contents: list[int] = []
    keep, note, start, read, end, last = heads.append, contents.append, os.open, os.read, os.close, read_at
    for file, size in zip(files, sizes, strict=True):
        head = b""
        try:
            fd = start(file, READ)
            try:
                head = read(fd, HEAD_BYTES)
                if (head[-2:] if len(head) >= size else last(fd, 2, size - 2)) != END:
                    head = b""
            finally:
                end(fd)
        except (OSError, ValueError):
            head = b""
        keep(head[:_WINDOW])
        note(xxh3_64_intdigest(head, size))
    return heads, contents


def judge_heads(heads: Sequence[bytes]) -> Heads:
    """Which of some files are ordinary JPEGs, and their sizes, from what `read_heads` gave.

    The segments of all are walked side by side, one step of each at a time.
    """
    count = len(heads)
    found = Heads(np.zeros(count, np.bool_), np.zeros(count, np.int32), np.zeros(count, np.int32))
    data = np.frombuffer(b"".join([head.ljust(_WINDOW, b"\0") for head in heads]), np.uint8)
    starts = np.arange(count) * _WINDOW
    open_ = np.flatnonzero((data[starts] == 0xFF) & (data[starts + 1] == 0xD8) & (data[starts + 2] == 0xFF))
    at = np.full(count, 2)
    while len(open_):
        place = starts[open_] + at[open_]
        marker, length = _number(data, place), _number(data, place + 2)
        framed = _FRAMES[marker]
        _note_frames(found, data, open_[framed], place[framed], length[framed])
        on = length >= _LEAST[marker]
        _judge_tables(data, place, length, marker, on)
        open_ = open_[on]
        at[open_] += 2 + length[on]
        open_ = open_[at[open_] <= _WINDOW - _FRAME_BYTES]
    return found


def _number(data: NDArray[np.uint8], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of two bytes at some places."""
    return data[place].astype(np.int64) << 8 | data[place + 1]


def _note_frames(
    found: Heads,
    data: NDArray[np.uint8],
    images: NDArray[np.int64],
    place: NDArray[np.int64],
    length: NDArray[np.int64],
) -> None:
    """Judge the frame headers of some images, which stand at some places."""
    height, width = _number(data, place + 5), _number(data, place + 7)
    pixels = height * width
    usual = (data[place + 4] == 8) & (data[place + 9] == 3) & (length == _RGB_LENGTH)
    usual &= (pixels > 0) & (pixels <= BOMB_PIXELS)
    chosen = images[usual]
    found.ordinary[chosen] = True
    found.width[chosen], found.height[chosen] = width[usual], height[usual]


def _judge_tables(
    data: NDArray[np.uint8],
    place: NDArray[np.int64],
    length: NDArray[np.int64],
    marker: NDArray[np.int64],
    on: NDArray[np.bool_],
) -> None:
    """Go on behind those quantization tables only that are of the usual sizes."""
    tables = np.flatnonzero((marker == TABLES) & on)
    spot, taken = place[tables] + 4, length[tables]
    second = np.minimum(spot + TABLE - 2, len(data) - 1)
    two = (taken == TWO_TABLES) & (data[second] < PRECISE)
    on[tables] = (data[spot] < PRECISE) & ((taken == TABLE) | two)


_FRAMES, _LEAST = np.zeros(1 << 16, np.bool_), np.full(1 << 16, 1 << 16)
_FRAMES[list(FRAMES)] = True
_LEAST[list(HARMLESS)] = list(HARMLESS.values())
