"""Text of the code as Markdown that shows it as it is, and the pieces of pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from yolo_nanfix.cards import load_all
from yolo_nanfix.linting.registry import all_rules

_CODE = re.compile(r"`([^`]+)`")
_SPECIAL = re.compile(r"([\\`*_\[\]<>&|~$#{}!^@])")
_RULE = re.compile(r"\b[A-Z]{2}\d{3}\b")


def prose(text: str, links: bool = True) -> str:
    """Text with backticks around code, as Markdown in which nothing else has a meaning.

    Args:
        text: one paragraph.
        links: codes of rules, and names of patches in backticks, lead to their pages.
    """
    parts = _CODE.split(" ".join(text.split()))
    shown = [code(part, links) if i % 2 else _escaped(part, links) for i, part in enumerate(parts)]
    return _line_start("".join(shown))


def code(text: str, links: bool = True) -> str:
    """Text as a code span; the name of a patch as a link to its page."""
    if links and text in load_all():
        return f"[`{text}`](/patches/{text}.md)"
    ticks = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def cell(text: str) -> str:
    """Markdown as a cell of a table: one line, and no bar that would end it."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines) + "\n"


def facts(rows: Iterable[Sequence[str]]) -> str:
    """A table of pairs, the first of each as its head."""
    lines = [f"* - {cell(head)}\n  - {cell(text)}" for head, text in rows]
    return "```{list-table}\n:stub-columns: 1\n:align: left\n\n" + "\n".join(lines) + "\n```\n"


def block(text: str, language: str = "text") -> str:
    """Text as a fenced block of code."""
    fence = "`" * max(3, max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _escaped(text: str, links: bool) -> str:
    plain = _SPECIAL.sub(r"\\\1", text)
    return _RULE.sub(_rule_link, plain) if links else plain


def _rule_link(match: re.Match[str]) -> str:
    return f"[{match[0]}](/rules/{match[0]}.md)" if match[0] in _codes() else match[0]


@lru_cache(maxsize=1)
def _codes() -> frozenset[str]:
    return frozenset(rule.code for rule in all_rules())


def _line_start(text: str) -> str:
    """What would begin a list, a quotation or a line at the start of a paragraph, as text."""
    return re.sub(r"^(\d+)([.)])(?=\s|$)|^([-+=:])", lambda m: f"{m[1]}\\{m[2]}" if m[1] else f"\\{m[3]}", text)
