"""`yolo-nanfix patches`: every card, and what becomes of it on the installed release."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from yolo_nanfix.api import Status

COLOURS = {"on": "green", "refused": "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--json", action="store_true", help="print the whole state as JSON")


def run(args: argparse.Namespace) -> int:
    """Put the default set, say what became of it, take it back; 1 if a patch or the guard was refused."""
    import json

    from rich.console import Console

    from yolo_nanfix import api

    with api.patched() as status:
        if args.json:
            print(json.dumps(status.as_dict(), indent=2))
        else:
            _table(status, Console())
    refused = [p.name for p in status.patches if p.state == "refused"]
    return 1 if refused or status.guard_refused else 0


def _table(status: Status, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from yolo_nanfix.cards import load_all

    table = Table(box=None, pad_edge=False, title=f"Patches on ultralytics {status.ultralytics}", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("target", overflow="fold")
    table.add_column("here", no_wrap=True)
    table.add_column("why", overflow="fold")
    for patch in status.patches:
        targets = "\n".join(target.partition(":")[2] for target in load_all()[patch.name].targets)
        colour = COLOURS.get(patch.state, "dim")
        params = ", ".join(f"{name}={value}" for name, value in patch.params.items())
        why = "; ".join(part for part in (params, patch.reason) if part)
        table.add_row(patch.name, targets, f"[{colour}]{patch.state}[/]", escape(why))
    console.print(table)
    guard = f"on: {status.guard}" if status.guard else f"refused: {status.guard_refused}"
    console.print(f"\nguard {guard}", highlight=False)
    console.print("More on one of them: yolo-nanfix explain NAME", highlight=False)
