"""`yolo-nanfix patches`: every patch, and its state on the installed release."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from yolo_nanfix import api
from yolo_nanfix.cli.output import Answer, console, waiting

if TYPE_CHECKING:
    from yolo_nanfix.api import Status

EXAMPLES = (
    ("what is on, off or refused here", "yolo-nanfix patches"),
    ("the names of those that are on", "yolo-nanfix patches --quiet"),
)
COLOURS = {"on": "green", "refused": "red", "replaced": "red", "partly-on": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments besides the common options."""


def run(args: argparse.Namespace) -> Answer:
    """Apply the default set, report it, and undo it; 1 if a patch or the guard was refused."""
    with waiting("trying the patches", args.quiet), api.patched() as status:
        values = status.as_dict()
    refused = [p.name for p in status.patches if p.state == "refused"]
    show = partial(_print_names if args.quiet else _print_table, status)
    return Answer(1 if refused or status.guard_refused else 0, values, show)


def _print_names(status: Status) -> None:
    for patch in status.patches:
        if patch.state == "on":
            print(patch.name)


def _print_table(status: Status) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=f"Patches on ultralytics {status.ultralytics}", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("target", overflow="fold")
    table.add_column("here", no_wrap=True)
    table.add_column("why", overflow="fold")
    for patch in status.patches:
        targets = "\n".join(target.partition(":")[2] for target in api.cards()[patch.name].targets)
        colour = COLOURS.get(patch.state, "dim")
        params = ", ".join(f"{name}={value}" for name, value in patch.params.items())
        why = "; ".join(part for part in (params, patch.reason) if part)
        table.add_row(patch.name, targets, f"[{colour}]{patch.state}[/]", escape(why))
    Console().print(table)
    off = f"refused: {status.guard_refused}" if status.guard_refused else f"off: {status.guard_off}"
    page = console()
    page.print(f"\nguard {escape(f'on: {status.guard}' if status.guard else off)}")
    for line in status.settings.lines():
        page.print(escape(line))
    page.print("More on one of them: yolo-nanfix explain NAME")
