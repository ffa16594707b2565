"""Renumbers the classes of a set whose `names` have other keys than 0 to n - 1: in data.yaml and in the labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from yolo_nanfix.linting.autofix.row_edits import Left, Words


def renumber_row(words: Words, values: Mapping[str, Any]) -> Words:
    """The row with the place of its class number among the keys; as it is where labels are numbered from 0 already.

    Raises:
        Left: its class is none of the keys.
    """
    if not values["by_keys"]:
        return words
    try:
        number = float(words[0])
    except ValueError:
        return words
    if not isfinite(number):
        return words
    if number not in values["numbers"]:
        raise Left(f"has the class {number:g}, which is none of the keys of 'names'")
    return [str(values["numbers"].index(int(number))), *words[1:]]


def renumber_names(text: str, *, values: Mapping[str, Any]) -> str:
    """The text of data.yaml with the keys of `names` numbered from 0; names that stand as keys change places with them.

    Raises:
        Left: the names are not written where they are used, or not so that this can be done.
    """
    from yolo_nanfix import safe_yaml

    edits = sorted(_edits(safe_yaml.compose(text), text, values))
    for start, end, new in reversed(edits):
        text = f"{text[:start]}{new}{text[end:]}"
    try:
        names = safe_yaml.load_yaml(text)["names"]
    except safe_yaml.NotYaml as error:
        raise Left(f"would be no valid YAML with other keys in 'names' ({error})") from None
    if sorted(names) != list(range(len(values["numbers"]))):
        raise Left("has 'names' whose keys cannot be numbered anew")
    return text


def _edits(root: Any, text: str, values: Mapping[str, Any]) -> Iterator[tuple[int, int, str]]:
    """Start, end and new text of each key of `names`, and of each value that changes places with it."""
    import yaml

    names = next((value for key, value in root.value if key.value == "names"), None)
    if not isinstance(names, yaml.MappingNode):
        raise Left("has no mapping 'names'")
    for key, value in names.value:
        spans = [(node.start_mark.index, node.end_mark.index) for node in (key, value)]
        written = [text[start:end] for start, end in spans]
        number = value.value if values["swapped"] else key.value
        try:
            place = values["numbers"].index(int(number))
        except ValueError:
            raise Left(f"has the key {number!r} in 'names', which is no number") from None
        yield *spans[0], str(place)
        if values["swapped"]:
            yield *spans[1], written[0]
