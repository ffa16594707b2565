"""`yolo-nanfix rule CODE`: what one rule of lint looks for, or a list of all."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import RuleText

FIELDS = ("code", "name", "severity", "effect", "title", "why", "upstream", "example", "mend", "tasks", "deep")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("name", nargs="?", metavar="RULE", help="a code such as BX004, or a name such as box-side-zero")
    parser.add_argument("--all", action="store_true", help="list all rules")
    parser.add_argument("--json", action="store_true", help="as JSON: an object, or with --all a list of them")


def run(args: argparse.Namespace) -> int:
    """Print the rule, or all of them.

    Raises:
        UsageError: there is no such rule, or neither or both of a name and `--all` are given.
    """
    from yolo_nanfix.api import rules

    if args.all == (args.name is not None):
        raise UsageError("say one rule, such as BX004, or --all")
    found = rules() if args.all else (find(args.name),)
    if args.json:
        told = [as_dict(rule) for rule in found]
        print(json.dumps(told if args.all else told[0], indent=2))
    elif args.all:
        for rule in found:
            print(f"{rule.code}  {rule.severity.value:<7}  {rule.name:<32}  {rule.title}")
    else:
        show(lines(found[0]))
    return 0


def find(name: str) -> RuleText:
    """The rule of a code or name, in small or capital letters.

    Raises:
        UsageError: there is none, with the nearest.
    """
    if rule := known().get(name.lower()):
        return rule
    raise UsageError(f"no lint rule named '{name}'; {hint(name)}")


def known() -> dict[str, RuleText]:
    """Every rule by its code and by its name, in small letters."""
    from yolo_nanfix.api import rules

    return {key: rule for rule in rules() for key in (rule.code.lower(), rule.name)}


def hint(name: str) -> str:
    """The nearest rule, or how to find one."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), known(), 1)
    return f"did you mean '{known()[near[0]].code}'?" if near else "'yolo-nanfix rule --all' lists them"


def lines(rule: RuleText) -> Iterator[tuple[str, str]]:
    """What is known of a rule, as pairs of a head and a text."""
    from yolo_nanfix.api import fix_of

    yield "", f"{rule.code} {rule.name}"
    yield "", rule.title
    yield "severity", rule.severity.value
    yield "why", rule.why
    yield "Ultralytics", f"{rule.effect.value}. {rule.upstream}"
    yield "example", rule.example
    yield "mend", rule.mend
    if fix := fix_of(rule.code):
        yield "fix", f"{fix[1]} ({fix[0]}; yolo-nanfix lint {'--unsafe-fixes' if fix[0] == 'unsafe' else '--fix'})"
    yield "asked for", ", ".join(rule.tasks) + (", with --deep only" if rule.deep else "")


def as_dict(rule: RuleText) -> dict[str, object]:
    """The rule as JSON-ready values."""
    from yolo_nanfix.api import fix_of

    values = {name: getattr(rule, name) for name in FIELDS}
    return values | {
        "severity": rule.severity.value,
        "effect": rule.effect.value,
        "tasks": list(rule.tasks),
        "fix": fix_of(rule.code),
    }


def show(pairs: Iterator[tuple[str, str]]) -> None:
    """Print pairs of a head and a text."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    for head, text in pairs:
        console.print(f"[bold]{head}[/]: {escape(text)}" if head else f"[bold]{escape(text)}[/]")
