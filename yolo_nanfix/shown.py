"""How values out of files stand in messages: as Python writes them, cut, at no more cost than what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

SHOWN_CHARACTERS = 200
"""Characters of a value that are shown."""
_BITS = 400
"""Whole numbers of more bits are named by their size: from some size on Python refuses to write them."""
_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), dict: ("{", "}")}


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
        yield from _entries(value.items() if kind is dict else value, most, pairs=kind is dict)
        yield ",)" if kind is tuple and len(value) == 1 else end


def _entries(entries: Iterable[Any], most: int, *, pairs: bool) -> Iterator[str]:
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
