"""Reads values that may be damaged or of another version: missing ones and those of a wrong type count as empty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from yolo_nanfix.wording import printable

MOST_CHARACTERS = 2000
"""Longer texts are cut."""


def mapping(value: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping under a path of keys, with its keys as text; an empty one if there is none."""
    found = _under(value, keys)
    return {str(key): entry for key, entry in found.items()} if isinstance(found, Mapping) else {}


def entries(value: Any, *keys: str) -> Sequence[Any]:
    """The list under a path of keys; an empty one if there is none."""
    found = _under(value, keys)
    return found if isinstance(found, (list, tuple)) else ()


def text(value: Any, *keys: str) -> str:
    """The text or number under a path of keys, printable and not too long; empty if there is none."""
    found = _under(value, keys)
    if isinstance(found, bool) or not isinstance(found, (str, int, float)):
        return ""
    shown = printable(str(found)[: MOST_CHARACTERS + 1])
    return shown if len(shown) <= MOST_CHARACTERS else shown[:MOST_CHARACTERS] + "…"


def line(value: Any) -> str:
    """A text with all white space as single spaces: a message of several lines in one."""
    return printable(" ".join(value.split())[:MOST_CHARACTERS]) if isinstance(value, str) else text(value)


def texts(value: Any, *keys: str) -> list[str]:
    """The texts in the list under a path of keys, without empty ones."""
    return [found for entry in entries(value, *keys) if (found := text(entry))]


def raw(value: Any, *keys: str) -> str:
    """The text under a path of keys, unchanged: for comparisons, not to be shown."""
    found = _under(value, keys)
    return found if isinstance(found, str) else ""


def number(value: Any, *keys: str) -> float | None:
    """The number under a path of keys, finite or not; None if there is none."""
    found = _under(value, keys)
    if isinstance(found, str) and found in ("nan", "inf", "-inf"):
        return float(found)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    try:
        return float(found)
    except OverflowError:
        return math.inf if found > 0 else -math.inf


def count(value: Any, *keys: str) -> int:
    """The number under a path of keys as a non-negative whole one; 0 if there is none."""
    found = number(value, *keys)
    return int(found) if found is not None and math.isfinite(found) and found > 0 else 0


def _under(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
