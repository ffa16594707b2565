"""Reads values that may be damaged or of another version: what is missing or of a wrong type counts as empty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from yolo_nanfix.shown import printable

LONGEST = 2000
"""Texts are cut to so many characters."""


def mapping(value: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping under a path of keys, with text for keys; an empty one if there is none."""
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
    shown = printable(str(found)[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + "…"


def line(value: Any) -> str:
    """A text with all its white space as single spaces, so that a message of several lines is read as one."""
    return printable(" ".join(value.split())[:LONGEST]) if isinstance(value, str) else text(value)


def texts(value: Any, *keys: str) -> list[str]:
    """The texts that are not empty in the list under a path of keys."""
    return [found for entry in entries(value, *keys) if (found := text(entry))]


def raw(value: Any, *keys: str) -> str:
    """The text under a path of keys exactly as it is; for comparisons, not for the page."""
    found = _under(value, keys)
    return found if isinstance(found, str) else ""


def number(value: Any, *keys: str) -> float | None:
    """The number under a path of keys, perhaps one that is not finite; None if there is none."""
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
    """The number under a path of keys as a whole one that is not negative; 0 if there is none."""
    found = number(value, *keys)
    return int(found) if found is not None and math.isfinite(found) and found > 0 else 0


def _under(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
