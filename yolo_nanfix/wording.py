"""Sentences from facts: a text with names in braces, and the values of these names. No code reads one back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from yolo_nanfix.shown import shown


class _Form(Formatter):
    """How values stand in sentences; see `sentence`."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs[str(key)]

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion == "r":
            return shown(value)
        if conversion == "l":
            return value if isinstance(value, str) else f"line {value}"
        if conversion == "n":
            return os.path.basename(value)  # noqa: PTH119 - text handling only
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if "|" in format_spec:
            one, _, many = format_spec.partition("|")
            return f"{value} {one if value == 1 else many}"
        if format_spec == "more":
            return f" and {value} more" if value else ""
        if isinstance(value, (tuple, list)):
            return self._listed(value, format_spec)
        if isinstance(value, float) and not format_spec:
            return f"{value:.6g}"
        return str(super().format_field(value, format_spec))

    def _listed(self, values: Sequence[Any], spec: str) -> str:
        if not spec.startswith(","):
            return " ".join(self.format_field(value, spec) for value in values)
        most = int(spec[1:] or len(values))
        texts = [self.format_field(value, "") for value in values[:most]]
        return ", ".join(texts) + (f" and {len(values) - most} more" if len(values) > most else "")


_FORM = _Form()


def sentence(says: str, values: Mapping[str, Any]) -> str:
    """A text in which the names in braces are replaced by their values; `{{` is a brace.

    `{x}` is text as it is, a float with six digits, a sequence with spaces between; `{x:.0f}` as in `str.format`;
    `{x:row|rows}` a number with its noun; `{x:,}` a sequence with commas between, `{x:,4}` the first four of it and how
    many more there are; `{x:more}` that many more, nothing for 0; `{x!r}` a value of a file, quoted and cut; `{x!n}`
    the last part of a path; `{x!l}` another row: `line 3`, or by the name that it has in a file of annotations.

    What does not fit its values, which only text of other versions does, is returned as it is.
    """
    try:
        return _FORM.vformat(says, (), values)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError):
        return says


def literal(text: str) -> str:
    """The form that says exactly this text."""
    return text.replace("{", "{{").replace("}", "}}")
