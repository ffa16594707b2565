"""The result of a command and how it is printed: text for people, or with `--json` one document on stdout."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from yolo_nanfix import stopping
from yolo_nanfix.errors import UsageError
from yolo_nanfix.wording import printable

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
"""Ctrl-C. For other signals it is 128 plus the number: 143 for SIGTERM, 129 for SIGHUP."""
_VERBOSE = "YOLO_VERBOSE"


def nothing() -> None:
    """Print nothing."""


class Answer(NamedTuple):
    """The result of a command.

    Attributes:
        code: the exit code.
        document: the result for `--json`: JSON-ready values, or a function that returns JSON text.
        show: prints the result for people, without `--json`.
    """

    code: int
    document: Any
    show: Callable[[], None] = nothing


@contextmanager
def settled(as_json: bool, quiet: bool) -> Iterator[None]:
    """The options of all commands in a `with` block: only the document on stdout, a quiet log of Ultralytics."""
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
    """In a `with` block, all that is printed, also by libraries and child processes, goes to stderr."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def put(answer: Answer, args: argparse.Namespace) -> int:
    """Print the answer as text or JSON, and return its exit code.

    Raises:
        UsageError: stdout cannot be written, for example because the disk is full.
        BrokenPipeError: the reader has closed the pipe.
    """
    document = ""
    if args.json:
        from yolo_nanfix import files  # --help does without

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
    """Print an error on stderr, with `--json` also on stdout, and return the exit code."""
    with suppress(OSError):  # the terminal may be closed
        print(f"yolo-nanfix: {message}", file=sys.stderr)
        if as_json:
            print(json.dumps({"error": message.removeprefix("error: "), "exit_code": code}), flush=True)
    return code


def say(line: str, stream: TextIO | None = None) -> None:
    """Print one line, by default on stderr, with control characters as escapes."""
    print(printable(line), file=stream or sys.stderr)


def console() -> Console:
    """The console for results: without line wrapping and automatic highlighting."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, emoji=False)


@contextmanager
def bar(quiet: bool = False) -> Iterator[Callable[[int, int, str], None] | None]:
    """A callback `(done, total, what)` that draws a progress bar; None if stderr is no terminal, or if `quiet`.

    The bar appears with the first call and vanishes when `done` reaches `total`.
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
    """Show a spinner with `what` is being done during the `with` block."""
    drawn_on = _terminal(quiet)
    if drawn_on is None:
        yield
        return
    with drawn_on.status(f"{what} ..."):
        yield


def _terminal(quiet: bool) -> Console | None:
    """The terminal on stderr; None if there is none (also under `FORCE_COLOR`), or if `quiet`."""
    from rich.console import Console

    console = Console(stderr=True)
    drawable = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
    return console if drawable and console.is_interactive and not quiet else None


def prepare() -> None:
    """Make the standard streams usable: closed ones lead to os.devnull, and unencodable characters become escapes."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # no file that is opened later may get its number
            stopping.to_devnull(number)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def ended_by() -> str:
    """How to end this process early: Ctrl-C, or `kill` and its number where that is ignored (nohup, `&` in scripts)."""
    return "Ctrl-C" if interruptible() else f"kill {os.getpid()}"


def interruptible() -> bool:
    """Whether Ctrl-C reaches this process: its parent may have set the signal to be ignored."""
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def give_up_stdout() -> None:
    """Discard what is still to be written to stdout, so that the end of the process does not fail."""
    stopping.to_devnull(sys.stdout.fileno())
