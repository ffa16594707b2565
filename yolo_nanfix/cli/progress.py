"""The signs of long work: a bar, or a turning wheel; on stderr, only where stderr is a terminal that can draw them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(quiet: bool = False) -> Iterator[Callable[[int, int, str], None] | None]:
    """Give a callback `(done, total, what)` that draws a bar, or None where nobody would see it.

    The bar is drawn from the first call on and taken away when `done` reaches `total`.
    """
    console = _terminal(quiet)
    if console is None:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as drawn:
        task = drawn.add_task("", total=None, visible=False)

        def show(done: int, total: int, what: str) -> None:
            drawn.update(task, completed=done, total=total, description=what, visible=done < total)

        yield show


@contextmanager
def waiting(what: str, quiet: bool = False) -> Iterator[None]:
    """Say what is being done, while it is, where its end cannot be foreseen."""
    console = _terminal(quiet)
    if console is None:
        yield
        return
    with console.status(f"{what} ..."):
        yield


def _terminal(quiet: bool) -> Console | None:
    """The terminal on stderr. Colours that are forced on (`FORCE_COLOR`) make none of a file or a pipe."""
    console = Console(stderr=True)
    drawable = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
    return console if drawable and console.is_interactive and not quiet else None
