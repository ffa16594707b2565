"""`yolo-nanfix explain NAME`: the documentation of a patch or a lint rule."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from yolo_nanfix import api
from yolo_nanfix.cli.commands import rule
from yolo_nanfix.cli.output import Answer
from yolo_nanfix.errors import UsageError, close, nearest

if TYPE_CHECKING:
    from yolo_nanfix.api import Card

EXAMPLES = (
    ("a patch", "yolo-nanfix explain rect-validation"),
    ("a rule of lint", "yolo-nanfix explain BX004"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a patch, such as rect-validation, or a code of lint, such as BX004")


def run(args: argparse.Namespace) -> Answer:
    """Print what it is, why it exists and what it changes."""
    cards = api.cards()
    if card := cards.get(args.name):
        values = {name: value for name, value in card.as_dict().items() if name != "fingerprints"}
        return rule.described(_card(card), values, args.quiet)
    rules = {key: one for one in api.rules() for key in (one.code.lower(), one.name)}
    if found := rules.get(args.name.lower()):
        return rule.described(rule.lines(found), rule.as_dict(found), args.quiet)
    near = close(args.name, [*cards, *rules])
    hint = f"did you mean '{near}'?" if near else nearest(args.name, cards)
    raise UsageError(f"no patch and no lint rule named '{args.name}'; {hint}")


def _card(card: Card) -> Iterator[tuple[str, str]]:
    yield "", card.name
    yield "wraps", ", ".join(card.targets)
    spans = [f"{s.introduced} {f'up to, not including, {s.fixed}' if s.fixed else 'on'}" for s in card.affected]
    yield "releases with the defect", ", ".join(spans)
    for field in ("default", "symptom", "cause", "does", "leaves", "measured"):
        yield field, getattr(card, field)
    for name, param in card.params.items():
        choices = f" (one of {', '.join(map(str, param.choices))})" if param.choices else ""
        yield f"parameter {name}", f"default {param.default}{choices}; {param.help}"
    for reference in card.references:
        yield "see", reference
