"""The result of a trial of recipes, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from yolo_nanfix.report import intervals
from yolo_nanfix.wording import printable


def outcome(trial: Mapping[str, Any]) -> str:
    """The sentence of a trial; of what `Trial.as_dict` gives."""
    best, final = printable(trial["best"]), trial["final"]
    if trial["ending"] == "too-short":
        return "Not enough time for two seeds of the last two recipes, so nothing was shown: stock stays."
    difference = final["metrics"][0]["difference"]
    by = f"{difference['low']:.3f} to {difference['high']:.3f} mAP50-95"
    if trial["ending"] == "winner":
        return f"Recipe {best} is better than stock by {by}."
    if trial["ending"] == "stock-is-better":
        return f"Stock is better than the best recipe, {best} ({best} - stock: {by}): stock stays."
    return f"No difference seen: the best recipe, {best}, minus stock is {by}, which holds 0: stock stays."


def rows(trial: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """For each round its seed, and each recipe with its mean mAP50-95 so far, `-` for those that are out."""
    names = list(trial["rounds"][0]["recipes"]) if trial["rounds"] else []
    return [
        (str(one["seed"]), *(f"{one['means'][name]:.3f}" if name in one["means"] else "-" for name in names))
        for one in trial["rounds"]
    ]


def render(trial: Mapping[str, Any], console: Console, *, quiet: bool = False) -> None:
    """Print what `Trial.as_dict` gives: the rounds, the last two, the outcome; with `quiet` the recipe alone."""
    if quiet:
        console.print(trial["recipe"], markup=False)
        return
    if trial["rounds"]:
        console.print("\nMean mAP50-95 of each recipe over its seeds so far; the lower half goes out:", markup=False)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for title in ("seed", *trial["rounds"][0]["recipes"]):
            table.add_column(escape(printable(title)))
        for row in rows(trial):
            table.add_row(*row)
        console.print(table)
    if trial["final"] is not None:
        intervals.render_bench(trial["final"], console, quiet=True)
    console.print(outcome(trial), markup=False)
    minutes = trial["cpu_seconds"] / 60
    console.print(
        f"{trial['epochs']} epochs a training, {minutes:.1f} minutes of CPU in all: {trial['out']}", markup=False
    )
