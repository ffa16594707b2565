"""Sphinx extension: writes the pages that come from the code, and knows the pictures.

Before a build, the pages of `pages()` are written below the folder of the sources, which git ignores: only those whose
text changed, so that a second build is quick, and what is no longer generated is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator import advices, cards, commands, rules, tables
from generator.picture import Picture

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDERS = ("rules", "patches", "advices", "commands", "generated")
"""Folders of `docs` that hold nothing but generated files."""


def pages() -> Iterator[tuple[str, str]]:
    """Each generated file: its path below `docs`, and its text."""
    yield from rules.pages()
    yield from cards.pages()
    yield from advices.pages()
    yield from commands.pages()
    yield from tables.fragments()


def write(docs: Path) -> None:
    """Write the generated files below `docs`, and remove stale ones."""
    wanted = dict(pages())
    for name, text in wanted.items():
        path = docs / name
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for folder in FOLDERS:
        for path in (docs / folder).glob("*.md"):
            if str(path.relative_to(docs).as_posix()) not in wanted:
                path.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("picture", Picture)
    app.connect("builder-inited", lambda built: write(Path(built.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
