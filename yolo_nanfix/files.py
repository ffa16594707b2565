"""Opens and writes files: only regular files within given folders are read, and files are written atomically.

Reading. Untrusted datasets and runs may contain links, pipes and devices. All that ends in a file to be shared
(handoffs, pages) opens what a dataset or a run names through `Within`, so that no other file of this machine gets into
it. A hard link looks like any file; an unpacked archive cannot contain one to a file outside of itself.

Writing. New content is written to a temporary file or folder beside its place, and then renamed. A killed process
leaves such files. Their names tell the machine and the process, and each is locked while its process lives: the next
process that writes there removes those of dead processes, and no others. Where a file system has no locks, or another
machine wrote (or this one before a reboot), age decides.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from functools import lru_cache
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

SYSTEM = ("/proc", "/sys")
"""Folders whose files look regular, but come from the system and tell about this machine."""
_READ = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that takes the place of the file meanwhile is not waited for
    | getattr(os, "O_NOCTTY", 0)
)


class Refusal(str, Enum):
    """Why an existing file is not opened; the values describe it."""

    FOLDER = "a folder"
    DEVICE = "a device"
    PIPE = "a pipe"
    SOCKET = "a socket"
    SYSTEM = "a file of the system"
    LINK = "a link that leads elsewhere"
    OUTSIDE = "a file elsewhere"
    MOVED = "another file than a moment ago"
    LARGE = "far too large"


class NotRegular(OSError):  # noqa: N818 - it says what the file is
    """A file that `Within` refuses to open (`refusal` says why)."""

    def __init__(self, path: str | os.PathLike[str], refusal: Refusal) -> None:
        super().__init__(errno.EINVAL, f"not opened: it is {refusal.value}", os.fspath(path))
        self.refusal = refusal


class Within:
    """The folders from which files may be opened."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]] = (), *, follow_links: bool = False) -> None:
        """Allow some folders.

        Args:
            folders: all below them may be opened; links in their own paths are resolved.
            follow_links: also allow files elsewhere, but regular files only.
        """
        self.folders = tuple(dict.fromkeys(_real_path(folder) for folder in folders))
        self.follow_links = follow_links

    def holds(self, path: str | os.PathLike[str]) -> bool:
        """Whether a path, with all links resolved, is in one of the folders."""
        return any(is_inside(_real_path(path), folder) for folder in self.folders)

    def hold(self, paths: Iterable[str]) -> list[bool]:
        """`holds` for many paths, faster: links in each folder are resolved once."""
        real: dict[str, str] = {}
        found = []
        for path in paths:
            folder, name = os.path.split(path)
            if folder not in real:
                real[folder] = _real_path(folder)
            place = os.path.join(real[folder], name)  # noqa: PTH118
            place = _real_path(path) if name in ("", "..") or os.path.islink(place) else place  # noqa: PTH114
            found.append(any(is_inside(place, one) for one in self.folders))
        return found

    def refusal(self, path: str | os.PathLike[str]) -> Refusal | None:
        """Why `open` would refuse a path, without opening it; None if it would not.

        Raises:
            OSError: there is no file, or no permission.
            ValueError: it is not a valid path.
        """
        real = _real_path(path)
        if not (self.follow_links or any(is_inside(real, folder) for folder in self.folders)):
            named = os.path.abspath(path)  # noqa: PTH100 - without following links
            led = any(is_inside(named, folder) for folder in self.folders) or Path(path).is_symlink()
            return Refusal.LINK if led else Refusal.OUTSIDE
        return not_regular(real)

    def open(self, path: str | os.PathLike[str]) -> BinaryIO:
        """Open a regular file for reading.

        It never waits for a pipe, and never opens a device. The file that was checked is the one that is opened, even
        if links change meanwhile.

        Raises:
            NotRegular: it is not a regular file, or is elsewhere.
            OSError: there is no file, or no permission.
            ValueError: it is not a valid path.
        """
        refused = self.refusal(path)
        if refused is not None:
            raise NotRegular(path, refused)
        real = _real_path(path)
        number = os.open(real, _READ)
        try:
            opened = os.fstat(number)
            refused = _refused_mode(opened.st_mode)
            if refused is None and (_real_path(path) != real or not os.path.samestat(opened, os.lstat(real))):
                refused = Refusal.MOVED
            if refused is not None:
                raise NotRegular(path, refused)
            return os.fdopen(number, "rb")
        except BaseException:
            os.close(number)
            raise

    def read(self, path: str | os.PathLike[str], most: int = -1) -> bytes:
        """The bytes of a regular file, at most `most`; raises as `open` does."""
        with self.open(path) as stream:
            return stream.read(most)


ANYWHERE = Within(follow_links=True)
"""Opens regular files anywhere: for files that the user names."""


def not_regular(path: str | os.PathLike[str]) -> Refusal | None:
    """Why a path, with links followed, is not a regular file (those in `/proc` are not); None if it is.

    Raises:
        OSError: there is no file, or no permission.
        ValueError: it is not a valid path.
    """
    if any(is_inside(_real_path(path), folder) for folder in SYSTEM):
        return Refusal.SYSTEM
    return _refused_mode(os.stat(path).st_mode)  # noqa: PTH116 - asked for each file


def is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or below it, as text: both absolute and without links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _refused_mode(mode: int) -> Refusal | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return Refusal.FOLDER
    if stat.S_ISFIFO(mode):
        return Refusal.PIPE
    return Refusal.SOCKET if stat.S_ISSOCK(mode) else Refusal.DEVICE


def _real_path(path: str | os.PathLike[str]) -> str:
    return os.path.realpath(path)


HEADER_BYTES = 1 << 25
"""Largest header of a safetensors file; three bytes of it take up to seventy of memory."""
HEADER_TEXTS = 1 << 21
"""Most strings in such a header; 100 000 tensors have a million."""


def check_safetensors_header(path: str | Path) -> None:
    """Refuse a header of a safetensors file that would fill the memory, before anything parses it.

    Raises:
        ValueError: the header is larger, or has more entries, than any that the guard writes.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > HEADER_BYTES:
            raise ValueError(f"its header claims {size} bytes; at most {HEADER_BYTES} are read")
        header = stream.read(size)
    texts = (header.count(b'"') - header.count(b'\\"')) // 2
    if texts > HEADER_TEXTS:
        raise ValueError(f"its header has {texts} texts; at most {HEADER_TEXTS} are read")


OLD = 24 * 3600
"""Age in seconds from which a temporary file is removed if it is unknown whether its process lives."""
_NAME = re.compile(r"\.(.*)\.nanfix-([0-9a-f]{8})-\d+-\d+\.(?:tmp|old)", re.DOTALL)
_NAME_BYTES = 100
_counter = count()


@contextmanager
def file(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """A new, empty file beside `path` to write to; at the end of the block it is renamed to `path`.

    Temporary files of dead processes for the same path are removed first. `mode` is before the umask.

    Raises:
        OSError: it cannot be written; then no temporary file remains, and `path` is as it was.
    """
    clear_leftovers(path.parent, of=path.name)
    with _temporary(path, mode) as fresh:
        yield fresh
        fresh.replace(path)


def write_text(path: str | Path, content: str) -> None:
    """Write UTF-8 text atomically: to a new file beside `path`, which is then renamed.

    A link at `path` is replaced, whatever it points to. Devices and open files (`/dev/null`, `/dev/stdout`, what a
    shell passes for `>(...)`) are written to instead.

    Raises:
        OSError: the file cannot be written; then no temporary file remains.
    """
    if _is_of_system(Path(path)):
        with open(path, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(content)
        return
    with file(Path(path)) as fresh, open(fresh, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(content)


def write_json(path: str | Path, value: Any) -> None:
    """Write strict JSON atomically; see `write_text` and `json_text`.

    Raises:
        OSError: the file cannot be written; then no temporary file remains.
        TypeError: `value` contains something that JSON cannot represent.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Strict JSON, ASCII, indented, with a final newline.

    Non-finite numbers become "nan", "inf" and "-inf", enums their values, paths text.
    """
    return json.dumps(_strict(value), allow_nan=False, indent=2) + "\n"


def _strict(value: Any) -> Any:
    if isinstance(value, Enum):
        return _strict(value.value)
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _strict(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


@contextmanager
def folder(path: Path, mode: int = 0o777) -> Iterator[Path]:
    """A new folder beside `path`, which is removed at the end of the block unless it was renamed.

    Raises:
        OSError: it cannot be made.
    """
    clear_leftovers(path.parent, of=path.name)
    with _temporary(path, mode, is_folder=True) as fresh:
        yield fresh


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    """Rename what is at `path` while the block writes something new there.

    At the end it is removed, or renamed back if there is nothing new; `waiting` finds it after a kill.

    Raises:
        OSError: it cannot be renamed.
    """
    if not os.path.lexists(path):
        yield
        return
    old, descriptor = path.with_name(f".{_short(path.name)}.{_ours()}.old"), _open_folder(path)
    try:
        with suppress(BlockingIOError):
            try_lock(descriptor)
        path.rename(old)
        yield
    finally:
        if os.path.lexists(path):
            _remove(old)
        elif os.path.lexists(old):
            old.rename(path)
        if descriptor >= 0:
            os.close(descriptor)


def waiting(path: Path) -> Path | None:
    """What a dead process had moved away from `path` without writing something new; None if there is no such thing."""
    if os.path.lexists(path):
        return None
    return next((entry for entry in _dead(path.parent, path.name) if entry.suffix == ".old"), None)


def clear_leftovers(parent: Path, of: str | None = None) -> int:
    """Remove temporary files of dead processes in a folder, or those `of` one name; returns how many. Never raises."""
    return sum(_remove(path) for path in _dead(parent, of))


def _is_of_system(path: Path) -> bool:
    """Whether a path is a device or an open file, not a regular file."""
    named = os.path.abspath(path)  # noqa: PTH100 - without following links
    if not named.startswith(("/dev/", "/proc/")):
        return False
    try:
        return not stat.S_ISREG(os.lstat(named).st_mode)
    except OSError:
        return False


def _remove(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
    return not os.path.lexists(path)


def _dead(parent: Path, of: str | None) -> Iterator[Path]:
    """The temporary files of dead processes in a folder, each locked while it is yielded."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if entry.name[:1] == "." and ".nanfix-" in entry.name]
    except OSError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or (of is not None and match[1] != _short(of)):
            continue
        try:
            descriptor = _open_entry(parent / name)
        except OSError:
            continue
        try:
            if _is_dead(descriptor, parent / name, is_ours=match[2] == machine()):
                yield parent / name
        finally:
            os.close(descriptor)


def _is_dead(descriptor: int, path: Path, *, is_ours: bool) -> bool:
    """Whether the process of a temporary file is dead; if so, the file is now locked by this process."""
    status = os.fstat(descriptor)
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        return False
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        return False
    try:
        known = try_lock(descriptor) and is_ours
    except BlockingIOError:
        return False
    if not known and time.time() - status.st_mtime < OLD:
        return False
    return _stands(descriptor, path)


def _open_entry(path: Path) -> int:
    """A file or folder, opened so that it can be locked."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, os.O_RDWR | flags)
    except IsADirectoryError:
        return os.open(path, os.O_RDONLY | flags)


def try_lock(descriptor: int) -> bool:
    """Lock a file or folder; False if the file system has no locks.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except (ImportError, OSError):
        return False
    return True


def _stands(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to what was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


@contextmanager
def _temporary(path: Path, mode: int, *, is_folder: bool = False) -> Iterator[Path]:
    """A new, locked file or folder beside `path`, named after this process; it is removed at the end."""
    fresh, descriptor = path, -1
    try:
        for _ in range(9):
            fresh = path.with_name(f".{_short(path.name)}.{_ours()}.tmp")
            if is_folder:
                fresh.mkdir(mode)
                descriptor = _open_folder(fresh)
            else:
                descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
            with suppress(BlockingIOError):  # another process is removing it, as it was not locked yet
                try_lock(descriptor)
                if descriptor < 0 or _stands(descriptor, fresh):
                    break
        else:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(fresh))
        yield fresh
    finally:
        if fresh != path and os.path.lexists(fresh):
            _remove(fresh)
        if descriptor >= 0:
            os.close(descriptor)


def _open_folder(path: Path) -> int:
    try:
        return _open_entry(path)
    except OSError:  # Windows opens none
        return -1


def _ours() -> str:
    return f"nanfix-{machine()}-{os.getpid()}-{next(_counter)}"


@lru_cache(maxsize=1)
def machine() -> str:
    """Eight hex digits that identify this boot of this machine; containers on it have the same."""
    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        known = platform.node()
    return hashlib.sha256(known.encode()).hexdigest()[:8]


def _short(name: str) -> str:
    """A file name, cut so that prefix and suffix still fit."""
    return os.fsencode(name)[:_NAME_BYTES].decode("utf-8", "ignore")
