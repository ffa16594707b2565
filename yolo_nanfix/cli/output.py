"""What every command answers with, and where it goes: text for people, or with `--json` one document on stdout."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from yolo_nanfix import files
from yolo_nanfix.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

# exit codes
CLEAN = 0
FINDINGS = 1
"""Findings, or a run that failed."""
USAGE = 2
"""Wrong use or bad input."""
FAULT = 3
"""A fault of yolo-nanfix itself."""
INTERRUPTED = 130
"""Ctrl-C. A process that another signal ends has 128 and its number: 143 for SIGTERM, 129 for SIGHUP."""
_VERBOSE = "YOLO_VERBOSE"


def nothing() -> None:
    """What a command shows that has nothing to say."""


class Answer(NamedTuple):
    """The end of a command.

    Attributes:
        code: the exit code.
        document: the result for `--json`: values ready for JSON, or a function that gives its JSON text.
        show: prints the result for people; asked without `--json` only.
    """

    code: int
    document: Any
    show: Callable[[], None] = nothing


@contextmanager
def settled(as_json: bool, quiet: bool) -> Iterator[None]:
    """Hold the common options while a command works: nothing but the answer on stdout, Ultralytics' log silent."""
    before = os.environ.get(_VERBOSE)
    if quiet:
        os.environ[_VERBOSE] = "false"  # read by Ultralytics when it is imported, here and in its workers
    try:
        with _apart() if as_json else nullcontext():
            yield
    finally:
        if quiet:
            os.environ.pop(_VERBOSE)
            os.environ.update({} if before is None else {_VERBOSE: before})


@contextmanager
def _apart() -> Iterator[None]:
    """Keep stdout for the document: what is printed inside, also by libraries and child processes, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def put(answer: Answer, args: argparse.Namespace) -> int:
    """Print the answer in the wanted form, and give its exit code.

    Raises:
        UsageError: stdout takes nothing, for example since the disk is full.
        BrokenPipeError: who read it has gone.
    """
    document = ""
    if args.json:
        document = answer.document() if callable(answer.document) else files.json_text(answer.document)
    try:
        if args.json:
            sys.stdout.write(document)
        else:
            answer.show()
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        give_up_stdout()
        raise UsageError(f"the result cannot be printed: {error.strerror or error}") from error
    return answer.code


def fail(message: str, code: int, as_json: bool) -> int:
    """Say on stderr what went wrong, with `--json` on stdout, too; give the exit code."""
    with suppress(OSError):  # a terminal that has gone
        print(f"yolo-nanfix: {message}", file=sys.stderr)
        if as_json:
            print(json.dumps({"error": message.removeprefix("error: "), "exit_code": code}), flush=True)
    return code


def say(line: str, stream: TextIO | None = None) -> None:
    """Print one line, by default on stderr, with nothing in it that a terminal would take for more than text."""
    from yolo_nanfix.report.words import printable

    print(printable(line), file=stream or sys.stderr)


def console() -> Console:
    """Where results are printed for people: long lines stay whole, nothing is highlighted by guessing."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, emoji=False)


@contextmanager
def bar(quiet: bool = False) -> Iterator[Callable[[int, int, str], None] | None]:
    """Give a callback `(done, total, what)` that draws a bar, or None where nobody would see it.

    The bar is drawn from the first call on and taken away when `done` reaches `total`.
    """
    drawn_on = _terminal(quiet)
    if drawn_on is None:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=drawn_on, transient=True) as drawn:
        task = drawn.add_task("", total=None, visible=False)

        def show(done: int, total: int, what: str) -> None:
            drawn.update(task, completed=done, total=total, description=what, visible=done < total)

        yield show


@contextmanager
def waiting(what: str, quiet: bool = False) -> Iterator[None]:
    """Say what is being done, while it is, where its end cannot be foreseen."""
    drawn_on = _terminal(quiet)
    if drawn_on is None:
        yield
        return
    with drawn_on.status(f"{what} ..."):
        yield


def _terminal(quiet: bool) -> Console | None:
    """The terminal on stderr. Colours that are forced on (`FORCE_COLOR`) make none of a file or a pipe."""
    from rich.console import Console

    console = Console(stderr=True)
    drawable = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
    return console if drawable and console.is_interactive and not quiet else None


def prepare() -> None:
    """Make stdout and stderr usable: closed ones go nowhere, and what an encoding cannot show is written as escapes."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, os.fdopen(_nowhere(number), mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def ended_by() -> str:
    """What ends this process early: Ctrl-C, or `kill` and its number where that is ignored (nohup, `&` in scripts)."""
    return "Ctrl-C" if interruptible() else f"kill {os.getpid()}"


def interruptible() -> bool:
    """Whether Ctrl-C reaches this process: whoever started it may have set the signal to be ignored."""
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _nowhere(number: int) -> int:
    """Let a closed file number lead nowhere, so that no file opened later gets it."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return number


def give_up_stdout() -> None:
    """Let what is still to be written to stdout go nowhere, so that the end of the process does not fail by it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
