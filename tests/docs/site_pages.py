"""The pages of the documentation as they are written, and as they are built."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = [*DOCS.glob("*.md"), *(p for part in ("tutorials", "ideas", "reference") for p in (DOCS / part).glob("*.md"))]
FENCE = re.compile(
    r"^(`{3,})(\{code-block\} )?(\w+)\n(?::class: \w+\n\n)?(?::caption: ([^\n]+)\n\n)?(.*?)^\1$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One block of code of a page."""

    language: str
    caption: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*match.group(3, 4, 5)) for match in FENCE.finditer(page.read_text(encoding="utf-8"))]


class Page(HTMLParser):
    """What of a page leads elsewhere, the texts of its cells, and its whole text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self._in_cell = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("td", "th"):
            self.cells.append("")
            self._in_cell = True
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "prefetch"):
            self.loads.append(given["href"])

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self._in_cell:
            self.cells[-1] += data


def words(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def console_lines() -> list[tuple[str, str]]:
    """Each command line of the pages, with the page that shows it."""
    lines = []
    for page in WRITTEN:
        for block in blocks(page):
            if block.language == "console":
                shown = block.text.replace("\\\n", " ")
                lines += [(page.name, line[2:]) for line in shown.splitlines() if line.startswith("$ ")]
    return lines
