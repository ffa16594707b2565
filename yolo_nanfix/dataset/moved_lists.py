"""Lists of images whose lines lead nowhere: written on another machine, or from another folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.files import ANYWHERE

TRIED = 5
"""So many lines of a list are looked for; none of them is where it says in a list that was moved."""
HEAD = 1 << 14
"""Bytes in which these lines are looked for."""
_SEPARATOR = re.compile(r"[\\/]+")


class Moved(NamedTuple):
    """How the lines of a list are read.

    Attributes:
        start: what they begin with.
        place: what is read in its place.
        windows: whether their folders are parted by backslashes.
    """

    start: str
    place: str
    windows: bool

    def read(self, text: str) -> str:
        """The text of the list, with the paths that are there."""
        lines = (text.replace("\\", "/") if self.windows else text).splitlines()
        return "\n".join(
            self.place + line[len(self.start) :] if line.startswith(self.start) else line for line in lines
        )


def moved(listed: Path, bases: Iterable[Path]) -> Moved | None:
    """How a list is read whose first images are not where it says, but in one of these folders; None for any other."""
    lines = _first(listed)
    if not lines or any(line.startswith("./") or os.path.exists(line) for line in lines):  # noqa: PTH110
        return None
    for base in bases:
        for line in lines:
            windows = "\\" in line
            plain = line.replace("\\", "/") if windows else line
            parts = [part for part in _SEPARATOR.split(plain) if part]
            for cut in range(len(parts)):
                tail = "/".join(parts[cut:])
                if plain.endswith(tail) and os.path.isfile(base / tail):  # noqa: PTH113
                    return Moved(plain[: len(plain) - len(tail)], f"{base}{os.sep}", windows)
    return None


def _first(listed: Path) -> Sequence[str]:
    """The first lines of a list; none if it cannot be read."""
    try:
        head = ANYWHERE.read(listed, HEAD)
    except OSError:
        return ()
    lines = [line.strip() for line in head.decode("utf-8-sig", "replace").splitlines()]
    return [line for line in lines if line and "\0" not in line][:TRIED]
