"""How command lines are declared: help that fits 80 columns, examples, errors as one line."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from yolo_nanfix.errors import UsageError
from yolo_nanfix.shown import cut

LONGEST = 2000
"""Characters of an error at most: words may be as long as a command line."""
_Commands = argparse._SubParsersAction


class Help(argparse.HelpFormatter):
    """Help with paragraphs; those of several lines stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        whole = [part if "\n" in part else textwrap.fill(part, width) for part in text.split("\n\n")]
        return "\n\n".join(whole)


class Parser(argparse.ArgumentParser):
    """A parser that raises what is wrong, so that all errors of a command line are told in one way."""

    def error(self, message: str) -> NoReturn:
        """Show the usage and raise.

        Raises:
            UsageError: always.
        """
        self.print_usage(sys.stderr)
        raise UsageError(cut(message, LONGEST))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of the choices, and name the nearest; argparse lists them all and none in particular."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(action, f"'{value}' is unknown; {nearest(str(value), choices)}")

    def hint(self, word: str, command: str | None) -> str:
        """The option nearest to one that is unknown, in the words of a question; empty if none is near."""
        parsers = [
            self,
            *(p for a in self._actions if isinstance(a, _Commands) for n, p in a.choices.items() if n == command),
        ]
        options = [option for parser in parsers for option in parser._option_string_actions]
        near = close(word.partition("=")[0], options)
        return f"; did you mean {near}?" if near else ""


def nearest(word: str, choices: Sequence[str]) -> str:
    """A question for the nearest of some words, or the list of all if none is near."""
    near = close(word, choices)
    return f"did you mean '{near}'?" if near else f"it is one of {', '.join(choices)}"


def close(word: str, choices: Iterable[str]) -> str | None:
    """The nearest of some words, whatever the case of letters and the order of parts; None if none is near."""
    from difflib import SequenceMatcher  # for mistakes alone

    word = word[:LONGEST]

    def likeness(choice: str) -> float:
        pairs = ((word.lower(), choice.lower()), (_sorted_parts(word), _sorted_parts(choice)))
        return max(SequenceMatcher(None, *pair).ratio() for pair in pairs)

    best = max(((likeness(choice), choice) for choice in choices), key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= 0.6 else None


def _sorted_parts(word: str) -> str:
    return "-".join(sorted(filter(None, word.lower().split("-"))))


def epilog(notes: str, examples: tuple[tuple[str, str], ...]) -> str:
    """The end of a command's help: what else there is to know, and examples, each a comment and a line."""
    shown = "\n".join(f"  # {what}\n  {line}" for what, line in examples)
    return "\n\n".join(part for part in (notes, f"examples:\n{shown}" if shown else "") if part)
