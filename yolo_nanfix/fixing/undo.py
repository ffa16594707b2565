"""Takes the last fix run back: every byte, permission bits and times of change. May be killed and asked again."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from yolo_nanfix.errors import UsageError
from yolo_nanfix.fixing.edits import Kept
from yolo_nanfix.fixing.files import digest, move, put, say, sync_folders
from yolo_nanfix.fixing.journal import Journal, Step, journals, locked, store
from yolo_nanfix.fixing.rows import Left


@dataclass(frozen=True)
class Undone:
    """What an undo did.

    Attributes:
        files: number of files that are again as they were before the fix run.
        kept: files that were left as they are, each with the reason.
        bytes_in: the folder that still holds the original bytes of these; None if there are none.
        more: how many earlier fix runs of this dataset can be undone.
    """

    files: int
    kept: tuple[Kept, ...]
    bytes_in: str | None
    more: int


def undo(data: str) -> Undone:
    """Take the newest fix run of a dataset back; asked again, the one before it.

    Raises:
        UsageError: there is none, or another fix or undo is running.
    """
    folder = store()
    with locked(folder):
        found = journals(folder, data)
        if not found:
            raise UsageError(f"there is no fix run of {data} to undo")
        journal = found[-1]
        applied = journal.applied()
        kept: list[Kept] = []
        again, restored = False, 0
        for number, step in reversed(list(enumerate(journal.steps))):
            if applied is not None and number not in applied:
                continue
            try:
                restore(journal, number, step)
                restored += 1
            except Left as why:
                kept.append(Kept(step.path, "", str(why)))
            except OSError as error:
                kept.append(Kept(step.path, "", f"cannot be restored ({say(error)}); --undo tries again"))
                again = True
        sync_folders({str(Path(p).parent) for step in journal.steps for p in (step.path, step.target)})
        for made in reversed(journal.folders):
            with contextlib.suppress(OSError):
                os.rmdir(made)  # noqa: PTH106 - only if it is empty
        if not kept:
            journal.remove()
        elif not again:
            journal.note("undone.json", [k.place for k in kept])
    return Undone(restored, tuple(reversed(kept)), str(journal.folder) if kept else None, len(found) - 1)


def restore(journal: Journal, number: int, step: Step) -> None:
    """Bring one file back to what it was, from whatever state a killed run or undo left it in.

    Raises:
        Left: someone else changed it since.
        OSError: it could not be written.
    """
    temp = journal.temp(number)
    for folder in {os.path.dirname(step.path), os.path.dirname(step.target)}:  # noqa: PTH120
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, temp))  # noqa: PTH108, PTH118
    now = _digest(step.path)
    moved = step.target != step.path
    there = _digest(step.target) if moved else None
    if now not in (None, step.before, step.after if not moved else None):
        raise Left("changed since the fix; left as it is")
    if now == step.before:
        _settle(step)
    elif moved and there == step.before == step.after:
        _folder_of(step.path)
        move(step.target, step.path, journal.original(step), step.mode, step.mtime_ns, temp)
        _settle(step)
    else:
        _folder_of(step.path)
        like = step.target if there is not None else step.path
        put(step.path, journal.original(step), step.mode, temp, mtime_ns=step.mtime_ns, like=like)
    if moved and there == step.after and os.path.lexists(step.target):
        os.unlink(step.target)  # noqa: PTH108


def _settle(step: Step) -> None:
    """Give the file its permission bits and its time of change back."""
    os.chmod(step.path, step.mode)  # noqa: PTH101
    os.utime(step.path, ns=(os.stat(step.path).st_atime_ns, step.mtime_ns))  # noqa: PTH116


def _folder_of(path: str) -> None:
    """Make the folder of a file again, should it be gone."""
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120


def _digest(path: str) -> str | None:
    """SHA-256 of what is at a path now; None if nothing is there, something no file has for links and folders."""
    if not os.path.lexists(path):
        return None
    if os.path.islink(path) or not os.path.isfile(path):  # noqa: PTH113, PTH114
        return "not a file"
    return digest(Path(path).read_bytes())
