"""The frame around a summary: a box on a terminal, plain lines in a file, a pipe or a dumb terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text


def boxed(console: Console) -> bool:
    """Whether frames may be drawn: on real terminals only, not in files or pipes with `FORCE_COLOR`."""
    isatty = getattr(console.file, "isatty", None)
    return console.is_terminal and not console.is_dumb_terminal and isatty is not None and bool(isatty())


def put(console: Console, title: str, parts: Sequence[RenderableType], style: str) -> None:
    """Print texts (wrapped in a frame only) and tables one below the other; without a frame there is no title."""
    if boxed(console):
        frame = Panel(Group(*parts), title=title, title_align="left", border_style=style, box=ROUNDED, padding=(0, 1))
        console.print(frame, soft_wrap=False)
        return
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text), highlight=False)
