"""How command lines are declared: help that fits 80 columns, examples, errors as one line."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import NoReturn

from yolo_nanfix.errors import UsageError


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
        raise UsageError(message)


def epilog(notes: str, examples: tuple[tuple[str, str], ...]) -> str:
    """The end of a command's help: what else there is to know, and examples, each a comment and a line."""
    shown = "\n".join(f"  # {what}\n  {line}" for what, line in examples)
    return "\n\n".join(part for part in (notes, f"examples:\n{shown}" if shown else "") if part)
