"""Forms that values read from an incident must have; each looks at a value and says what is wrong with it, and where.

Incidents come from anybody, so that every fact is looked at before anything reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

CLASSES = 100_000
"""At most so many classes."""
TEXT = 1 << 16
"""Longest text, in characters."""
MANY = 100_000
"""At most so many entries of a list or mapping."""
LIMIT = 2**63
NESTED = 8


class Wrong(Exception):  # noqa: N818 - becomes NotReadable where the place is known
    """What is wrong, and at which place in the facts."""

    def __init__(self, what: str, place: str = "") -> None:
        """Keep both."""
        super().__init__(what)
        self.what, self.place = what, place

    def inside(self, key: object) -> Wrong:
        """The same, inside of the entry `key`."""
        return Wrong(self.what, f"{key}.{self.place}" if self.place else f"{key}")


Form = Callable[[Any], None]
"""Looks at a value; raises `Wrong`."""


def shown(value: Any) -> str:
    """A value for people, cut."""
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)} entries" if len(value) > 4 else _cut(value)
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)} entries"
    if isinstance(value, int) and abs(value) >= LIMIT:
        return "a number of more than 64 bits"
    return _cut(value)


def _cut(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(entry) for entry in value) + "]"
    text = repr(value[:61] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def text(most: int = TEXT) -> Form:
    """Text of at most so many characters."""

    def look(value: Any) -> None:
        if not isinstance(value, str):
            raise Wrong(f"must be a text, not {shown(value)}")
        if len(value) > most:
            raise Wrong(f"is a text of {len(value)} characters; at most {most} are read")

    return look


def number(value: Any) -> None:
    """A number of at most 64 bits, also one that is not finite; no truth value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Wrong(f"must be a number, not {shown(value)}")
    if isinstance(value, int) and abs(value) >= LIMIT:
        raise Wrong("is a number of more than 64 bits")


def figure(value: Any) -> None:
    """A number or a truth value."""
    if not isinstance(value, bool):
        number(value)


def whole(low: int = -LIMIT, high: int = LIMIT) -> Form:
    """A whole number within bounds."""

    def look(value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            span = f" from {low} to {high}" if high < LIMIT else ""
            raise Wrong(f"must be a whole number{span}, not {shown(value)}")

    return look


def one_of(*values: str) -> Form:
    """One of some texts."""

    def look(value: Any) -> None:
        if not isinstance(value, str) or value not in values:
            raise Wrong(f"must be one of {', '.join(values)}, not {shown(value)}")

    return look


def maybe(form: Form) -> Form:
    """That, or nothing."""

    def look(value: Any) -> None:
        if value is not None:
            form(value)

    return look


def listed(form: Form, most: int = MANY) -> Form:
    """A list of such."""

    def look(value: Any) -> None:
        if not isinstance(value, (list, tuple)):
            raise Wrong(f"must be a list, not {shown(value)}")
        if len(value) > most:
            raise Wrong(f"has {len(value)} entries; at most {most} are read")
        for place, entry in enumerate(value):
            _at(place, form, entry)

    return look


def table(form: Form, most: int = MANY, key: Form | None = None) -> Form:
    """A mapping of texts to such."""
    key = key or text(1024)

    def look(value: Any) -> None:
        _mapping(value, most)
        for name, entry in value.items():
            key(name)
            _at(name, form, entry)

    return look


def record(**forms: Form) -> Form:
    """A mapping whose named entries have forms, where they are there; nobody reads others."""

    def look(value: Any) -> None:
        _mapping(value, MANY)
        for name, form in forms.items():
            if value.get(name) is not None:
                _at(name, form, value[name])

    return look


def plain(value: Any, depth: int = 0) -> None:
    """Whatever JSON holds, not too deep, and with numbers of at most 64 bits."""
    if depth > NESTED:
        raise Wrong(f"is nested deeper than {NESTED}")
    if isinstance(value, Mapping):
        table(lambda entry: plain(entry, depth + 1))(value)
    elif isinstance(value, (list, tuple)):
        listed(lambda entry: plain(entry, depth + 1))(value)
    elif isinstance(value, str):
        text()(value)
    elif value is not None:
        figure(value)


def identifier(value: Any) -> None:
    """The name of a Python attribute that is nobody's own."""
    if not isinstance(value, str) or not value.isidentifier() or value.startswith("__") or len(value) > 64:
        raise Wrong(f"has the key {shown(value)}, which is no name")


def _mapping(value: Any, most: int) -> None:
    if not isinstance(value, Mapping):
        raise Wrong(f"must be a mapping, not {shown(value)}")
    if len(value) > most:
        raise Wrong(f"has {len(value)} entries; at most {most} are read")


def _at(place: object, form: Form, value: Any) -> None:
    try:
        form(value)
    except Wrong as wrong:
        raise wrong.inside(place if len(str(place)) < 60 else f"{str(place)[:59]}…") from None
