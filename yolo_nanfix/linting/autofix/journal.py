"""The undo journal: the original bytes of every file that a fix run changes, on disk before the first change.

<user data folder>/yolo-nanfix/fixes/lock          locked by the one run that may write
<user data folder>/yolo-nanfix/fixes/<number>/
    begun           exists until journal.json is complete: until then the run has changed nothing
    pack.bin        bytes of the files, before and after, one after the other
    journal.json    two lines: the dataset, with a hash of the second line; the steps to do
    applied.json    the steps that were done; missing if the run was killed
    undone.json     the steps that undo could not revert, because the files had changed since
    cleared.json    exists once the temporary files of an interrupted run are removed

These files may be damaged or edited, so all of them are checked: `journal_of` says what a journal may hold.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from platformdirs import user_data_path

from yolo_nanfix.errors import UsageError
from yolo_nanfix.files import try_lock
from yolo_nanfix.linting.autofix.file_changes import Edit, FolderEntry, digest, held, put_file, say, stamp, sync_folders
from yolo_nanfix.linting.autofix.reasons import Left, Why

KEEP = 20
"""Number of journals stored for one dataset; older ones are removed when a new one is written."""
_GONE = "gone-"
"""Prefix of the folder of a journal that is being removed."""
_NUMBER_DIGITS = 12
VERSION = 2
LARGEST_JOURNAL = 1 << 30
"""Bytes; a step takes about 500."""
_LINE = 1 << 16
_HEX = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[0-9a-f]{8}")
_MODE = 0o7777
_WORD = 1 << 63
_STAMP = 5


class Damaged(Exception):  # noqa: N818 - a state, not an error
    """A journal cannot be read; the message says why.

    Attributes:
        folder: its folder.
        data: the dataset that it names; None if that cannot be read either.
    """

    def __init__(self, folder: Path, why: str, data: str | None = None) -> None:
        super().__init__(why)
        self.folder, self.data = folder, data


@dataclass(frozen=True)
class Step:
    """One change: `path` with the bytes `before` became `target` with the bytes `after`.

    Attributes:
        path, target: the same unless the file was moved.
        before, after: SHA-256.
        at, size: where the original bytes are in the pack.
        new_at, new_size: where the new bytes are; the same if they do not change.
        mode, mtime_ns: permission bits and modification time of the original file.
        stamp: of the file when it was read, see `file_changes.stamp`.
    """

    path: str
    target: str
    before: str
    after: str
    at: int
    size: int
    new_at: int
    new_size: int
    mode: int
    mtime_ns: int
    stamp: tuple[int, ...]


@dataclass(frozen=True)
class Journal:
    """One committed fix run.

    Attributes:
        folder: the folder of the journal.
        data: the dataset: the real path of its data.yaml, or of its folder.
        root: the real path of the folder of its images.
        token: a part of the names of its temporary files.
        steps: the changes.
        folders: the folders that had to be made.
        whole: whether it is a fix of the whole set, which must change all files or none.
    """

    folder: Path
    data: str
    root: str
    token: str
    steps: tuple[Step, ...]
    folders: tuple[str, ...]
    whole: bool

    def temp(self, step: int) -> str:
        """The name of the temporary file of a step."""
        return f".nanfix-{self.token}-{step}.tmp"

    def original(self, step: Step) -> bytes:
        """The bytes before the step; raises `Left` if they are no longer in the journal."""
        return self._read(step.at, step.size, step.before)

    def fresh(self, step: Step) -> bytes:
        """The bytes after the step; raises as `original` does."""
        return self._read(step.new_at, step.new_size, step.after)

    def _read(self, at: int, size: int, wanted: str) -> bytes:
        try:
            with _opened_file(self.folder, "pack.bin") as pack:
                end = os.fstat(pack.fileno()).st_size
                pack.seek(min(at, end))
                content = pack.read(min(size, end))
        except (OSError, Left) as error:
            raise Left(Why.BYTES_UNREADABLE, pack=str(self.folder / "pack.bin"), error=say(error)) from None
        if digest(content) != wanted:
            raise Left(Why.BYTES_DAMAGED, pack=str(self.folder / "pack.bin"))
        return content

    def applied(self) -> set[int] | None:
        """The steps that were done; None if the run did not finish, or if that cannot be read."""
        try:
            with _opened_file(self.folder, "applied.json") as stream:
                content = stream.read(LARGEST_JOURNAL)
            done, _, hashed = content.partition(b"\n")
            return set(json.loads(done)) if hashed == digest(done).encode() else None
        except (OSError, ValueError, TypeError, RecursionError, Left):
            return None

    def note(self, name: str, content: Any) -> None:
        """Write one of the small files of the journal, flushed to the disk: JSON, and after it a hash of that."""
        text = json.dumps(content).encode()
        _write_file(self.folder, name, text + b"\n" + digest(text).encode())

    def remove(self) -> None:
        """Remove the journal; once renamed, it counts as removed."""
        gone = self.folder.with_name(f"{_GONE}{self.folder.name}")
        with contextlib.suppress(OSError):
            self.folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def store() -> Path:
    """The folder of all journals of this user."""
    return Path(user_data_path("yolo-nanfix", appauthor=False)) / "fixes"


@contextmanager
def locked(folder: Path, dataset: str | None = None) -> Iterator[None]:
    """Hold the lock of all writers; it ends with the process, however that ends.

    Args:
        folder: of all journals.
        dataset: a folder that is locked, too, against other users.

    Raises:
        UsageError: another run holds the lock, or the folder cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stream = open(folder / "lock", "a+b")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unusable(folder, error) from None
    with stream, contextlib.ExitStack() as stack:
        try:
            _flock(stream.fileno())
            if dataset is not None:
                stack.enter_context(_locked_folder(dataset))
        except OSError:
            raise UsageError("another fix or undo is running; wait for its end, nothing changed") from None
        try:
            _remove_gone(folder)
        except OSError as error:
            raise _unusable(folder, error) from None
        yield


def _unusable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"the folder of undo journals {folder} cannot be used ({say(error)}); nothing changed")


def _remove_gone(folder: Path) -> None:
    """Remove the remains of runs that were killed before their first change, and of removed journals."""
    for one in folder.iterdir():
        if _journal_number(one.name.removeprefix(_GONE)) is None or not one.is_dir():
            continue
        never = not (one / "journal.json").exists() and ((one / "begun").exists() or not any(one.iterdir()))
        if never or one.name.startswith(_GONE):
            shutil.rmtree(one, ignore_errors=True)


def _journal_number(name: str) -> int | None:
    return int(name) if name.isascii() and name.isdecimal() and len(name) <= _NUMBER_DIGITS else None


@contextmanager
def _locked_folder(path: str) -> Iterator[None]:
    """Lock a folder, if system and disk can: the lock of the journals is one of each user.

    Raises:
        BlockingIOError: another run holds the lock.
    """
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        yield
        return
    try:
        try_lock(number)
        yield
    finally:
        os.close(number)


def _flock(fd: int) -> None:
    """Take an exclusive lock or raise OSError at once."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    else:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Writer:
    """Writes a new journal; nothing of it counts before `commit`."""

    def __init__(self, store_: Path, data: str, root: str) -> None:
        numbers = (_journal_number(folder.name.removeprefix(_GONE)) for folder in store_.iterdir())
        last = max((number for number in numbers if number is not None), default=0)
        self._folder = store_ / f"{last + 1:06d}"
        self._folder.mkdir(mode=0o700)
        (self._folder / "begun").touch()
        self._pack = open(self._folder / "pack.bin", "xb")  # noqa: SIM115 - closed by commit and abandon
        self._data, self._root = data, root
        self._steps: list[Step] = []
        self._folders: dict[str, None] = {}
        self._whole = False

    def add(self, edit: Edit) -> None:
        """Store the bytes of one edit."""
        seen = edit.seen
        at = new_at = self._pack.tell()
        self._pack.write(seen.content)
        if edit.after != seen.content:
            new_at = self._pack.tell()
            self._pack.write(edit.after)
        before, after = digest(seen.content), digest(edit.after)
        sizes = (len(seen.content), new_at, len(edit.after))
        step = Step(edit.path, edit.target, before, after, at, *sizes, seen.mode, seen.mtime_ns, seen.stamp)
        self._steps.append(step)
        self._whole |= edit.whole
        folder = Path(edit.target).parent
        missing = []
        while not folder.exists():
            missing.append(str(folder))
            folder = folder.parent
        self._folders.update(dict.fromkeys(reversed(missing)))

    def commit(self) -> Journal | None:
        """Flush everything to the disk, so that the run can be undone. None if there are no edits."""
        self._pack.flush()
        os.fsync(self._pack.fileno())
        self._pack.close()
        if not self._steps:
            self.abandon()
            return None
        steps, folders = tuple(self._steps), tuple(self._folders)
        journal = Journal(self._folder, self._data, self._root, secrets.token_hex(4), steps, folders, self._whole)
        _write_file(self._folder, "journal.json", journal_text(journal))
        (self._folder / "begun").unlink(missing_ok=True)
        sync_folders({str(self._folder), str(self._folder.parent)})
        return journal

    def abandon(self) -> None:
        """Remove the journal."""
        self._pack.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def _opened_file(folder: Path, name: str) -> Iterator[BinaryIO]:
    """A file of a journal, open for reading; raises OSError if it is no regular file, or cannot be read."""
    with held(os.path.realpath(folder)) as here, open(here.open(name, os.O_RDONLY), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        yield stream


def _write_file(folder: Path, name: str, content: bytes) -> None:
    with held(os.path.realpath(folder)) as here:
        spot = FolderEntry(here, name)
        with contextlib.suppress(OSError):
            here.unlink(f".{name}.tmp")
        put_file(spot, content, 0o600, f".{name}.tmp", instead_of=stamp(spot))
    sync_folders({str(folder)})


def journals(folder: Path) -> tuple[list[Journal], list[Damaged]]:
    """The journals that can be undone, and those that cannot be read; the newest last."""
    found: list[Journal] = []
    damaged: list[Damaged] = []
    for run in _runs(folder):
        if (run / "undone.json").exists():
            continue
        try:
            found.append(_load_journal(run / "journal.json"))
        except Damaged as error:
            damaged.append(error)
    return found, damaged


def _runs(folder: Path) -> Sequence[Path]:
    """The folders of journals by number, without links to folders."""
    numbered = [(number, run) for run in folder.iterdir() if (number := _journal_number(run.name)) is not None]
    return [run for _, run in sorted(numbered) if not run.is_symlink() and run.is_dir()]


def _load_journal(file: Path) -> Journal:
    try:
        with _opened_file(file.parent, file.name) as stream:
            if os.fstat(stream.fileno()).st_size > LARGEST_JOURNAL:
                raise Damaged(file.parent, "journal.json is larger than any")
            return journal_of(stream.read(), file.parent)
    except FileNotFoundError:
        raise Damaged(file.parent, "journal.json is missing") from None
    except (OSError, Left) as error:
        raise Damaged(file.parent, f"journal.json cannot be read ({say(error)})") from None


def journal_text(journal: Journal) -> bytes:
    """A journal as two lines of JSON: the dataset, with a hash of the second line; the steps."""
    what = {name: getattr(journal, name) for name in ("root", "token", "whole", "folders")}
    what["steps"] = [asdict(step) for step in journal.steps]
    body = json.dumps(what).encode()
    head = {"version": VERSION, "data": journal.data, "sha256": digest(body)}
    return json.dumps(head).encode() + b"\n" + body + b"\n"


def journal_of(content: bytes, folder: Path) -> Journal:
    """The journal that `journal_text` wrote, of a folder.

    Raises:
        Damaged: it is damaged, of another release, or not what a fix run writes.
    """
    line, _, body = content.partition(b"\n")
    head = _json(line, folder, None) if len(line) <= _LINE else None
    data = head.get("data") if isinstance(head, dict) else None
    if not isinstance(head, dict) or not isinstance(data, str) or not _is_path(data):
        raise Damaged(folder, "the first line of journal.json is damaged")
    if head.get("version") != VERSION:
        why = f"journal.json is of version {head.get('version')!r:.40}; this release reads {VERSION}"
        raise Damaged(folder, why, data)
    body = body.removesuffix(b"\n")
    if head.get("sha256") != digest(body):
        raise Damaged(folder, "journal.json is damaged: its hash differs", data)
    raw = _json(body, folder, data)
    try:
        root, token, folders, whole = (raw[key] for key in ("root", "token", "folders", "whole"))
        steps = tuple(map(_step, raw["steps"]))
        valid = isinstance(folders, list) and all(map(_is_path, (root, *folders))) and _TOKEN.fullmatch(token)
    except (TypeError, KeyError, ValueError) as error:
        raise Damaged(folder, f"journal.json is not what a fix run writes ({error!s:.80})", data) from None
    if not valid or not steps or not isinstance(whole, bool):
        raise Damaged(folder, "journal.json is not what a fix run writes", data)
    return Journal(folder, data, root, token, steps, tuple(folders), whole)


def _json(text: bytes, folder: Path, data: str | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged(folder, "journal.json is damaged: it is no JSON", data) from None


def _step(raw: dict[str, Any]) -> Step:
    """A step from JSON; raises TypeError, KeyError or ValueError if no fix run could have written it."""
    step = Step(**{**raw, "stamp": tuple(raw["stamp"])})
    if not all(_is_path(path) and os.path.split(path)[1] for path in (step.path, step.target)):
        raise ValueError("an invalid path")
    if not (_HEX.fullmatch(step.before) and _HEX.fullmatch(step.after)):
        raise ValueError("an invalid hash")
    places = (step.at, step.size, step.new_at, step.new_size)
    if not all(type(number) is int and abs(number) < _WORD for number in (*places, step.mode, step.mtime_ns)):
        raise ValueError("an invalid number")
    if min(places) < 0 or not 0 <= step.mode <= _MODE:
        raise ValueError("a number out of range")
    if len(step.stamp) != _STAMP or not all(type(number) is int for number in step.stamp):
        raise ValueError("an invalid stamp")
    return step


def _is_path(value: Any) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    return os.path.normpath(value) == value and os.path.isabs(value)  # noqa: PTH117
