"""Finds the line of a label file that a row of a batch came from."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import Tensor

from yolo_nanfix.dataset.label_parser import is_polygon, numbers_of, rows_of
from yolo_nanfix.dataset.paths import label_path

MOST_BYTES = 1 << 24
"""Most bytes that are read of all label files together."""
ROWS_TRACED = 500
"""Most rows that are traced."""
LINES = 1000
"""Most lines of an image in an incident that are compared; the guard writes 200."""
CLOSE = 0.02
"""Normalised coordinates that differ by less than this are the same."""


@dataclass(frozen=True)
class Origin:
    """Where a label row came from: `file:line` (the file alone where the line is not sure), and the image it labels."""

    place: str
    image: str


def origins(
    batch: Mapping[str, Tensor], rows: Sequence[int], sources: Sequence[Mapping[str, Any]]
) -> tuple[Origin, ...]:
    """The origin of each of some rows of a batch that can be traced; `sources` are those of the incident's facts.

    A mosaic sample has rows of several files, whose lines the batch does not have: the first of its label files with a
    suspect row is named, as far as they still exist on disk.
    """
    owners = [int(i) for i in batch["batch_idx"].reshape(-1).tolist()] if "batch_idx" in batch else []
    numbers, counts = _numbered(owners)
    lines: dict[int, _Lines] = {}
    parents = _Parents()
    found: dict[Origin, None] = {}
    for row in rows[:ROWS_TRACED]:
        image = owners[row]
        source = sources[image] if image < len(sources) else {}
        labels, own = source.get("labels"), str(source.get("file", ""))
        if image not in lines:
            lines[image] = _Lines.of("\n".join(map(str, labels["rows"][:LINES])) if labels else "")
        line = _line_of_row(batch, row, numbers[row], counts[image], lines[image])
        if line is None and (parent := parents.first_suspect(source.get("parents") or ())):
            found[parent] = None
        elif labels and (line or not source.get("parents")):
            found[Origin(f"{labels['file']}:{line}" if line else str(labels["file"]), own)] = None
    return tuple(found)


def _numbered(owners: Sequence[int]) -> tuple[list[int], Counter[int]]:
    """The number of each row among those of its image, from 0; and how many rows each image has."""
    counts: Counter[int] = Counter()
    numbers = []
    for image in owners:
        numbers.append(counts[image])
        counts[image] += 1
    return numbers, counts


@dataclass(frozen=True)
class _Lines:
    """The lines of a label file that are not empty, by 1-based number, and the numbers of those that are suspect."""

    parsed: list[tuple[int, list[float] | None]]
    suspect: list[int]

    @classmethod
    def of(cls, text: str) -> _Lines:
        """Parse the text of a label file."""
        parsed = [(line, numbers_of(words)) for line, words in rows_of(text)]
        return cls(parsed, [i for i, numbers in parsed if numbers is None or _is_suspect(numbers)])


class _Parents:
    """Reads the label files of images that an incident names: each once, and `MOST_BYTES` of all together."""

    def __init__(self) -> None:
        self._left = MOST_BYTES
        self._known: dict[str, Origin | None] = {}

    def first_suspect(self, images: Sequence[Any]) -> Origin | None:
        """The first row that is not numeric, not finite, far outside or without area."""
        for image in map(str, images):
            if image not in self._known:
                self._known[image] = self._look(image)
            if origin := self._known[image]:
                return origin
        return None

    def _look(self, image: str) -> Origin | None:
        place = label_path(image)
        data = _read_bounded(place, self._left) if self._left > 0 else b""
        self._left -= len(data)
        whole = data if self._left else data[: data.rfind(b"\n") + 1]
        lines = _Lines.of(whole.decode("utf-8", "replace"))
        return Origin(f"{place}:{lines.suspect[0]}", image) if lines.suspect else None


def _read_bounded(place: str, most: int) -> bytes:
    """Read a label file that an incident, which may be of anybody, names: no device, no network share, `most` bytes."""
    if place.startswith(("\\\\", "//")):
        return b""
    try:
        with open(place, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            return file.read(most) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except (OSError, ValueError):  # missing, not readable, or no valid name
        return b""


def _line_of_row(batch: Mapping[str, Tensor], row: int, number: int, count: int, lines: _Lines) -> int | None:
    """The 1-based line: the row that is suspect itself, the one at the same place, or the one with the same number."""
    if len(lines.suspect) == 1:
        return lines.suspect[0]
    cls = float(batch["cls"].reshape(-1)[row])
    box = [float(v) for v in batch["bboxes"][row, :4].float()]
    same = [i for i, n in lines.parsed if n and n[0] == cls and _near(n[1:], box)]
    if len(same) == 1:
        return same[0]
    if len(lines.parsed) != count:
        return None
    line, numbers = lines.parsed[number]
    return line if numbers is None or numbers[:1] == [cls] else None


def _is_suspect(numbers: list[float]) -> bool:
    """Not finite, far outside, or a box without area."""
    if not all(isfinite(v) and abs(v) < 10 for v in numbers[1:]):
        return True
    width, height = _box(numbers[1:])[2:] if len(numbers) > 4 else (1.0, 1.0)
    return width <= 0 or height <= 0


def _near(numbers: list[float], box: list[float]) -> bool:
    return len(numbers) >= 4 and all(abs(a - b) < CLOSE for a, b in zip(_box(numbers), box, strict=True))


def _box(numbers: list[float]) -> list[float]:
    """The box of a row without its class: its own, or around its polygon."""
    if not is_polygon(1 + len(numbers), "pose" if _looks_like_pose(numbers) else ""):
        return numbers[:4]
    xs, ys = numbers[0::2], numbers[1::2]
    return [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]


def _looks_like_pose(numbers: list[float]) -> bool:
    """Pose rows are a box and triples with a visibility of 0, 1 or 2."""
    return (len(numbers) - 4) % 3 == 0 and all(v in (0.0, 1.0, 2.0) for v in numbers[6::3])
