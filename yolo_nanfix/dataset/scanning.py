"""Lists one folder, here or in a process of its own: in large folders this takes most of the time of a second lint.

This file is also the program of that process, which must start fast: it imports no `typing`, and no `subprocess`.
Names and stamps stay packed until they are asked for: where nothing has changed, their hash is enough.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

LARGE = 1 << 20
"""A folder is large if its own entry takes so many bytes, which is some ten thousand names."""
STAMP = struct.Struct("=qqQQq")
"""A stamp, packed."""
_LENGTHS = struct.Struct("=5Q")


Scan = tuple[bytes, bytes, bytes, bytes, bytes]
"""The entries of a folder, in the order of the system, packed; each name is followed by a zero byte:

- the names of everything but folders (`unpack_names`);
- those of them that are no regular files;
- the folders in it that are not hidden, each as device, inode and name between colons (`unpack_folders`);
- the hidden folders in it, each as the nanoseconds of its last changes, and its name; they are not listed themselves;
- of each name a `STAMP`: bytes, nanoseconds of the last change, device and inode, and nanoseconds of the last change of
  the entry; 0 for those that are no regular files.
"""


def unpack_names(packed: bytes) -> list[str]:
    """Names as text."""
    return os.fsdecode(packed).split("\0")[:-1]


def unpack_folders(packed: bytes) -> list[tuple[str, tuple[int, int]]]:
    """Folders: name, and device and inode."""
    lines = (line.split(":", 2) for line in unpack_names(packed))
    return [(name, (int(device), int(inode))) for device, inode, name in lines]


def scan(folder: str) -> Scan:
    """List a folder; nothing of one that does not exist, or may not be read."""
    names: list[bytes] = []
    odd: list[bytes] = []
    below: list[bytes] = []
    hidden: list[bytes] = []
    try:
        head = os.fsencode(os.path.join(folder, ""))  # noqa: PTH118 - no Path here
        entries = os.listdir(head)  # noqa: PTH208 - names alone
    except (OSError, ValueError):
        head, entries = b"", []
    stamps, end = bytearray(STAMP.size * len(entries)), 0
    look, regular, pack = os.stat, stat.S_ISREG, STAMP.pack_into
    for name in entries:
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
    return _joined(names), _joined(odd), _joined(below), _joined(hidden), bytes(memoryview(stamps)[:end])


def _joined(lines: list[bytes]) -> bytes:
    return b"\0".join([*lines, b""])


def is_large(folder: str) -> bool:
    """Whether listing a folder is worth a process."""
    try:
        return os.stat(folder).st_size >= LARGE  # noqa: PTH116 - no Path here
    except (OSError, ValueError):
        return False


def scan_aside(folder: str) -> subprocess.Popen[bytes]:
    """Start a process that lists a folder; `scanned` waits for it.

    Raises:
        OSError: no process can be started.
    """
    import subprocess

    command = [sys.executable, "-I", "-S", __file__, folder, str(os.getpid())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def scanned(process: subprocess.Popen[bytes]) -> Scan | None:
    """The answer of such a process, or None if it gave none."""
    data, _ = process.communicate()
    parts, at = [], _LENGTHS.size
    try:
        for length in () if process.returncode else _LENGTHS.unpack_from(data):
            parts.append(data[at : at + length])
            at += length
        names, odd, below, hidden, stamps = parts
    except (struct.error, ValueError):
        return None
    whole = at == len(data) and len(stamps) == STAMP.size * names.count(b"\0")
    return (names, odd, below, hidden, stamps) if whole else None


def start(folders: Iterable[str]) -> dict[str, subprocess.Popen[bytes] | Scan]:
    """Let other processes list the large ones among some folders, one each, and list the others meanwhile.

    Those for which no process can be started are left out.
    """
    started: dict[str, subprocess.Popen[bytes] | Scan] = {}
    several = list(dict.fromkeys(folders))
    large = list(filter(is_large, several))
    for folder in large:
        try:
            started[folder] = scan_aside(folder)
        except OSError:  # no more processes
            break
    return started | {folder: scan(folder) for folder in several if folder not in large}


def _pack(found: Scan) -> bytes:
    return b"".join((_LENGTHS.pack(*map(len, found)), *found))


def _listed_from_within(folder: str) -> Scan:
    """As `scan`, with the folder as the current one, in which the system finds files a little faster."""
    try:
        os.chdir(folder)
    except (OSError, ValueError):
        return scan(folder)
    return scan(os.curdir)


def _end_with(parent: int) -> None:
    """End this process once its parent has ended; checks twice a second."""
    import time

    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    if hasattr(os, "getppid"):
        import _thread  # faster to import than `threading`

        _thread.start_new_thread(_end_with, (int(sys.argv[2]),))
    try:
        sys.stdout.buffer.write(_pack(_listed_from_within(sys.argv[1])))
        sys.stdout.buffer.flush()
    except (KeyboardInterrupt, BrokenPipeError):  # the business of the process that asked
        os._exit(1)
