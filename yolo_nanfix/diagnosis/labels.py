"""Finds the line of a label file that a row of a batch came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from torch import Tensor

CLOSE = 0.02
"""Coordinates this near to each other, in shares of the image, are taken for the same."""


def places(batch: Mapping[str, Tensor], rows: Sequence[int], sources: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """`file:line` for each row that can be traced; without a line where only the file is sure.

    Args:
        batch: the batch.
        rows: numbers of its label rows.
        sources: for each image its `labels`: the label file and its rows as text.
    """
    owners = [int(i) for i in batch["batch_idx"].reshape(-1).tolist()] if "batch_idx" in batch else []
    found: dict[str, None] = {}
    for row in rows:
        image = owners[row]
        labels = sources[image].get("labels") if image < len(sources) else None
        if not labels:
            continue
        number = sum(1 for other in range(row) if owners[other] == image)
        line = _line(batch, row, number, owners.count(image), [str(r) for r in labels["rows"]])
        found[f"{labels['file']}:{line}" if line else str(labels["file"])] = None
    return tuple(found)


def _line(batch: Mapping[str, Tensor], row: int, number: int, count: int, texts: list[str]) -> int | None:
    """The 1-based line: the row that is sick itself, the one at the same place, or the one with the same number."""
    parsed = [(i, _numbers(text)) for i, text in enumerate(texts, 1) if text.strip()]
    sick = [i for i, numbers in parsed if numbers is None or _is_sick(numbers)]
    if len(sick) == 1:
        return sick[0]
    cls = float(batch["cls"].reshape(-1)[row])
    box = [float(v) for v in batch["bboxes"][row, :4].float()]
    same = [i for i, n in parsed if n and n[0] == cls and _near(n[1:], box)]
    if len(same) == 1:
        return same[0]
    if len(parsed) != count:
        return None
    line, numbers = parsed[number]
    return line if numbers is None or numbers[:1] == [cls] else None


def _numbers(text: str) -> list[float] | None:
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        return None


def _is_sick(numbers: list[float]) -> bool:
    """Not finite, far outside, or a box without area."""
    if not all(isfinite(v) and abs(v) < 10 for v in numbers[1:]):
        return True
    width, height = _box(numbers[1:])[2:] if len(numbers) > 4 else (1.0, 1.0)
    return width <= 0 or height <= 0


def _near(numbers: list[float], box: list[float]) -> bool:
    return len(numbers) >= 4 and all(abs(a - b) < CLOSE for a, b in zip(_box(numbers), box, strict=True))


def _box(numbers: list[float]) -> list[float]:
    """The box of a row without its class: its own, or around its polygon."""
    if len(numbers) % 2 or len(numbers) < 6 or _looks_like_pose(numbers):
        return numbers[:4]
    xs, ys = numbers[0::2], numbers[1::2]
    return [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]


def _looks_like_pose(numbers: list[float]) -> bool:
    """Pose rows are a box and triples with a visibility of 0, 1 or 2."""
    return (len(numbers) - 4) % 3 == 0 and all(v in (0.0, 1.0, 2.0) for v in numbers[6::3])
