"""`yolo-nanfix explain NAME`: all that is known of a patch or a lint rule."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from yolo_nanfix.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yolo_nanfix.cards import Card


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("name", help="a patch, such as rect-validation, or a code of lint, such as BX004")


def run(args: argparse.Namespace) -> int:
    """Print what it is, why it is there and what it changes.

    Raises:
        UsageError: there is no patch and no rule of that name.
    """
    from rich.console import Console
    from rich.markup import escape

    from yolo_nanfix.api import rules
    from yolo_nanfix.cards import load_all

    console = Console(highlight=False, soft_wrap=True)
    cards, codes = load_all(), {rule.code: rule for rule in rules()}
    if card := cards.get(args.name):
        lines = list(_card(card))
    elif rule := codes.get(args.name.upper()):
        lines = [("", f"{rule.code} {rule.name}"), ("severity", rule.severity.value)]
        lines += [("Ultralytics", rule.effect.value), ("", rule.title)]
    else:
        raise UsageError(f"no patch and no lint rule named '{args.name}'; {nearest(args.name, cards)}")
    for head, text in lines:
        console.print(f"[bold]{head}[/]: {escape(text)}" if head else f"[bold]{escape(text)}[/]")
    return 0


def _card(card: Card) -> Iterator[tuple[str, str]]:
    yield "", card.name
    yield "wraps", ", ".join(card.targets)
    spans = (
        f"{s.introduced} up to, not including, {s.fixed}" if s.fixed else f"{s.introduced} on" for s in card.affected
    )
    yield "releases with the defect", ", ".join(spans)
    yield "default", card.default
    yield "symptom", card.symptom
    yield "cause", card.cause
    yield "cures", card.cures
    yield "does not cure", card.cures_not
    yield "measured", card.measured
    for name, param in card.params.items():
        choices = f" (one of {', '.join(map(str, param.choices))})" if param.choices else ""
        yield f"parameter {name}", f"default {param.default}{choices}; {param.help}"
    for reference in card.references:
        yield "see", reference
