"""Small judgements on values that may be anything."""

from __future__ import annotations

from math import isfinite
from typing import Any, TypeGuard

_KINDS = frozenset((int, float))


def whole(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number of a sane size; True and 1.0 are not."""
    return type(value) is int and abs(value) < 1 << 62


def numbers(value: Any) -> TypeGuard[list[float]]:
    """Whether a value is a list of finite numbers."""
    try:
        return type(value) is list and _KINDS.issuperset(map(type, value)) and all(map(isfinite, value))
    except OverflowError:  # too large for a float
        return False


def _real(value: float) -> float:
    """A number as a float; infinite if it is too large."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def side(value: Any) -> int:
    """A width or height in pixels; 0 if it is none."""
    real = _real(value) if type(value) in (int, float) else 0.0
    return int(real) if 0 < real < 1 << 30 else 0


def brief(value: Any) -> str:
    """A value as it may stand in a message."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
