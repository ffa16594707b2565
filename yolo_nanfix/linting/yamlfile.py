"""Reads a YAML file as plain data, and keeps what a plain load forgets: lines and duplicate keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.reader import Reader

from yolo_nanfix.errors import DataError


class DuplicateKey(NamedTuple):
    """A key that stands twice in one mapping; the later value wins. Lines are 1-based."""

    key: str
    first_line: int
    line: int


class YamlFile(NamedTuple):
    """A mapping read from `file`: its values, the 1-based line of each top-level key, and duplicate keys."""

    file: Path
    values: dict[str, Any]
    key_lines: dict[str, int]
    duplicates: tuple[DuplicateKey, ...]


class _Loader(yaml.SafeLoader):
    """A safe loader that notes keys that stand twice in one mapping."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[DuplicateKey] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            line = key.start_mark.line + 1
            first = seen.setdefault((key.tag, key.value), line)
            if first != line:
                self.duplicates.append(DuplicateKey(key.value, first, line))
        return super().construct_mapping(node, deep=deep)


def _load(file: Path, text: str) -> YamlFile:
    """Parse `text`; YAML and value errors propagate."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        values = None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        kind = "empty" if values is None else f"a {type(values).__name__}"
        raise DataError(f"{file} must be a mapping of keys such as train, val and names, but it is {kind}")
    lines = {str(k.value): k.start_mark.line + 1 for k, _ in node.value if isinstance(k, yaml.ScalarNode)}
    duplicates = tuple(sorted(set(loader.duplicates), key=lambda d: d.line))
    return YamlFile(file, {str(k): v for k, v in values.items()}, lines, duplicates)


def read_yaml(file: Path) -> YamlFile:
    """Read `file` by safe loading only; nothing in it is ever executed.

    As Ultralytics does, bytes that are not UTF-8 are left out, and unprintable characters are taken away if
    the text cannot be parsed with them.

    Raises:
        DataError: if the file cannot be read, is not YAML (with line and column), or is not a mapping.
    """
    try:
        text = file.read_bytes().decode("utf-8", errors="ignore")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        printable = Reader.NON_PRINTABLE.sub("", text.removeprefix("\ufeff"))
        return _load(file, printable)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise DataError(f"{file} is not valid YAML{where}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise DataError(f"{file} is not valid YAML: {error}") from error
