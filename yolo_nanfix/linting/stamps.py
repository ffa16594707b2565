"""What tells whether a file has changed."""

from __future__ import annotations

from typing import NamedTuple


class Stamp(NamedTuple):
    """Bytes, nanoseconds of the last change, and the device and the number of a file on it."""

    size: int
    mtime_ns: int
    device: int
    inode: int


NOTHING = Stamp(0, 0, 0, 0)
"""The stamp of a file that does not exist, or is not a regular one."""
