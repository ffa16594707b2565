"""Takes values out of what was read from JSON, each with its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REQUIRED = object()


class Held:
    """A mapping read from JSON, whose values are taken with their types."""

    def __init__(self, values: Any, what: str) -> None:
        """Hold the mapping; `what` is what it is called where it is wrong.

        Raises:
            ValueError: it is no mapping.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{what} is a mapping, not {type(values).__name__}")
        self._values, self._what = values, what

    def get(self, key: str, kind: type, default: Any = _REQUIRED) -> Any:
        """The value of a key; the default, if there is one, where it is absent or null."""
        value = self._values.get(key)
        if value is None and default is not _REQUIRED:
            return default
        if key not in self._values:
            raise ValueError(f"{self._what} has no {key!r}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{self._what} has a {key!r} that is {type(value).__name__}, not {kind.__name__}")
        return value
