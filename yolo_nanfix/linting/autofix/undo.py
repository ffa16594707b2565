"""Undoes the last fix run: bytes, permission bits and modification times. It may be killed and run again."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from yolo_nanfix.errors import UsageError
from yolo_nanfix.files import is_inside
from yolo_nanfix.linting.autofix.file_changes import (
    FolderEntry,
    digest_at,
    held,
    make,
    move,
    put_file,
    say,
    stamp,
    sync_folders,
)
from yolo_nanfix.linting.autofix.ground import Home, aside, forget
from yolo_nanfix.linting.autofix.journal import Damaged, Journal, Step, journals, locked, store
from yolo_nanfix.linting.autofix.reasons import Kept, Left, Reason, Why

_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Undone:
    """What an undo did.

    Attributes:
        files: number of files that are again as they were before the fix run.
        kept: files that were not restored, each with the reason.
        bytes_in: the folder that still holds the original bytes of these; None if there are none.
        more: how many earlier fix runs of this dataset can be undone.
        moved_from: the path of the dataset when it was fixed; None if it has not moved.
        damaged: folders of unreadable journals of unknown datasets.
    """

    files: int
    kept: tuple[Kept, ...]
    bytes_in: str | None
    more: int
    moved_from: str | None = None
    damaged: tuple[str, ...] = ()


def undo_last(home: Home) -> Undone:
    """Undo the newest fix run of a dataset; called again, the one before it.

    Nothing is written outside of the dataset and its quarantine, whatever a journal says, unless that was allowed. A
    journal is removed only when everything in it is restored.

    Raises:
        UsageError: there is no fix run, its journal cannot be read, or another fix or undo is running.
    """
    folder = store()
    forget()
    with locked(folder, home.root):
        whole, damaged = journals(folder)
        found = [_placed(j, home) for j in whole if j.data == home.data] or _moved(whole, home)
        _readable(home.data, found, damaged)
        journal = found[-1]
        restored, kept, again = _take_back(journal, home)
        if not kept:
            journal.remove()
        elif not again:
            journal.note("undone.json", [k.place for k in kept])
    old = next((j.data for j in whole if j.folder == journal.folder and j.data != home.data), None)
    unknown = tuple(str(d.folder) for d in damaged if d.data is None)
    bytes_in = str(journal.folder) if kept else None
    return Undone(restored, tuple(reversed(kept)), bytes_in, len(found) - 1, old, unknown)


def _take_back(journal: Journal, home: Home) -> tuple[int, list[Kept], bool]:
    """Restore the files of a journal: how many, which not, and whether another try may help."""
    kept: list[Kept] = []
    again, restored = False, 0
    for number, step in reversed(_done(journal)):
        try:
            home.check(step.path, step.target)
            restore_file(journal, number, step)
            restored += 1
        except Left as why:
            kept.append(Kept(step.path, "", why.reason))
            again |= why.reason.to_outside
        except (OSError, ValueError) as error:
            kept.append(Kept(step.path, "", Reason(Why.NOT_RESTORED, {"error": say(error)})))
            again = True
    places = {os.path.split(path)[0] for step in journal.steps for path in (step.path, step.target)}
    sync_folders({folder for folder in places if home.outside or home.holds(folder)})
    for made in reversed(journal.folders):
        with contextlib.suppress(OSError, Left, ValueError):
            home.check(made)
            os.rmdir(made)  # noqa: PTH106 - only if it is empty
    return restored, kept, again


def _done(journal: Journal) -> list[tuple[int, Step]]:
    """The steps that were done, or may have been, each with its number."""
    applied = journal.applied()
    return [(number, step) for number, step in enumerate(journal.steps) if applied is None or number in applied]


def _readable(data: str, found: Sequence[Journal], damaged: Sequence[Damaged]) -> None:
    """Raise UsageError if there is no fix run to undo, or if the journal of the last one cannot be read."""
    last = found[-1].folder.name if found else ""
    mine = [one for one in damaged if one.data == data and (len(one.folder.name), one.folder.name) > (len(last), last)]
    if mine:
        bad = mine[-1]
        more = f"; move that folder away to undo the run before it, {last}" if found else ""
        raise UsageError(
            f"the journal of the last fix run of {data} cannot be used ({bad}), and nothing was changed; the "
            f"original bytes of its files are in {bad.folder / 'pack.bin'}{more}"
        )
    if not found:
        unknown = [str(one.folder) for one in damaged if one.data is None]
        hint = f"; journals that cannot be read are {', '.join(unknown)}" if unknown else ""
        raise UsageError(f"there is no fix run of {data} to undo{hint}")


def _moved(whole: Sequence[Journal], home: Home) -> list[Journal]:
    """The journals of a dataset that was moved: its old place is empty, its files are as the fix left them."""
    for last in reversed(whole):
        if os.path.lexists(last.data) or not _same_kind(last.data, home.data):
            continue
        steps = [step for _, step in _done(_placed(last, home))]
        moved = all(home.holds(step.path) and _may_be(step) for step in steps)
        places = [*steps, *(step for _, step in _done(last))]  # the quarantine may not have moved
        if moved and any(_digest_of(step.target) == step.after for step in places):
            return [_placed(journal, home) for journal in whole if journal.data == last.data]
    return []


def _same_kind(old: str, new: str) -> bool:
    """Whether both are yaml files of one name, or both are none."""
    names = [os.path.basename(p) if p.endswith(_YAML) else "" for p in (old, new)]  # noqa: PTH119
    return names[0] == names[1]


def _placed(journal: Journal, home: Home) -> Journal:
    """The journal with its paths moved to where the dataset is now."""
    pairs = [(_folder_of_data(journal.data), _folder_of_data(home.data)), (journal.root, home.root)]
    pairs = [(old, new) for old, new in pairs if old != new and not os.path.lexists(old)]
    if journal.root != home.root and not os.path.lexists(journal.root):
        pairs.append((aside(journal.root), home.quarantine))
    if not pairs:
        return journal

    def now(path: str) -> str:
        for old, new in sorted(pairs, key=lambda pair: -len(pair[0])):
            if is_inside(path, old):
                return new + path[len(old) :]
        return path

    steps = tuple(replace(step, path=now(step.path), target=now(step.target)) for step in journal.steps)
    return replace(journal, data=home.data, steps=steps, folders=tuple(map(now, journal.folders)))


def _folder_of_data(data: str) -> str:
    return os.path.dirname(data) if data.endswith(_YAML) else data  # noqa: PTH120


def _may_be(step: Step) -> bool:
    """Whether a file is as the fix left it, or as it was before."""
    now = _digest_of(step.path)
    return now in (None, step.before) if step.target != step.path else now in (step.before, step.after)


def _digest_of(path: str) -> str | None:
    """`digest_at` of a path; None also if it cannot be read."""
    folder, name = os.path.split(path)
    try:
        with held(folder) as here:
            return digest_at(FolderEntry(here, name))
    except (OSError, Left):
        return None


def restore_file(journal: Journal, number: int, step: Step) -> None:
    """Restore one file, from any state in which a killed run or undo may have left it.

    Raises:
        Left: it was changed since, or its bytes are no longer in the journal.
        OSError: it could not be written.
    """
    temp, moved = journal.temp(number), step.target != step.path
    with contextlib.ExitStack() as stack:
        here = _entry(stack, step.path, temp)
        there = _entry(stack, step.target, temp) if moved else None
        met = None if here is None else stamp(here)
        now = None if here is None else digest_at(here)
        gone_to = None if there is None else digest_at(there)
        if now not in (None, step.before, step.after if not moved else None):
            raise Left(Why.CHANGED_SINCE_FIX)
        if here is None:
            make(os.path.dirname(step.path))  # noqa: PTH120
            here = _entry(stack, step.path, temp)
        if here is None:  # removed at this moment
            raise FileNotFoundError(errno.ENOENT, "its folder is gone", step.path)
        if now == step.before:
            _settle(here, step)
        elif there is not None and gone_to == step.before == step.after:
            move(there, here, partial(journal.original, step), step.mode, step.mtime_ns, temp)
            _settle(here, step)
        else:
            like = there if gone_to is not None else here
            content = journal.original(step)
            put_file(here, content, step.mode, temp, mtime_ns=step.mtime_ns, like=like, instead_of=met)
        if there is not None and gone_to == step.after and there.folder.has(there.name):
            there.folder.unlink(there.name)


def clear_temporary(journal: Journal) -> None:
    """Remove the temporary files of a run that was cut off."""
    for number, step in enumerate(journal.steps):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, Left, ValueError):
            for path in {step.path, step.target}:
                _entry(stack, path, journal.temp(number))


def _entry(stack: contextlib.ExitStack, path: str, temp: str) -> FolderEntry | None:
    """A file in its held folder, from which the temporary file of a killed run is removed; None without a folder."""
    folder, name = os.path.split(path)
    try:
        here = stack.enter_context(held(folder))
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):
        here.unlink(temp)
    return FolderEntry(here, name)


def _settle(spot: FolderEntry, step: Step) -> None:
    now = spot.folder.status(spot.name)
    if (stat.S_IMODE(now.st_mode), now.st_mtime_ns) != (step.mode, step.mtime_ns):
        spot.folder.set(spot.name, step.mode, step.mtime_ns, now.st_atime_ns)
