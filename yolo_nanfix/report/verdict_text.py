"""A verdict as text for people: the cause, where, which images and lines, what was seen, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from yolo_nanfix.report.words import PLACES, printable

SHOWN = 8
STYLES = {"nondeterministic": "yellow", "unknown": "yellow"}


def render(verdict: Mapping[str, Any], console: Console | None = None, *, short: bool = False) -> None:
    """Print a verdict (`Verdict.as_dict()`), its text literally and with control characters escaped.

    Args:
        verdict: as a JSON-ready dict.
        console: where to print.
        short: the verdict, the operation and what to do alone.
    """
    console = console or Console()
    cause, confidence = str(verdict["cause"]), float(verdict["confidence"])
    style = STYLES.get(cause, "bold red")
    _line(console, (f"{cause}", style), (f" (confidence {confidence:.2f}): ", "dim"), (str(verdict["summary"]), ""))
    if short:
        where = " ".join(filter(None, [verdict["op"], f"in {verdict['module']}" if verdict["module"] else ""]))
        for line in (where, *verdict["advice"]):
            if line:
                _line(console, ("  - ", "dim"), (str(line), ""))
        return
    for key, name in PLACES:
        if verdict[key]:
            _line(console, (f"  {name:<10}", "bold"), (str(verdict[key]), ""))
    _list(console, "images", verdict["images"])
    _list(console, "labels", verdict["labels"])
    _list(console, "what was seen", verdict["evidence"])
    _list(console, "what to do", verdict["advice"])
    count = int(verdict["replays"])
    _line(console, (f"{count} replay{'' if count == 1 else 's'} in {float(verdict['seconds']):.1f} s", "dim"))


def _list(console: Console, name: str, entries: Any) -> None:
    entries = list(entries)
    if not entries:
        return
    _line(console, (name, "bold"))
    limit = SHOWN if name in ("images", "labels") else len(entries)
    for entry in entries[:limit]:
        _line(console, ("  - ", "dim"), (str(entry), ""))
    if len(entries) > limit:
        _line(console, (f"    and {len(entries) - limit} more", "dim"))


def _line(console: Console, *parts: tuple[str, str]) -> None:
    """Print one line in what the console's encoding can show."""
    shown = [(printable(t).encode(console.encoding, "backslashreplace").decode(console.encoding), s) for t, s in parts]
    console.print(Text.assemble(*shown), soft_wrap=True, highlight=False, markup=False, emoji=False)
