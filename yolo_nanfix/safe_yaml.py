"""Loads untrusted YAML as plain data, within bounds: 300 bytes of nested aliases can expand to gigabytes.

Nothing in a text is executed. Expanded aliases are counted while the text is parsed, before values are made: the cost
to compare, copy and write what is loaded is bounded by `VALUES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

LARGEST_TEXT = 16 << 20
"""Largest file in bytes, and largest text in characters."""
VALUES = 500_000
"""Most values in a text, with aliases expanded; a long string counts as several."""
CHARACTERS_A_VALUE = 100
"""Each further 100 characters of a string count as another value."""
DEPTH = 100
"""Deepest nesting of lists and mappings."""
DIGITS = 100
"""Longest integer, in characters."""
KEY_DIGITS = 18
"""Longest integer as a key: mappings with crafted larger keys take hours."""
MERGE = 500
"""The count of a merge key (`<<`): each is removed from its mapping, which moves all other keys."""
SAID = 300
"""Longest message of a parser, in characters."""
_INT = "tag:yaml.org,2002:int"
_PARSED_AGAIN = 1 << 18
"""Up to this many characters, a text with an error is parsed again in Python: the C parser gives a shorter message."""


class NotYaml(ValueError):  # noqa: N818 - what the text is
    """A text that is not valid YAML, or beyond the bounds.

    Attributes:
        problem: what is wrong.
        line, column: where, 1-based; None if unknown.
    """

    def __init__(self, problem: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(f"line {line}, column {column}: {problem}" if line else problem)
        self.problem, self.line, self.column = problem, line, column


class TooMuch(NotYaml):
    """A text that is larger, deeper or stands for more values than the bounds allow."""


class Repeated(NamedTuple):
    """A duplicate key of a mapping, whose later value wins. Lines are 1-based."""

    key: str
    first_line: int
    line: int


class Document(NamedTuple):
    """A parsed text: its value, its root node (None of an empty text), and duplicate keys."""

    value: Any
    node: yaml.Node | None
    repeated: tuple[Repeated, ...]


def load_yaml(text: str) -> Any:
    """The value of a text: mappings, lists, strings, numbers, dates, bytes and None.

    Raises:
        NotYaml: it is not YAML, or is beyond the bounds (`TooMuch`).
    """
    return parse(text).value


def parse(text: str) -> Document:
    """The value of a text, with its nodes and duplicate keys.

    Raises:
        NotYaml: it is not YAML, or is beyond the bounds (`TooMuch`).
    """
    return _by_a_loader(text, values=True)


def compose(text: str) -> yaml.Node | None:
    """The root node of a text, without making values; None of an empty text.

    Raises:
        NotYaml: it is not YAML, or is beyond the bounds (`TooMuch`).
    """
    return _by_a_loader(text, values=False).node


def _by_a_loader(text: str, *, values: bool) -> Document:
    if len(text) > LARGEST_TEXT:
        raise TooMuch(f"more than {LARGEST_TEXT >> 20} MB of text")
    first, *others = _LOADERS
    try:
        return _parsed_by(text, first, values=values)
    except TooMuch:
        raise
    except NotYaml:
        if not others or len(text) > _PARSED_AGAIN:
            raise
    return _parsed_by(text, others[0], values=values)


class _Bounded(Composer, SafeConstructor):
    """Composes nodes and constructs values within the bounds."""

    def start(self) -> None:
        """Initialise both base classes and the counts."""
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        self.values = self.depth = 0
        self.stand_for: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; an alias counts as all values that it expands to."""
        event, before = self.peek_event(), self.values  # type: ignore[attr-defined]
        self.values += self._worth(event)
        self.depth += 1
        if self.depth > DEPTH:
            raise _too_much(f"more than {DEPTH} lists and mappings within each other", event)
        if self.values > VALUES:
            raise _too_much(f"more than {VALUES} values, aliases (*name) counted as what they stand for", event)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        if event.anchor is not None and type(event) is not yaml.AliasEvent:
            self.stand_for[event.anchor] = self.values - before
        if index is None and type(parent) is yaml.MappingNode and type(node) is yaml.ScalarNode:
            self._check_key(node)
        return node

    def _worth(self, event: Any) -> int:
        """How many values an event counts as."""
        if type(event) is yaml.ScalarEvent:
            return MERGE if event.value == "<<" else 1 + len(event.value) // CHARACTERS_A_VALUE
        if type(event) is yaml.AliasEvent and event.anchor and event.anchor in self.anchors:
            if event.anchor not in self.stand_for:
                raise _too_much(f"the alias *{event.anchor[:40]} stands inside of what it stands for", event)
            return self.stand_for[event.anchor]
        return 1

    def _check_key(self, node: yaml.ScalarNode) -> None:
        if len(node.value) > KEY_DIGITS and node.tag == _INT:
            raise _too_much(f"a key of {len(node.value)} digits", node)

    def whole(self, node: yaml.ScalarNode) -> int:
        """An integer of bounded size: arithmetic with larger ones is slow, or raises."""
        if len(node.value) > DIGITS:
            raise _too_much(f"a number of {len(node.value)} digits", node)
        return int(self.construct_yaml_int(node))


_Bounded.add_constructor(_INT, _Bounded.whole)  # type: ignore[type-var]


class _InPython(_Bounded, Reader, Scanner, Parser, Resolver):
    """With PyYAML's parser in Python."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Resolver.__init__(self)
        self.start()


_LOADERS: tuple[Any, ...] = (_InPython,)
if yaml.__with_libyaml__:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _InC(_Bounded, CParser, Resolver):
        """With PyYAML's parser in C, which takes a sixth of the time."""

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Resolver.__init__(self)
            self.start()

    _LOADERS = (_InC, _InPython)


def _parsed_by(text: str, loader: Any, *, values: bool = True) -> Document:
    """Parse a text with one of the loaders."""
    try:
        reading = loader(text)
        try:
            node = reading.get_single_node()
            repeated = tuple(sorted(set(_repeated(node)), key=lambda key: key.line))
            value = None if node is None or not values else reading.construct_document(node)
        finally:
            reading.dispose()
    except NotYaml:
        raise
    except yaml.MarkedYAMLError as error:
        problem, mark = error.problem or error.context or "", error.problem_mark
        raise NotYaml(problem, *((mark.line + 1, mark.column + 1) if mark else ())) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise NotYaml(" ".join(str(error).split())[:SAID]) from error
    return Document(value, node, repeated)


def _repeated(node: yaml.Node | None) -> Iterator[Repeated]:
    """The duplicate keys of all mappings."""
    met: set[int] = set()
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if not isinstance(here, yaml.CollectionNode) or id(here) in met:
            continue
        met.add(id(here))
        if not isinstance(here, yaml.MappingNode):
            waiting += here.value
            continue
        first: dict[tuple[str, str], int] = {}
        for key, value in here.value:
            waiting += (key, value)
            if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge"):
                line = key.start_mark.line + 1
                if first.setdefault((key.tag, key.value), line) != line:
                    yield Repeated(key.value, first[key.tag, key.value], line)


def _too_much(problem: str, where: Any) -> TooMuch:
    mark = where.start_mark
    return TooMuch(problem, mark.line + 1, mark.column + 1)
