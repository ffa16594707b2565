"""The progress bar of long work: on stderr, only where stderr is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(quiet: bool = False) -> Iterator[Callable[[int, int, str], None] | None]:
    """Give a callback `(done, total, what)` that draws a bar, or None where nobody would see it.

    The bar is drawn from the first call on and taken away when `done` reaches `total`.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as drawn:
        task = drawn.add_task("", total=None, visible=False)

        def show(done: int, total: int, what: str) -> None:
            drawn.update(task, completed=done, total=total, description=what, visible=done < total)

        yield show
