"""`yolo-nanfix rule CODE`: what one rule of lint looks for, or a list of all."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial

from yolo_nanfix.cli.output import Answer, console
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import RuleText

FIELDS = ("code", "name", "severity", "effect", "title", "why", "upstream", "example", "fix", "tasks", "deep")
EXAMPLES = (
    ("what does BX004 mean?", "yolo-nanfix rule BX004"),
    ("all codes, one a line", "yolo-nanfix rule --all --quiet"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("name", nargs="?", metavar="RULE", help="a code such as BX004, or a name such as box-side-zero")
    parser.add_argument("--all", action="store_true", help="list all rules")


def run(args: argparse.Namespace) -> Answer:
    """The rule, or all of them.

    Raises:
        UsageError: there is no such rule, or neither or both of a name and `--all` are given.
    """
    from yolo_nanfix.api import rules

    if args.all == (args.name is not None):
        raise UsageError("say one rule, such as BX004, or --all")
    if args.all:
        return Answer(0, _all_as_json, partial(_list, rules(), args.quiet))
    found = find(args.name)
    return told(list(lines(found)), as_dict(found), args.quiet)


def told(pairs: Sequence[tuple[str, str]], values: dict[str, object], quiet: bool) -> Answer:
    """The answer about one rule or patch, from its pairs of a head and a text; if `quiet`, without the heads."""
    from yolo_nanfix.files import json_text

    return Answer(0, partial(json_text, values), partial(_show, pairs, quiet))


def _all_as_json() -> str:
    from yolo_nanfix.api import rules
    from yolo_nanfix.files import json_text

    return json_text([as_dict(rule) for rule in rules()])


def _list(rules: Sequence[RuleText], quiet: bool) -> None:
    """One line a rule; if `quiet`, its code alone."""
    for rule in rules:
        print(rule.code if quiet else f"{rule.code}  {rule.severity.value:<7}  {rule.name:<32}  {rule.title}")


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
    yield "fix", rule.fix
    if fix := fix_of(rule.code):
        option = " --unsafe-fixes" if fix[0] == "unsafe" else ""
        yield "fix", f"{fix[1]} ({fix[0]}; yolo-nanfix lint --fix{option})"
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


def _show(pairs: Sequence[tuple[str, str]], quiet: bool) -> None:
    """Print pairs of a head and a text; if `quiet`, only those without a head: name and title."""
    from rich.markup import escape

    page = console()
    for head, text in pairs:
        if not head:
            page.print(f"[bold]{escape(text)}[/]")
        elif not quiet:
            page.print(f"[bold]{head}[/]: {escape(text)}")
