"""`yolo-nanfix doctor`: will training work on this machine, and what should be set?"""

from __future__ import annotations

import argparse

MARKS = {"good": "[green]good[/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: argparse.Namespace) -> int:
    """Look at everything and answer 1 if something will break training, else 0."""
    import json

    from rich.console import Console
    from rich.markup import escape

    from yolo_nanfix import api, doctor

    with api.patched() as status:
        checks = list(doctor.examine(status))
    result = doctor.as_dict(checks)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for check in checks:
            advice = f" -> {check.advice}" if check.advice else ""
            console.print(f"{MARKS[check.state]}  [bold]{escape(check.name)}[/]: {escape(check.detail + advice)}")
        console.print(
            "Nothing found that breaks training." if result["healthy"] else "Mend what is bad before you train."
        )
    return 0 if result["healthy"] else 1
