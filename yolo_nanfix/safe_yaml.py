"""YAML as plain data, within bounds: files come from anybody, and 300 bytes of aliases can stand for gigabytes.

Nothing in a text is ever executed. What aliases stand for is counted while the text is parsed, before anything is made
of it; whatever is loaded here can be compared, copied and written out at a cost that is bounded by `VALUES`.
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
"""Bytes of a file, or characters of a text, at most."""
VALUES = 500_000
"""Values in a text at most, aliases counted as what they stand for; a long text counts as several."""
CHARACTERS_A_VALUE = 100
"""Of a text; each further so many count as one value more."""
DEPTH = 100
"""Lists and mappings within each other at most."""
DIGITS = 100
"""Characters of a whole number at most."""
KEY_DIGITS = 18
"""The same of one that is a key: mappings whose keys are larger numbers can be made to take hours."""
MERGE = 500
"""What a merge key (`<<`) counts as: each is taken out of its mapping, which moves all the others."""
SAID = 300
"""Characters of what a parser says at most."""
_INT = "tag:yaml.org,2002:int"
_TOLD_AGAIN = 1 << 18
"""Up to so many characters the parser in Python is asked what is wrong: the one in C says less, in less time."""


class NotYaml(ValueError):  # noqa: N818 - what the text is
    """A text that is not taken for YAML.

    Attributes:
        problem: what is wrong.
        line, column: where, from 1; None where that is not known.
    """

    def __init__(self, problem: str, line: int | None = None, column: int | None = None) -> None:
        """Make the message of all three."""
        super().__init__(f"line {line}, column {column}: {problem}" if line else problem)
        self.problem, self.line, self.column = problem, line, column


class TooMuch(NotYaml):
    """A text that is larger, deeper or stands for more values than the bounds allow."""


class Repeated(NamedTuple):
    """A key that stands twice in one mapping; the later value wins. Lines are 1-based."""

    key: str
    first_line: int
    line: int


class Document(NamedTuple):
    """What a text holds: the value, the nodes that it is made of (None of an empty text), and keys that stand twice."""

    value: Any
    node: yaml.Node | None
    repeated: tuple[Repeated, ...]


def load_yaml(text: str) -> Any:
    """The value that a text holds: of mappings, lists, text, numbers, dates, bytes and None.

    Raises:
        NotYaml: it holds none, or is beyond the bounds (`TooMuch`).
    """
    return parse(text).value


def parse(text: str) -> Document:
    """The value that a text holds, and how it is written.

    Raises:
        NotYaml: it holds none, or is beyond the bounds (`TooMuch`).
    """
    return _by_a_loader(text, values=True)


def compose(text: str) -> yaml.Node | None:
    """The nodes of a text, without making values of them; None of an empty one.

    Raises:
        NotYaml: it is no YAML, or is beyond the bounds (`TooMuch`).
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
        if not others or len(text) > _TOLD_AGAIN:
            raise
    return _parsed_by(text, others[0], values=values)


class _Bounded(Composer, SafeConstructor):
    """Composes nodes, and makes values of them, within the bounds."""

    def start(self) -> None:
        """Nothing is counted yet."""
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        self.values = self.depth = 0
        self.stand_for: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; what stands behind an alias is counted once more."""
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
        """A whole number of a sane size: what is done with larger ones takes for ever, or raises."""
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
    """What a text holds, by one of the loaders; without values, if not asked for."""
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
    """The keys that stand twice in one mapping."""
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
