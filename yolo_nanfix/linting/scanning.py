"""Lists one folder, here or in a process of its own: for large ones the system's answers take most of a second lint.

This file is also the program of that process, which must start fast: it imports what it needs, no `typing`, and
`subprocess` for the other one only.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from array import array
from collections.abc import Iterable

LARGE = 1 << 20
"""A folder is large if its own entry takes so many bytes, which is some ten thousand names."""
_LENGTHS = struct.Struct("<4Q")
_NOTHING = (0, 0, 0, 0)


class Scan:
    """What a folder holds, in the order of the system.

    Attributes:
        names: of everything but folders.
        odd: those of them that are no regular files.
        below: the folders in it, hidden ones aside, each as device, number and name.
        stamps: four numbers a name: bytes, nanoseconds of the last change, device and number; 0 for the odd ones.
    """

    __slots__ = ("below", "names", "odd", "stamps")

    def __init__(self) -> None:
        """Nothing yet."""
        self.names: list[str] = []
        self.odd: list[str] = []
        self.below: list[tuple[int, int, str]] = []
        self.stamps = array("q")


def scan(folder: str) -> Scan:
    """List a folder; one that is not there, or may not be read, holds nothing."""
    found = Scan()
    names, stamps, regular = found.names, found.stamps, stat.S_ISREG
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    s = entry.stat()
                except (OSError, ValueError):  # a broken link, or one that goes round
                    _note_odd(entry.name, found)
                    continue
                if regular(s.st_mode):
                    names.append(entry.name)
                    stamps.extend((s.st_size, s.st_mtime_ns, s.st_dev, s.st_ino))
                elif not stat.S_ISDIR(s.st_mode):
                    _note_odd(entry.name, found)
                elif entry.name[0] != ".":
                    found.below.append((s.st_dev, s.st_ino, entry.name))
    except (OSError, ValueError):
        pass
    return found


def _note_odd(name: str, found: Scan) -> None:
    found.names.append(name)
    found.odd.append(name)
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
        import subprocess

        command = [sys.executable, "-I", "-S", __file__, folder]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def take(self) -> Scan | None:
        """Its answer, or None if it gave none."""
        data, _ = self._process.communicate()
        try:
            return None if self._process.returncode else _unpack(data)
        except (struct.error, ValueError):
            return None


def start(folders: Iterable[str]) -> dict[str, Ahead]:
    """Let other processes list the large ones among some folders, each in one of its own."""
    started: dict[str, Ahead] = {}
    for folder in filter(is_large, dict.fromkeys(folders)):
        try:
            started[folder] = Ahead(folder)
        except OSError:  # no more processes: they are listed here
            break
    return started


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
    found = Scan()
    found.names, found.odd, below = (os.fsdecode(text).split("\0") if text else [] for text in parts[:3])
    for line in below:
        device, number, name = line.split(":", 2)
        found.below.append((int(device), int(number), name))
    found.stamps.frombytes(parts[3])
    if at != len(data) or len(found.stamps) != 4 * len(found.names):
        raise ValueError("not whole")
    return found


if __name__ == "__main__":
    sys.stdout.buffer.write(_pack(scan(sys.argv[1])))
