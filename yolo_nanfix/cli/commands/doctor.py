"""`yolo-nanfix doctor`: will training work on this machine, and what should be set?"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from yolo_nanfix.cli.output import Answer, console, waiting

if TYPE_CHECKING:
    from yolo_nanfix.environment import DoctorCheck

EXAMPLES = (
    ("will training work here?", "yolo-nanfix doctor"),
    ("only what is bad, in a script", "yolo-nanfix doctor --quiet || exit 1"),
)
MARKS = {"good": "[green]good[/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments besides the common options."""


def run(args: argparse.Namespace) -> Answer:
    """Run all checks; 1 if something will break training, else 0."""
    with waiting("looking at versions, devices and patches", args.quiet):
        from yolo_nanfix import api, environment

        with api.patched() as status:
            checks = list(environment.examine(status))
    healthy = not any(check.state == environment.BAD for check in checks)
    result = {"healthy": healthy, "checks": [check._asdict() for check in checks]}
    return Answer(0 if healthy else 1, result, partial(_print_checks, checks, args.quiet))


def _print_checks(checks: list[DoctorCheck], quiet: bool) -> None:
    """One line per check; if `quiet`, only those that are bad."""
    from rich.markup import escape

    page = console()
    bad = [check for check in checks if check.state == "bad"]
    for check in bad if quiet else checks:
        advice = f" -> {check.advice}" if check.advice else ""
        page.print(f"{MARKS[check.state]}  [bold]{escape(check.name)}[/]: {escape(check.detail + advice)}")
    if not quiet:
        page.print("Fix what is bad before you train." if bad else "Nothing found that breaks training.")
