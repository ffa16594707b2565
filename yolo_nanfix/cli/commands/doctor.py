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
    """Declare the command line: it has the common options only."""


def run(args: argparse.Namespace) -> Answer:
    """Look at everything; 1 if something will break training, else 0."""
    with waiting("looking at versions, devices and patches", args.quiet):
        from yolo_nanfix import api, environment

        with api.patched() as status:
            checks = list(environment.examine(status))
    result = environment.as_dict(checks)
    code = 0 if result["healthy"] else 1
    return Answer(code, result, partial(_show, checks, args.quiet))


def _show(checks: list[DoctorCheck], quiet: bool) -> None:
    """One line a check; if `quiet`, only what is bad."""
    from rich.markup import escape

    page = console()
    bad = [check for check in checks if check.state == "bad"]
    for check in bad if quiet else checks:
        advice = f" -> {check.advice}" if check.advice else ""
        page.print(f"{MARKS[check.state]}  [bold]{escape(check.name)}[/]: {escape(check.detail + advice)}")
    if not quiet:
        page.print("Fix what is bad before you train." if bad else "Nothing found that breaks training.")
