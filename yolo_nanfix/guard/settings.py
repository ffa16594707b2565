"""The guard's settings, one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from yolo_nanfix.errors import UsageError, nearest

SCALER_SKIPS = 32
"""Optimizer steps in a row that a GradScaler may skip. From its first scale of 65 536 it has then fallen to
1.5e-5, where no float16 gradient overflows any more: the gradients themselves are not finite."""


@dataclass(frozen=True)
class GuardSettings:
    """How the guard behaves.

    Attributes:
        max_bad_in_a_row: the run stops at this many bad micro-batches in a row.
    """

    max_bad_in_a_row: int = 10

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if isinstance(self.max_bad_in_a_row, bool) or not isinstance(self.max_bad_in_a_row, int):
            raise UsageError(f"guard setting max_bad_in_a_row must be an int, not {self.max_bad_in_a_row!r}")
        if self.max_bad_in_a_row < 1:
            raise UsageError(f"guard setting max_bad_in_a_row must be at least 1, not {self.max_bad_in_a_row}")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> GuardSettings:
        """Build from keyword arguments; an unknown name raises `UsageError` with the nearest known one."""
        for name in values:
            if name not in cls.names():
                raise UsageError(f"no guard setting '{name}'; {nearest(name, cls.names())}")
        return cls(**values)
