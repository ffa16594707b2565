"""The frame around a summary: a box on a terminal, plain lines in a file, a pipe or a dumb terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text


def boxed(console: Console) -> bool:
    """Whether lines may be drawn: colours that are forced on (`FORCE_COLOR`) make no terminal of a file or a pipe."""
    isatty = getattr(console.file, "isatty", None)
    return console.is_terminal and not console.is_dumb_terminal and isatty is not None and bool(isatty())


def put(console: Console, title: str, parts: Sequence[RenderableType], style: str) -> None:
    """Print the parts one below the other.

    Args:
        console: where to print.
        title: what stands in the frame; it is left out where there is none.
        parts: texts, wrapped in the frame but not outside of it, and tables.
        style: colour of the frame.
    """
    if boxed(console):
        frame = Panel(Group(*parts), title=title, title_align="left", border_style=style, box=ROUNDED, padding=(0, 1))
        console.print(frame, soft_wrap=False)
        return
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text), highlight=False)
