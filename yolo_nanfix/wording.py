"""How values become text: sentences from a format text, values as `repr` writes them but cut, cells of CSV files.

No code reads a sentence back; `Held` reads values back from JSON.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Any

SHOWN_CHARACTERS = 200
"""Longest text of a value in messages."""
_BITS = 400
"""Integers of more bits are shown by their size: Python refuses to write very large ones."""
_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), dict: ("{", "}")}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_INSIDE = re.compile(r"([;\t]\s*)(?=[=@]|[+-]\s*[A-Za-z(@=])")
"""Where spreadsheets that split cells at semicolons or tabs would find a formula."""
_REQUIRED = object()
_PARSER = Formatter()
_WIDE = re.compile(r"\d{3}")
"""A width that is refused in a format spec: reports of other people are read, and could ask for endless padding."""


def sentence(says: str, values: Mapping[str, Any]) -> str:
    """A format text with the names in braces replaced by their values; `{{` is a brace.

    - `{x}`: text as it is, a float with six digits, a sequence with spaces between; `{x:.0f}` as in `str.format`;
    - `{x[0]}`: an entry of a sequence;
    - `{x:,}`: a sequence with commas between (`{x:;}`: semicolons); `{x:,4}`: its first four entries, and how many more
      there are; `{x:,4:{0} is {1!r}}`: a format text for each entry, which is a tuple;
    - `{x:row|rows}`: a number with its noun;
    - `{x:more}`: ` and N more`, nothing for 0;
    - `{x:yes|no}`: of a bool the first text or the second;
    - `{x:0=none|1=one of them|# of them}`: the text of this value, or else the last one, in which `#` is the value;
    - `{x!r}`: a value out of a file, as `shown`; `{x!a}`: in ASCII; `{x!n}`: the last part of a path; `{x!l}`: a line,
      by its number or by its name in an annotation file.

    A text that does not fit its values, as those of other versions may, is returned as it is.
    """
    try:
        pieces, ready = _parsed(says), []
        for text, name, spec, conversion in pieces:
            ready.append(text)
            if name is not None:
                value = values[name] if name in values else _PARSER.get_field(name, (), values)[0]
                ready.append(_formatted(value if conversion is None else _converted(value, conversion), spec))
        return "".join(ready)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError):
        return says


def many(count: int, what: str) -> str:
    """A number with its noun, as in `1 file` and `2 files`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def literal(text: str) -> str:
    """The format text of exactly this text: braces are escaped."""
    return text.replace("{", "{{").replace("}", "}}")


@lru_cache(1024)
def _parsed(says: str) -> tuple[tuple[str, str | None, str, str | None], ...]:
    """The pieces of a format text: the text before a name, the name, its format spec, and its conversion."""
    return tuple((text, name, spec or "", conversion) for text, name, spec, conversion in _PARSER.parse(says))


def _converted(value: Any, conversion: str) -> Any:
    if conversion == "r":
        return shown(value)
    if conversion == "n":
        return os.path.basename(value)  # noqa: PTH119 - text handling only
    if conversion == "a":
        return ascii(value)
    if conversion == "l":
        return f"line {value}" if isinstance(value, int) else value
    raise ValueError(conversion)


def _formatted(value: Any, spec: str) -> str:
    if not spec:
        if isinstance(value, float):
            return f"{value:.6g}"
        return " ".join([_formatted(part, "") for part in value]) if isinstance(value, (tuple, list)) else str(value)
    if isinstance(value, (tuple, list)):
        return _listed(value, spec)
    if spec == "more":
        spec = "0=| and # more"
    if "|" in spec:
        return _chosen(value, spec.split("|"))
    if isinstance(value, str):  # as `inf` and `nan` are in the values of findings
        return value
    if _WIDE.search(spec):
        raise ValueError(spec)
    return format(value, spec)


def _chosen(value: Any, texts: Sequence[str]) -> str:
    """One of several texts, by a value."""
    if isinstance(value, bool):
        return texts[0] if value else texts[1]
    for text in texts[:-1]:
        key, is_key, rest = text.partition("=")
        if not is_key:
            return f"{value} {text if value == 1 else texts[1]}"
        if key == str(value):
            return rest
    return texts[-1].replace("#", _formatted(value, ""))


def _listed(values: Sequence[Any], spec: str) -> str:
    if spec[:1] not in (",", ";"):
        return " ".join(_formatted(value, spec) for value in values)
    number, _, form = spec[1:].partition(":")
    most = int(number or len(values))
    texts = [_entry(value, form) for value in values[:most]]
    return f"{spec[0]} ".join(texts) + (f" and {len(values) - most} more" if len(values) > most else "")


def _entry(value: Any, form: str) -> str:
    return sentence(form, {str(place): part for place, part in enumerate(value)}) if form else _formatted(value, "")


def seen_from(value: Any, *folders: str) -> Any:
    """A path inside one of the folders (each with its final slash) relative to it, also in sequences; else `value`."""
    if isinstance(value, (list, tuple)):
        return tuple(seen_from(one, *folders) for one in value)
    if not isinstance(value, str):
        return value
    return next((value[len(one) :] for one in folders if len(one) > 1 and value.startswith(one)), value)


def shown(value: Any, most: int = SHOWN_CHARACTERS) -> str:
    """`repr(value)`, cut to `most` characters; no more of a large value is read than is shown.

    Args:
        value: from a file: text, numbers, dates, lists and mappings, nested and also recursive.
        most: largest number of characters, at least 4.
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
    """The pieces of `repr(value)`; of a string at most `most` characters."""
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
    """Text (not numbers) for a cell of a CSV file: an apostrophe before what a spreadsheet would take for a formula.

    As OWASP recommends: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    guarded = _INSIDE.sub(r"\1'", text)
    return f"'{guarded}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else guarded


class Held:
    """A mapping read from JSON, whose values are checked for their types."""

    def __init__(self, values: Any, what: str) -> None:
        """Hold the mapping; `what` names it in messages.

        Raises:
            ValueError: it is no mapping.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{what} is a mapping, not {type(values).__name__}")
        self._values, self._what = values, what

    def get(self, key: str, kind: type, default: Any = _REQUIRED) -> Any:
        """The value of a key; the default, if one is given, where it is absent or null.

        Raises:
            ValueError: there is no such key, or its value is not of type `kind`.
        """
        value = self._values.get(key)
        if value is None and default is not _REQUIRED:
            return default
        if key not in self._values:
            raise ValueError(f"{self._what} has no {key!r}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{self._what} has a {key!r} that is {type(value).__name__}, not {kind.__name__}")
        return value
