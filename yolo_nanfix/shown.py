"""Values out of files: in messages as Python writes them, but cut; in cells of CSV files; of JSON with their types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SHOWN_CHARACTERS = 200
"""Characters of a value that are shown."""
_BITS = 400
"""Whole numbers of more bits are named by their size: from some size on Python refuses to write them."""
_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), dict: ("{", "}")}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_INSIDE = re.compile(r"([;\t]\s*)(?=[=@]|[+-]\s*[A-Za-z(@=])")
"""Where a cell is cut by spreadsheets that part cells by semicolons or tabs, and what follows would be a formula."""
_REQUIRED = object()


def shown(value: Any, most: int = SHOWN_CHARACTERS) -> str:
    """`repr(value)`, cut to `most` characters; of a long or large value no more is looked at than is shown.

    Args:
        value: what a file holds: text, numbers, dates, lists, mappings, also within each other or themselves.
        most: characters at most, 4 or more.
    """
    text = ""
    for piece in _pieces(value, most + 1):
        text += piece
        if len(text) > most:
            return text[: most - 3] + "..."
    return text


def cut(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """A text, cut to `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _pieces(value: Any, most: int) -> Iterator[str]:
    """What `repr(value)` consists of; more than `most` characters are not asked for."""
    kind = type(value)
    if kind is str or kind is bytes:
        yield repr(value[:most])
    elif kind is int and value.bit_length() > _BITS:
        yield f"<a whole number of {value.bit_length()} bits>"
    elif kind not in _BRACKETS or (kind is set and not value):
        yield repr(value)
    else:
        start, end = _BRACKETS[kind]
        yield start
        yield from _entry_pieces(value.items() if kind is dict else value, most, pairs=kind is dict)
        yield ",)" if kind is tuple and len(value) == 1 else end


def _entry_pieces(entries: Iterable[Any], most: int, *, pairs: bool) -> Iterator[str]:
    for number, entry in enumerate(entries):
        if number:
            yield ", "
        if pairs:
            yield from _pieces(entry[0], most)
            yield ": "
        yield from _pieces(entry[1] if pairs else entry, most)


def printable(text: str) -> str:
    """The text with control characters, line breaks and broken surrogates as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def text_cell(text: str) -> str:
    """Text for one cell of a CSV file, after OWASP: what a spreadsheet would take for a formula gets an apostrophe.

    For text alone, such as names of files and classes; numbers are written as they are, also negative ones.
    """
    guarded = _INSIDE.sub(r"\1'", text)
    return f"'{guarded}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else guarded


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
