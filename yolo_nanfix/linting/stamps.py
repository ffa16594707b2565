"""What tells whether a file has changed."""

from __future__ import annotations

import os
from typing import NamedTuple


class Stamp(NamedTuple):
    """Bytes, nanoseconds of the last change, and the device and the number of a file on it."""

    size: int
    mtime_ns: int
    device: int
    inode: int


NOTHING = Stamp(0, 0, 0, 0)
"""The stamp of a file that does not exist, or is not a regular one."""


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file; device and number as signed numbers of 64 bits, as columns hold them."""
    return Stamp(status.st_size, status.st_mtime_ns, _signed(status.st_dev), _signed(status.st_ino))


def _signed(number: int) -> int:
    """Some file systems number their files from 2^63 on."""
    return number - (number >> 63 << 64)
