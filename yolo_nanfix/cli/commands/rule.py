"""`yolo-nanfix rule CODE`: what one rule of lint looks for, or a list of all."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from yolo_nanfix import api
from yolo_nanfix.cli.output import Answer, console
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import RuleText

FIELDS = ("code", "name", "severity", "effect", "title", "why", "upstream", "example", "fix", "tasks", "deep")
EXAMPLES = (
    ("what does BX004 mean?", "yolo-nanfix rule BX004"),
    ("all codes, one a line", "yolo-nanfix rule --all --quiet"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="RULE", help="a code such as BX004, or a name such as box-side-zero")
    parser.add_argument("--all", action="store_true", help="list all rules")


def run(args: argparse.Namespace) -> Answer:
    """Print the rule, or all rules."""
    if args.all == (args.name is not None):
        raise UsageError("say one rule, such as BX004, or --all")
    if args.all:
        return Answer(0, [as_dict(rule) for rule in api.rules()], partial(_list, api.rules(), args.quiet))
    found = api.rule(args.name)
    return described(lines(found), as_dict(found), args.quiet)


def described(pairs: Iterable[tuple[str, str]], values: dict[str, object], quiet: bool) -> Answer:
    """The answer for one rule or patch, from pairs of heading and text; if `quiet`, only texts without a heading."""
    return Answer(0, values, partial(_print_pairs, list(pairs), quiet))


def _list(rules: Sequence[RuleText], quiet: bool) -> None:
    """Print one line per rule; if `quiet`, its code only."""
    for rule in rules:
        print(rule.code if quiet else f"{rule.code}  {rule.severity.value:<7}  {rule.name:<32}  {rule.title}")


def lines(rule: RuleText) -> Iterator[tuple[str, str]]:
    """The documentation of a rule, as pairs of heading and text."""
    yield "", f"{rule.code} {rule.name}"
    yield "", rule.title
    yield "severity", rule.severity.value
    yield "why", rule.why
    yield "Ultralytics", f"{rule.effect.value}. {rule.upstream}"
    yield "example", rule.example
    yield "fix", rule.fix
    if autofix := api.fix_of(rule.code):
        yield "autofix", f"{autofix.text} ({autofix.safety.value}; yolo-nanfix lint {autofix.safety.option})"
    yield "asked for", ", ".join(rule.tasks) + (", with --deep only" if rule.deep else "")


def as_dict(rule: RuleText) -> dict[str, object]:
    """The rule as JSON-ready values."""
    values, autofix = {name: getattr(rule, name) for name in FIELDS}, api.fix_of(rule.code)
    return values | {
        "severity": rule.severity.value,
        "effect": rule.effect.value,
        "tasks": list(rule.tasks),
        "autofix": (autofix.safety.value, autofix.text) if autofix else None,
    }


def _print_pairs(pairs: Sequence[tuple[str, str]], quiet: bool) -> None:
    """Print pairs of heading and text; if `quiet`, only those without a heading: name and title."""
    from rich.markup import escape

    page = console()
    for head, text in pairs:
        if not head:
            page.print(f"[bold]{escape(text)}[/]")
        elif not quiet:
            page.print(f"[bold]{head}[/]: {escape(text)}")
