"""The summary of a training run, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN = 8


def render(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `yolo-nanfix.json` holds: patches, quarantine, dropped micro-batches, metrics, paths."""
    console = console or Console(soft_wrap=True)
    console.print()
    console.rule("yolo-nanfix")
    console.print(_headline(summary))
    for reason in summary["reasons"]:
        console.print(f"[red]-[/] {escape(str(reason))}")
    _patches(summary, console)
    _quarantine(summary, console)
    _guard(summary["guard"], console)
    if metrics := summary.get("metrics"):
        console.print("\n[bold]Final metrics[/]")
        console.print("  " + escape(", ".join(f"{k} {v:.4g}" for k, v in metrics.items())))
    if paths := summary.get("paths"):
        console.print("\n[bold]Files[/]")
        for name, path in paths.items():
            console.print(f"  {name:<9} {escape(_short(path))}")


def _headline(summary: Mapping[str, Any]) -> str:
    guard = summary["guard"]
    dropped, total = guard.get("dropped_micro_batches", 0), guard.get("micro_batches", 0)
    left_out = len(summary["quarantined"])
    parts = [f"{dropped} of {total} micro-batches dropped" if total else "", f"{left_out} images left out"]
    detail = ", ".join(part for part in parts if part)
    if summary["outcome"] == "finished" and summary["healthy"]:
        return f"[green]The run ended healthy[/]: {detail}."
    if summary["outcome"] == "dry-run":
        return f"[green]Dry run: training would start[/]: {detail}."
    return f"[red]The run {'ended' if summary['outcome'] == 'finished' else 'was'} not healthy[/] ({summary['outcome']}): {detail}."


def _patches(summary: Mapping[str, Any], console: Console) -> None:
    table = Table(box=None, padding=(0, 1), show_header=False)
    for name, patch in summary["patches"].items():
        params = ", ".join(f"{k}={v}" for k, v in patch["params"].items())
        table.add_row("", name, patch["state"], escape(params), escape(patch["reason"]))
    console.print(f"\n[bold]Patches[/] (ultralytics {summary['environment']['ultralytics']})")
    console.print(table)


def _quarantine(summary: Mapping[str, Any], console: Console) -> None:
    quarantined = summary["quarantined"]
    if not quarantined:
        return
    console.print("\n[bold]Left out of this run[/] (nothing on disk was changed)")
    for image, findings in list(quarantined.items())[:SHOWN]:
        first = findings[0]
        console.print(f"  {escape(_short(image))}: {first['code']} {escape(first['message'])}")
    if len(quarantined) > SHOWN:
        console.print(f"  ... and {len(quarantined) - SHOWN} more")


def _guard(guard: Mapping[str, Any], console: Console) -> None:
    events = guard.get("events", ())
    if not events:
        return
    console.print("\n[bold]What the guard did[/]")
    for event in events[:SHOWN]:
        where = f"epoch {event['epoch']}" + (f", batch {event['batch']}" if event["batch"] else "")
        files = [f"{s['file']} ({s['suspect']})" for s in event["sources"] if s["suspect"]]
        files = [_short(f) for f in files or [s["file"] for s in event["sources"]]][:3]
        images = f" [{', '.join(files)}]" if files else ""
        console.print(f"  {where}: {escape(event['detail'])}; {escape(event['action'])}{escape(images)}")
    more = len(events) - SHOWN + guard.get("events_left_out", 0)
    if more > 0:
        console.print(f"  ... and {more} more events in the report file")


def _short(path: str) -> str:
    """A path relative to the current folder where it lies inside it."""
    here = str(Path.cwd()) + "/"
    return path.removeprefix(here)
