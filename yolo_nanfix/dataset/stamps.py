"""What tells whether a file has changed."""

from __future__ import annotations

import os
from typing import NamedTuple


class Stamp(NamedTuple):
    """What a file's entry says of it.

    Attributes:
        size: bytes.
        mtime_ns: nanoseconds of the last change, as programs may set it: unpacked files get the times in the archive,
            so that a changed file of the same size may have the time of the one before.
        device, inode: the device, and the number of the file on it; a file that is written anew may get the number of
            the one before.
        ctime_ns: nanoseconds of the last change of content or entry, which nothing sets back.
    """

    size: int
    mtime_ns: int
    device: int
    inode: int
    ctime_ns: int = 0


NOTHING = Stamp(0, 0, 0, 0)
"""The stamp of a file that does not exist, or is not a regular one."""


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file; device and number as signed numbers of 64 bits, as columns hold them."""
    return Stamp(status.st_size, status.st_mtime_ns, _signed(status.st_dev), _signed(status.st_ino), status.st_ctime_ns)


def _signed(number: int) -> int:
    """Some file systems number their files from 2^63 on."""
    return number - (number >> 63 << 64)
