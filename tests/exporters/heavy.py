"""Exporters too heavy for each test run: what they wrote is recorded; `scripts/heavy_exporters.py` runs them again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heavy:
    """A case in three parts, of which the second alone needs the exporter.

    Attributes:
        draw: makes pictures in `root/in`, and the annotations that the exporter reads.
        export: runs the exporter, which writes to `root/out`; called in an environment that has it.
        finish: lays out what was written for lint, and returns what is linted.
    """

    draw: Callable[[Path], object]
    export: Callable[[Path], object]
    finish: Callable[[Path], Path]


def written(root: Path) -> dict[str, str]:
    """The texts that the exporter wrote, by path; pictures are drawn again. The root's name stands as `ROOT`."""
    out = root / "out"
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.suffix not in (".png", ".jpg")]
    return {path.relative_to(out).as_posix(): _anywhere(path.read_text(), root) for path in files}


def _anywhere(text: str, root: Path) -> str:
    """The text with neither this run's folder nor its date in it; JSON of Label Studio escapes slashes."""
    plain = text.replace(str(root), "ROOT").replace(str(root).replace("/", "\\/"), "ROOT")
    return re.sub(r'("year": |"date_created": ")[\d:. -]+', r"\g<1>2026", plain)


def replay(case: Heavy, root: Path, texts: dict[str, str]) -> Path:
    """The files that an exporter wrote some time, beside pictures drawn now; returns what is linted."""
    case.draw(root)
    for path, text in texts.items():
        file = root / "out" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("ROOT", str(root)))
    return case.finish(root)
