"""Lists one folder, here or in a process of its own: for a large one the system's answers take most of a second lint.

This file is also the program of that process, which must start fast: it imports nothing but the standard library.
"""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
from array import array
from typing import NamedTuple

LARGE = 1 << 20
"""A folder is large if its own entry takes so many bytes, which is some ten thousand names."""
_LENGTHS = struct.Struct("<4Q")
_NOTHING = (0, 0, 0, 0)


class Scan(NamedTuple):
    """What a folder holds, in the order of the system.

    Attributes:
        names: of everything but folders.
        odd: those of them that are no regular files.
        below: the folders in it, hidden ones aside, each as device, number and name.
        stamps: four numbers a name: bytes, nanoseconds of the last change, device and number; 0 for the odd ones.
    """

    names: list[str]
    odd: list[str]
    below: list[tuple[int, int, str]]
    stamps: array[int]


def scan(folder: str) -> Scan:
    """List a folder; one that is not there, or may not be read, holds nothing."""
    found = Scan([], [], [], array("q"))
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _note(entry, found)
    except (OSError, ValueError):
        pass
    return found


def _note(entry: os.DirEntry[str], found: Scan) -> None:
    try:
        s = entry.stat()
    except (OSError, ValueError):  # a broken link, or one that goes round
        s = None
    if s is not None and stat.S_ISREG(s.st_mode):
        found.names.append(entry.name)
        found.stamps.extend((s.st_size, s.st_mtime_ns, s.st_dev, s.st_ino))
    elif s is not None and stat.S_ISDIR(s.st_mode):
        if entry.name[0] != ".":
            found.below.append((s.st_dev, s.st_ino, entry.name))
    else:
        found.names.append(entry.name)
        found.odd.append(entry.name)
        found.stamps.extend(_NOTHING)


def is_large(folder: str) -> bool:
    """Whether listing a folder is worth a process."""
    try:
        return os.stat(folder).st_size >= LARGE  # noqa: PTH116 - no Path here
    except (OSError, ValueError):
        return False


class Ahead:
    """A folder that another process lists meanwhile."""

    def __init__(self, folder: str) -> None:
        """Start it.

        Raises:
            OSError: no process can be started.
        """
        command = [sys.executable, "-I", "-S", __file__, folder]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def take(self) -> Scan | None:
        """Its answer, or None if it gave none."""
        data, _ = self._process.communicate()
        try:
            return None if self._process.returncode else _unpack(data)
        except (struct.error, ValueError):
            return None


def _pack(found: Scan) -> bytes:
    below = [f"{device}:{number}:{name}" for device, number, name in found.below]
    texts = [os.fsencode("\0".join(lines)) for lines in (found.names, found.odd, below)]
    parts = [*texts, found.stamps.tobytes()]
    return _LENGTHS.pack(*map(len, parts)) + b"".join(parts)


def _unpack(data: bytes) -> Scan:
    lengths = _LENGTHS.unpack_from(data)
    parts, at = [], _LENGTHS.size
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    names, odd, below = (os.fsdecode(text).split("\0") if text else [] for text in parts[:3])
    folders = [line.split(":", 2) for line in below]
    stamps = array("q")
    stamps.frombytes(parts[3])
    if at != len(data) or len(stamps) != 4 * len(names):
        raise ValueError("not whole")
    return Scan(names, odd, [(int(device), int(number), name) for device, number, name in folders], stamps)


if __name__ == "__main__":
    sys.stdout.buffer.write(_pack(scan(sys.argv[1])))
