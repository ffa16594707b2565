"""Sentences from facts: a text with names in braces, and the values of these names. No code reads one back."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Any

from yolo_nanfix.shown import shown

_PARSER = Formatter()
_WIDE = re.compile(r"\d{3}")
"""In how a number is written: forms are read back from files of anybody's, who could ask for endless padding."""


def sentence(says: str, values: Mapping[str, Any]) -> str:
    """A text in which the names in braces are replaced by their values; `{{` is a brace.

    - `{x}`: text as it is, a float with six digits, a sequence with spaces between; `{x:.0f}` as in `str.format`;
    - `{x[0]}`: an entry of a sequence;
    - `{x:,}`: a sequence with commas between (`{x:;}`: semicolons); `{x:,4}`: the first four of it, and how many more
      there are; `{x:,4:{0} is {1!r}}`: the form for each of its entries, which are tuples;
    - `{x:row|rows}`: a number with its noun;
    - `{x:more}`: that many more, nothing for 0;
    - `{x:yes|no}`: of a bool the first text or the second;
    - `{x:0=none|1=one of them|# of them}`: the text of this value, or else the last one, in which `#` is the value;
    - `{x!r}`: a value out of a file, quoted and cut; `{x!a}`: in ASCII; `{x!n}`: the last part of a
      path; `{x!l}`: a line, by its number or by the name that it has in an annotation file.

    What does not fit its values, which only text of other versions does, is returned as it is.
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


def literal(text: str) -> str:
    """The form that says exactly this text."""
    return text.replace("{", "{{").replace("}", "}}")


@lru_cache(1024)
def _parsed(says: str) -> tuple[tuple[str, str | None, str, str | None], ...]:
    """The pieces of a form: the text before a name, the name, how its value is written, and its conversion."""
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
    return (
        value if isinstance(value, str) else format(value, spec)
    )  # `inf` and `nan` are text in the values of findings


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
    """A value, where it is a path inside one of some folders (each with its final slash) from there on."""
    if isinstance(value, (list, tuple)):
        return tuple(seen_from(one, *folders) for one in value)
    if not isinstance(value, str):
        return value
    return next((value[len(one) :] for one in folders if len(one) > 1 and value.startswith(one)), value)
