"""Reads a YAML file as plain data, and keeps what a plain load forgets: lines and duplicate keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.reader import Reader

from yolo_nanfix.dataset import bounded
from yolo_nanfix.errors import DataError
from yolo_nanfix.safe_yaml import LARGEST_TEXT, NotYaml, Repeated, TooMuch, parse


class YamlFile(NamedTuple):
    """A mapping read from `file`: its values, the 1-based line of each top-level key, and duplicate keys."""

    file: Path
    values: dict[str, Any]
    key_lines: dict[str, int]
    duplicates: tuple[Repeated, ...]


def _load(file: Path, text: str) -> YamlFile:
    """Parse `text`; errors of YAML propagate."""
    values, node, duplicates = parse(text)
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        kind = "empty" if values is None else f"a {type(values).__name__}"
        raise DataError(f"{file} must be a mapping of keys such as train, val and names, but it is {kind}")
    lines = {str(k.value): k.start_mark.line + 1 for k, _ in node.value if isinstance(k, yaml.ScalarNode)}
    return YamlFile(file, {str(k): v for k, v in values.items()}, lines, duplicates)


def read_yaml(file: Path) -> YamlFile:
    """Read `file` by safe loading only; nothing in it is ever executed.

    As Ultralytics does, bytes that are not UTF-8 are left out, and unprintable characters are taken away if
    the text cannot be parsed with them.

    Raises:
        DataError: if the file cannot be read, is not YAML (with line and column), holds more than `safe_yaml` reads, or
            is not a mapping.
    """
    try:
        data = bounded.read(file, LARGEST_TEXT)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        printable = Reader.NON_PRINTABLE.sub("", data.decode("utf-8", errors="ignore").removeprefix("\ufeff"))
        return _load(file, printable)
    except NotYaml as error:
        where = f", line {error.line}, column {error.column}" if error.line else ""
        what = "holds too much to be read" if isinstance(error, TooMuch) else "is not valid YAML"
        raise DataError(f"{file} {what}{where}: {error.problem}") from error
