"""The part of `yolo-nanfix lint` that mends: `--fix`, `--unsafe-fixes`, `--fix-outside`, `--diff`, `--undo`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TextIO

from yolo_nanfix.cli.output import Answer
from yolo_nanfix.errors import NanfixError, UsageError
from yolo_nanfix.findings import Report

if TYPE_CHECKING:
    from yolo_nanfix.api import Fixed, Kept
    from yolo_nanfix.report.text import Fixable

_MAX_LINES = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("fixes", "what can be mended has a fix in the table of rules")
    group.add_argument("--fix", action="store_true", help="mend what is safe to mend; --undo takes it back")
    group.add_argument(
        "--unsafe-fixes",
        action="store_true",
        help="let --fix and --diff also do what may lose something: drop rows, clip far, renumber classes, rename "
        "images, move unusable ones to quarantine with their labels; alone it writes nothing",
    )
    group.add_argument(
        "--fix-outside",
        action="store_true",
        help="let --fix, --diff and --undo also change what lies outside of the dataset: behind links that lead out of "
        "it, listed elsewhere, in a quarantine that is a link; alone it writes nothing",
    )
    group.add_argument("--diff", action="store_true", help="show what would be mended; write nothing")
    group.add_argument("--undo", action="store_true", help="take the last fix run of this dataset back, and stop")


def check(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other, before anything is read or written.

    Raises:
        UsageError: they do.
    """
    if (args.fix or args.unsafe_fixes or args.fix_outside or args.diff) and (args.watch or args.write_baseline):
        raise UsageError("fixes go neither with --watch nor with --write-baseline")


def undo(args: argparse.Namespace, data: str | None) -> Answer:
    """Take the last fix run back; 0 if all of it came back, else 1.

    Raises:
        UsageError: there is nothing to undo, or the options contradict each other.
    """
    from yolo_nanfix import api

    if args.fix or args.unsafe_fixes or args.diff:
        raise UsageError("--undo takes a fix back; leave --fix, --unsafe-fixes and --diff out")
    if data is None:
        raise UsageError("--undo needs the dataset whose last fix run is to be taken back")
    undone = api.undo(data, outside=args.fix_outside, root=args.root)
    for folder in undone.damaged:
        _say(f"{folder}: a journal that cannot be read; nothing of it was used", sys.stderr)
    if undone.moved_from and not args.quiet:
        _say(f"the last fix run is one of {undone.moved_from}, which is {data} now", sys.stderr)
    _list(undone.kept, sys.stderr)
    more = f"; {undone.more} earlier fix runs can be undone" if undone.more else ""
    if not args.quiet:
        _say(f"{_count(undone.files, 'file')} as before the last fix run{more}", sys.stderr)
    if undone.bytes_in:
        _say(f"the original bytes of the others are in {undone.bytes_in}", sys.stderr)
    values = {**vars(undone), "kept": _kept(undone.kept)}
    return Answer(1 if undone.kept else 0, partial(_json, values))


def run(args: argparse.Namespace, report: Report, lint: Callable[[], Report]) -> Report | Answer:
    """Mend what was found, if that is wanted, and lint again.

    Args:
        args: what the command line said.
        report: what lint found.
        lint: asks lint once more.

    Returns:
        The report of what is left; `report` if nothing was to be mended; after `--diff` the answer, which is the diff.

    Raises:
        UsageError: another fix is running, or the journal cannot be written; nothing was changed.
        KeyboardInterrupt: it was interrupted; what is changed by then was said.
    """
    from yolo_nanfix import api
    from yolo_nanfix.cli.progress import waiting

    if not (args.fix or args.diff):
        alone = "--unsafe-fixes" * args.unsafe_fixes or "--fix-outside" * args.fix_outside
        if alone:
            _say(f"{alone} alone writes nothing: --fix mends, --diff shows what --fix would do", sys.stderr)
        return report
    try:
        with waiting("mending", args.quiet):
            fixed = api.fix(report, unsafe=args.unsafe_fixes, diff=args.diff, outside=args.fix_outside)
    except KeyboardInterrupt as stop:
        for said in stop.args:
            _say(f"{said}", sys.stderr)
        raise
    _list(fixed.kept, sys.stderr)
    if fixed.diff is not None:
        values = {**vars(fixed), "done": [f.as_dict() for f in fixed.done], "kept": _kept(fixed.kept)}
        return Answer(report.exit_code, partial(_json, values), partial(_show_diff, fixed, args))
    _summary(fixed, args)
    left = lint() if fixed.files else report
    return replace(left, fixed=_told(fixed))


def _told(fixed: Fixed) -> dict[str, object]:
    """A fix run for JSON: how many findings of each code were mended, and all else that `Fixed` says."""
    done = dict(sorted(Counter(finding.code for finding in fixed.done).items()))
    return {
        key: value for key, value in {**vars(fixed), "done": done, "kept": _kept(fixed.kept)}.items() if key != "diff"
    }


def fixable(args: argparse.Namespace, report: Report) -> Fixable:
    """What fixes would mend of a report, with the command that does it."""
    from yolo_nanfix import api
    from yolo_nanfix.report import text

    try:
        found = api.mendable(report, cache=not args.no_cache)
    except NanfixError:
        return text.NOTHING
    marked = found.safe | found.unsafe if args.unsafe_fixes else found.safe
    return text.Fixable(marked, len(found.safe), len(found.unsafe), found.tried, command(args, report), found.outside)


def command(args: argparse.Namespace, report: Report) -> str:
    """The command line that lints the same, without what it shows and does besides."""
    words = ["yolo-nanfix", "lint", *(args.data[:1] or [report.data])]
    words += shlex.split(report.said)
    words += ["--deep"] if args.deep else []
    for option in ("select", "extend_select", "ignore"):
        words += [word for given in getattr(args, option) or () for word in (f"--{option.replace('_', '-')}", given)]
    return shlex.join(words)


def _show_diff(fixed: Fixed, args: argparse.Namespace) -> None:
    """The diff on stdout; what would be mended on stderr."""
    for line in (fixed.diff or "").splitlines():
        _say(line, sys.stdout)
    if not args.quiet:
        _summary(fixed, args)


def _json(values: dict[str, object]) -> str:
    from yolo_nanfix.files import json_text

    return json_text(values)


def _kept(kept: tuple[Kept, ...]) -> list[dict[str, str]]:
    return [{"place": one.place, "code": one.code, "reason": one.reason} for one in kept]


def _summary(fixed: Fixed, args: argparse.Namespace) -> None:
    """What was mended or would be, and where everything is: on stderr; if quiet, one line if anything was written."""
    if args.quiet:
        if fixed.files:
            _say(f"{_count(fixed.files, 'file')} changed; --undo takes it back", sys.stderr)
        return
    counts = Counter(finding.code for finding in fixed.done)
    codes = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    verb = "would mend" if fixed.diff is not None else "mended"
    done = f"{_count(len(fixed.done), 'finding')} in {_count(fixed.files, 'file')} ({codes})" if counts else "nothing"
    _say(f"{verb} {done}", sys.stderr)
    if fixed.unsafe:
        _say(f"{_count(fixed.unsafe, 'finding')} can be mended with --unsafe-fixes; --diff shows how", sys.stderr)
    went, became = ("would go", "would become") if fixed.diff is not None else ("went", "became")
    if fixed.quarantined:
        where = f": {fixed.quarantine}" if fixed.quarantine else ""
        _say(f"{_count(fixed.quarantined, 'image')} {went} to quarantine with the labels{where}", sys.stderr)
    elif fixed.quarantine:
        _say(f"unusable files are in {fixed.quarantine}", sys.stderr)
    for folder in fixed.outside[:_MAX_LINES]:
        changes = "files would change" if fixed.diff is not None else "files changed"
        _say(f"outside of the dataset {changes} in {folder}", sys.stderr)
    if fixed.background or (args.unsafe_fixes and fixed.files):
        _say(f"{_count(fixed.background, 'image')} {became} background", sys.stderr)
    if fixed.journal:
        _say(f"--undo takes it back; the original bytes are in {fixed.journal}", sys.stderr)


def _list(kept: tuple[Kept, ...], stream: TextIO) -> None:
    """One line for each thing that was left as it is, the first ones of many."""
    for one in kept[:_MAX_LINES]:
        code = f" {one.code}" if one.code else ""
        _say(f"{one.place}:{code} {one.reason}", stream)
    if len(kept) > _MAX_LINES:
        _say(f"... and {len(kept) - _MAX_LINES} more left as they are", stream)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _say(line: str, stream: TextIO) -> None:
    """One line, with nothing in it that a terminal would take for more than text."""
    from yolo_nanfix.report.words import printable

    stream.write(printable(line) + "\n")
