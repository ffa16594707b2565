"""The undo journal: the original bytes of every file that a fix run touches, on disk before the first change.

<user data folder>/yolo-nanfix/fixes/lock          held by the one run that may write
<user data folder>/yolo-nanfix/fixes/<number>/
    pack.bin        bytes of the files, before and after, one behind the other
    journal.json    what is to happen; written last: without it nothing of this run has happened
    applied.json    which steps did happen; missing if the run was killed
    undone.json     steps that undo could not take back, because the files had changed since
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from yolo_nanfix.errors import UsageError
from yolo_nanfix.fixing.edits import Edit
from yolo_nanfix.fixing.files import digest, put, say, sync_folders

KEEP = 20
"""Journals kept of one dataset; older ones are removed when a new one is written."""


@dataclass(frozen=True)
class Step:
    """One change: `path` with the bytes `before` became `target` with the bytes `after`.

    Attributes:
        path, target: the same unless the file was moved.
        before, after: SHA-256.
        at, size: place of the original bytes in the pack.
        new_at, new_size: place of the new bytes; the same as of the original ones where they do not change.
        mode, mtime_ns: of the original file.
        stamp: what told the file from any other state when it was read.
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
    """One committed fix run, as it stands in `folder`."""

    folder: Path
    data: str
    token: str
    steps: tuple[Step, ...]
    folders: tuple[str, ...]

    def temp(self, step: int) -> str:
        """The name of the temporary file of a step."""
        return f".nanfix-{self.token}-{step}.tmp"

    def original(self, step: Step) -> bytes:
        """The bytes before the step."""
        return self._read(step.at, step.size)

    def fresh(self, step: Step) -> bytes:
        """The bytes after the step."""
        return self._read(step.new_at, step.new_size)

    def _read(self, at: int, size: int) -> bytes:
        with open(self.folder / "pack.bin", "rb") as pack:
            pack.seek(at)
            return pack.read(size)

    def applied(self) -> set[int] | None:
        """The steps that were done; None if the run did not come to its end."""
        try:
            return set(json.loads((self.folder / "applied.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def note(self, name: str, content: Any) -> None:
        """Write `applied.json` or `undone.json`, flushed to the disk."""
        put(str(self.folder / name), json.dumps(content).encode(), 0o600, f".{name}.tmp")
        sync_folders({str(self.folder)})

    def remove(self) -> None:
        """Forget the run."""
        (self.folder / "journal.json").unlink(missing_ok=True)  # from here on it counts as never begun
        shutil.rmtree(self.folder, ignore_errors=True)


def store() -> Path:
    """The folder of all journals of this user."""
    return Path(user_data_path("yolo-nanfix", appauthor=False)) / "fixes"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the right to write; it ends with the process, however that ends.

    Raises:
        UsageError: another run holds it, or the folder cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stream = open(folder / "lock", "a+b")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageError(
            f"the folder of undo journals {folder} cannot be used ({say(error)}); nothing changed"
        ) from None
    with stream:
        try:
            _lock(stream.fileno())
        except OSError:
            raise UsageError("another fix or undo is running; wait for its end, nothing changed") from None
        for begun in folder.iterdir():
            if begun.name.isdigit() and not (begun / "journal.json").exists():
                shutil.rmtree(begun, ignore_errors=True)  # a run that was killed before its first change
        yield


def _lock(fd: int) -> None:
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

    def __init__(self, store_: Path, data: str) -> None:
        """Begin a journal behind all others."""
        number = 1 + max((int(f.name) for f in store_.iterdir() if f.name.isdigit()), default=0)
        self._folder = store_ / f"{number:06d}"
        self._folder.mkdir(mode=0o700)
        self._pack = open(self._folder / "pack.bin", "xb")  # noqa: SIM115 - closed by commit and abandon
        self._data = data
        self._steps: list[Step] = []
        self._folders: dict[str, None] = {}

    def add(self, edit: Edit) -> None:
        """Keep the bytes of one edit."""
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
        folder = Path(edit.target).parent
        missing = []
        while not folder.exists():
            missing.append(str(folder))
            folder = folder.parent
        self._folders.update(dict.fromkeys(reversed(missing)))

    def commit(self) -> Journal | None:
        """Flush everything to the disk; from now on the run can be undone. None if there is nothing to do."""
        self._pack.flush()
        os.fsync(self._pack.fileno())
        self._pack.close()
        if not self._steps:
            self.abandon()
            return None
        journal = Journal(self._folder, self._data, secrets.token_hex(4), tuple(self._steps), tuple(self._folders))
        raw = {"version": 1, "data": journal.data, "token": journal.token, "folders": journal.folders}
        journal.note("journal.json", {**raw, "steps": [asdict(step) for step in journal.steps]})
        sync_folders({str(self._folder.parent)})
        return journal

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._pack.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def journals(folder: Path, data: str) -> list[Journal]:
    """The journals of one dataset that can be undone, the newest last."""
    found = []
    for run in sorted(f for f in folder.iterdir() if f.name.isdigit()) if folder.is_dir() else ():
        try:
            raw = json.loads((run / "journal.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if raw["data"] == data and not (run / "undone.json").exists():
            steps = tuple(Step(**{**step, "stamp": tuple(step["stamp"])}) for step in raw["steps"])
            found.append(Journal(run, raw["data"], raw["token"], steps, tuple(raw["folders"])))
    return found
