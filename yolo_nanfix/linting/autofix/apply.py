"""Applies a plan: writes the journal first, then changes the files one by one, each atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Finding, Safety
from yolo_nanfix.linting.autofix.edit_plan import diff, plan
from yolo_nanfix.linting.autofix.file_changes import (
    Edit,
    FolderEntry,
    held,
    make,
    move,
    put_file,
    say,
    stamp,
    sync_folders,
)
from yolo_nanfix.linting.autofix.ground import Ground
from yolo_nanfix.linting.autofix.journal import KEEP, Journal, Step, Writer, journals, locked, store
from yolo_nanfix.linting.autofix.reasons import Kept, Left, Reason, Why
from yolo_nanfix.linting.autofix.undo import clear_temporary, restore_file
from yolo_nanfix.linting.registry import autofixes

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Fixed:
    """What a fix run did.

    Attributes:
        done: the findings that were fixed (with `diff`: that would be).
        files: number of files that changed.
        quarantined: number of images that went to quarantine, most of them with a label file.
        background: number of images that count as background now: always 0, since images whose last label row would be
            removed go to quarantine.
        kept: what was not fixed although it has an autofix, each with the reason.
        unsafe: number of findings that only unsafe fixes fix; 0 if these were allowed.
        journal: the folder of the undo journal; None if nothing changed.
        quarantine: the folder to which unusable files were moved; None if none was.
        diff: what would change, as text; None if the changes were made.
        outside: the folders outside of the dataset in which files changed.
    """

    done: tuple[Finding, ...] = ()
    files: int = 0
    quarantined: int = 0
    background: int = 0
    kept: tuple[Kept, ...] = ()
    unsafe: int = 0
    journal: str | None = None
    quarantine: str | None = None
    diff: str | None = None
    outside: tuple[str, ...] = ()


def preview(findings: Iterable[Finding], ground: Ground) -> Fixed:
    """What `apply_fixes` would do; writes nothing, not even a journal."""
    findings = tuple(findings)
    steps = list(plan(findings, ground))
    edits = [step for step in steps if isinstance(step, Edit)]
    done = tuple(finding for edit in edits for finding in edit.done)
    kept, unsafe = _not_fixed([step for step in steps if isinstance(step, Kept)], findings, ground)
    return Fixed(
        done=done,
        files=len(edits),
        quarantined=sum(_sets_aside(ground, edit) for edit in edits),
        kept=kept,
        unsafe=unsafe,
        diff="".join(map(diff, edits)),
        outside=_outside(ground, edits),
    )


def _outside(ground: Ground, steps: Iterable[Edit | Step]) -> tuple[str, ...]:
    if not ground.home.outside:
        return ()
    paths = (path for step in steps for path in (step.path, step.target) if not ground.home.holds(path))
    return tuple(dict.fromkeys(os.path.split(path)[0] for path in paths))


def _sets_aside(ground: Ground, step: Edit | Step) -> bool:
    return ground.is_aside(step.target) and not step.path.endswith((".txt", ".npy"))


def would_fix(findings: Iterable[Finding], ground: Ground) -> frozenset[Finding]:
    """The findings that `apply_fixes` would fix now; nothing is written."""
    steps = plan(tuple(findings), ground)
    return frozenset(finding for step in steps if isinstance(step, Edit) for finding in step.done)


def apply_fixes(findings: Iterable[Finding], ground: Ground) -> Fixed:
    """Fix what can be fixed; each file is changed completely or not at all, and `undo` restores everything.

    Raises:
        UsageError: another fix is running, one of the whole set was interrupted, or the journal cannot be written;
            nothing was changed.
        KeyboardInterrupt: it was interrupted; the message says what was changed, if anything.
    """
    findings, folder = tuple(findings), store()
    kept: list[Kept] = []
    done: list[tuple[Finding, ...]] = []
    groups: list[str] = []
    with locked(folder, ground.home.root):
        _clear_cut_off([j for j in journals(folder)[0] if j.data == ground.home.data])
        try:
            writer = Writer(folder, ground.home.data, ground.home.root)
            try:
                for step in plan(findings, ground):
                    if isinstance(step, Kept):
                        kept.append(step)
                    else:
                        writer.add(step)
                        done.append(step.done)
                        groups.append(step.group)
                journal = writer.commit()
            except BaseException:
                writer.abandon()
                raise
        except OSError as error:
            raise UsageError(
                f"the undo journal in {folder} cannot be written ({say(error)}); nothing changed"
            ) from None
        if journal is None:
            left, unsafe = _not_fixed(kept, findings, ground)
            return Fixed(kept=left, unsafe=unsafe)
        applied, failed = _carry_out(journal, groups)
        if not applied:
            journal.remove()
        for old in [j for j in journals(folder)[0] if j.data == ground.home.data][:-KEEP]:
            old.remove()
    steps = [journal.steps[i] for i in applied]
    left, unsafe = _not_fixed((*kept, *failed), findings, ground)
    return Fixed(
        done=tuple(finding for i in applied for finding in done[i]),
        files=len(applied),
        quarantined=sum(_sets_aside(ground, step) for step in steps),
        kept=left,
        unsafe=unsafe,
        journal=str(journal.folder) if applied else None,
        quarantine=ground.home.quarantine if any(ground.is_aside(step.target) for step in steps) else None,
        outside=_outside(ground, steps),
    )


def _clear_cut_off(mine: Iterable[Journal]) -> None:
    """Remove the temporary files of interrupted runs.

    Raises:
        UsageError: one of them was a fix of the whole set, which must change all its files or none.
    """
    for journal in mine:
        if journal.applied() is not None:
            continue
        if journal.whole:
            raise UsageError(
                f"a fix of the whole set was interrupted, so that some of its files may be rewritten and others not; "
                f"undo it first: yolo-nanfix lint {shlex.quote(journal.data)} --undo"
            )
        if not (journal.folder / "cleared.json").exists():
            clear_temporary(journal)
            with contextlib.suppress(OSError, Left):
                journal.note("cleared.json", True)


def _not_fixed(kept: Sequence[Kept], findings: tuple[Finding, ...], ground: Ground) -> tuple[tuple[Kept, ...], int]:
    """What is not fixed, even by unsafe fixes; and how many findings unsafe fixes would fix."""
    remaining = tuple(one for one in kept if not one.reason.to_unsafe)
    if ground.unsafe:
        return remaining, 0
    codes = {code for code, fix in autofixes().items() if fix.safety is Safety.UNSAFE}
    have = (f for f in findings if f.because is None and f.code in codes)
    unsafe = sum(ground.home.outside or ground.home.holds(f.place.file) for f in have)
    return remaining, unsafe + sum(one.reason.to_unsafe for one in kept)


def _carry_out(journal: Journal, groups: Sequence[str]) -> tuple[list[int], list[Kept]]:
    """Do the steps of a committed journal; returns the steps that were done, and the reasons of the others.

    Of a group all steps are done or none: if one fails, those before it are undone.
    """
    applied: list[int] = []
    try:
        failed = _do_all(journal, groups, applied)
    except KeyboardInterrupt:
        changed, them = ("1 file is", "it") if len(applied) == 1 else (f"{len(applied)} files are", "them")
        said = f"{changed} changed, the others are as they were; --undo takes {them} back"
        raise KeyboardInterrupt(*[said] if applied else []) from None
    sync_folders({os.path.dirname(p) for i in applied for p in (journal.steps[i].path, journal.steps[i].target)})  # noqa: PTH120
    with contextlib.suppress(OSError, Left):  # without it undo checks each file, as after a kill
        journal.note("applied.json", applied)
    return applied, failed


def _do_all(journal: Journal, groups: Sequence[str], applied: list[int]) -> list[Kept]:
    """Do all steps, and add those that were done to `applied`; returns the reasons of the others."""
    failed: list[Kept] = []
    broken: set[str] = set()
    full = ""
    for number, (step, group) in enumerate(zip(journal.steps, groups, strict=True)):
        try:
            if group in broken:
                continue
            if full:
                raise Left(Why.NOT_TRIED, error=full)
            _do(journal, number, step)
        except Left as why:
            failed.append(Kept(step.path, "", why.reason))
        except OSError as error:
            failed.append(Kept(step.path, "", Reason(Why.CANNOT_BE_CHANGED, {"error": say(error)})))
            full = say(error) if error.errno in _FULL else ""
        else:
            applied.append(number)
            continue
        if group and group not in broken:
            broken.add(group)
            failed += _take_back(journal, [i for i in applied if groups[i] == group], applied)
    return failed


def _take_back(journal: Journal, steps: Sequence[int], applied: list[int]) -> Iterator[Kept]:
    """Restore the files of steps and remove them from `applied`; yields those that cannot be restored."""
    for number in reversed(steps):
        step = journal.steps[number]
        try:
            restore_file(journal, number, step)
        except (Left, OSError) as error:
            because = error.reason if isinstance(error, Left) else say(error)
            yield Kept(step.path, "", Reason(Why.PARTED, {"because": because}))
        else:
            applied.remove(number)


def _do(journal: Journal, number: int, step: Step) -> None:
    """Do one step; after an OSError the file is as it was."""
    temp = journal.temp(number)
    folder, name = os.path.split(step.path)
    try:
        with contextlib.ExitStack() as stack:
            here = FolderEntry(stack.enter_context(held(folder)), name)
            now = stamp(here)
            if now is None:
                raise Left(Why.VANISHED)
            if now != step.stamp:
                raise Left(Why.CHANGED)
            if step.target == step.path:
                return put_file(here, journal.fresh(step), step.mode, temp, like=here, instead_of=step.stamp)
            away, name = os.path.split(step.target)
            make(away)
            there = FolderEntry(stack.enter_context(held(away)), name)
            if step.after == step.before:
                return move(here, there, partial(journal.original, step), step.mode, step.mtime_ns, temp)
            put_file(there, journal.fresh(step), step.mode, temp, like=here)
            try:
                here.folder.unlink(here.name)
            except OSError:
                there.folder.unlink(there.name)
                raise
    except FileExistsError:
        raise Left(Why.IS_THERE, target=step.target) from None
    return None
