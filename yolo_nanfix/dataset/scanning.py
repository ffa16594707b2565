"""Lists one folder, here or in a process of its own: for large ones the system's answers take most of a second lint.

This file is also the program of that process, which must start fast: it imports what it needs, no `typing`, and
`subprocess` for the other one only. Names and stamps stay packed until someone asks for them: where nothing has
changed, a hash of them is all that is wanted.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterable

LARGE = 1 << 20
"""A folder is large if its own entry takes so many bytes, which is some ten thousand names."""
STAMP = struct.Struct("=qqQQq")
"""A stamp, packed."""
_LENGTHS = struct.Struct("=5Q")


class Scan:
    """What a folder holds, in the order of the system.

    Attributes:
        packed: the names of everything but folders, with a zero behind each.
        odd: those of them that are no regular files, likewise.
        below: the folders in it, hidden ones aside, likewise, each as device, number and name between colons.
        hidden: the hidden folders in it, likewise, each as nanoseconds of its last changes and name; what is in them is
            not listed, but told when something comes or goes.
        stamps: of each name a `STAMP`: bytes, nanoseconds of the last change, device and number, and nanoseconds of the
            last change of the entry; 0 for the odd ones.
    """

    __slots__ = ("below", "hidden", "odd", "packed", "stamps")

    def __init__(self, packed: bytes, odd: bytes, below: bytes, hidden: bytes, stamps: bytes) -> None:
        """Hold what was packed.

        Raises:
            ValueError: there are not as many stamps as names.
        """
        self.packed, self.odd, self.below, self.hidden, self.stamps = packed, odd, below, hidden, stamps
        if len(stamps) != STAMP.size * packed.count(b"\0"):
            raise ValueError("not whole")

    def names(self) -> list[str]:
        """The names, as text."""
        return os.fsdecode(self.packed).split("\0")[:-1]

    def folders(self) -> list[tuple[str, tuple[int, int]]]:
        """The folders in it: name, and device and number."""
        lines = (line.split(":", 2) for line in os.fsdecode(self.below).split("\0")[:-1])
        return [(name, (int(device), int(number))) for device, number, name in lines]

    def hidden_folders(self) -> list[str]:
        """The names of the hidden folders in it."""
        return [line.partition(":")[2] for line in os.fsdecode(self.hidden).split("\0")[:-1]]


def scan(folder: str) -> Scan:
    """List a folder; one that is not there, or may not be read, holds nothing."""
    names: list[bytes] = []
    odd: list[bytes] = []
    below: list[bytes] = []
    hidden: list[bytes] = []
    try:
        head = os.fsencode(os.path.join(folder, ""))  # noqa: PTH118 - no Path here
        there = os.listdir(head)  # noqa: PTH208 - names alone
    except (OSError, ValueError):
        head, there = b"", []
    stamps, end = bytearray(STAMP.size * len(there)), 0
    look, regular, pack = os.stat, stat.S_ISREG, STAMP.pack_into
    for name in there:
        try:
            s = look(head + name)
        except (OSError, ValueError):  # a broken link, or one in a cycle
            s = None
        if s is not None and regular(s.st_mode):
            pack(stamps, end, s.st_size, s.st_mtime_ns, s.st_dev, s.st_ino, s.st_ctime_ns)
        elif s is None or not stat.S_ISDIR(s.st_mode):
            odd.append(name)
        else:
            if name[:1] == b".":
                hidden.append(b"%d-%d:%b" % (s.st_mtime_ns, s.st_ctime_ns, name))
            else:
                below.append(b"%d:%d:%b" % (s.st_dev, s.st_ino, name))
            continue
        names.append(name)
        end += STAMP.size
    kept = bytes(memoryview(stamps)[:end])
    return Scan(_joined(names), _joined(odd), _joined(below), _joined(hidden), kept)


def _joined(lines: list[bytes]) -> bytes:
    return b"\0".join([*lines, b""])


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

        command = [sys.executable, "-I", "-S", __file__, folder, str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def take(self) -> Scan | None:
        """Its answer, or None if it gave none."""
        data, _ = self._process.communicate()
        try:
            return None if self._process.returncode else _unpack(data)
        except (struct.error, ValueError):
            return None


def start(folders: Iterable[str]) -> dict[str, Ahead | Scan]:
    """Let other processes list the large ones among some folders, one each, and list the others meanwhile.

    Those for which no process can be started are left out.
    """
    started: dict[str, Ahead | Scan] = {}
    several = list(dict.fromkeys(folders))
    large = list(filter(is_large, several))
    for folder in large:
        try:
            started[folder] = Ahead(folder)
        except OSError:  # no more processes
            break
    return started | {folder: scan(folder) for folder in several if folder not in large}


def _pack(found: Scan) -> bytes:
    parts = (found.packed, found.odd, found.below, found.hidden, found.stamps)
    return b"".join((_LENGTHS.pack(*map(len, parts)), *parts))


def _unpack(data: bytes) -> Scan:
    lengths = _LENGTHS.unpack_from(data)
    parts, at = [], _LENGTHS.size
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    if at != len(data):
        raise ValueError("not whole")
    return Scan(*parts)


def _listed_from_within(folder: str) -> Scan:
    """As `scan`; the system finds files a little faster from the folder that it stands in."""
    try:
        os.chdir(folder)
    except (OSError, ValueError):
        return scan(folder)
    return scan(os.curdir)


def _end_with(parent: int) -> None:
    """End this process once the one that asked has ended; several times a second is looked."""
    import time

    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    if hasattr(os, "getppid"):
        import _thread  # what `threading` stands on

        _thread.start_new_thread(_end_with, (int(sys.argv[2]),))
    try:
        sys.stdout.buffer.write(_pack(_listed_from_within(sys.argv[1])))
        sys.stdout.buffer.flush()
    except (KeyboardInterrupt, BrokenPipeError):  # the business of the process that asked
        os._exit(1)
