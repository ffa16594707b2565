"""Metrics with their intervals, for a terminal: of `score`, and of `bench`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from yolo_nanfix.report.words import printable

KINDS = {"B": "boxes", "M": "masks", "P": "keypoints"}


def interval(value: Mapping[str, Any] | None) -> str:
    """`0.512 [0.470, 0.550]` of what `Interval.as_dict` gives; the estimate alone without ends, `-` for None."""
    if value is None:
        return "-"
    if value["low"] is None:
        return f"{value['estimate']:.3f}"
    return f"{value['estimate']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def render_score(score: Mapping[str, Any], console: Console | None = None, *, quiet: bool = False) -> None:
    """Print what `Score.as_dict` gives.

    Args:
        score: as a JSON-ready dict.
        console: where to print.
        quiet: print only mAP50-95 and its interval, the honest one if there is one.
    """
    console = console or Console(soft_wrap=True, highlight=False, emoji=False)
    honest = score["honest"]
    if quiet:
        console.print(interval((honest or score["whole"])["map"]), markup=False)
        return
    console.print(f"Metrics of {KINDS[score['kind']]} with 95 % intervals", markup=False)
    table = _table("", "images", "objects", "mAP50-95", "mAP50")
    shown = (("all images", score["whole"]), ("honest", honest), ("old classes", score["old"]))
    for name, figure in shown:
        if figure is not None:
            numbers = (str(figure["images"]), str(figure["objects"]))
            table.add_row(name, *numbers, escape(interval(figure["map"])), escape(interval(figure["map50"])))
    console.print(table)
    if honest is not None:
        count = len(score["seen"])
        noun = "image belongs" if count == 1 else "images belong"
        console.print(
            f"honest: {count} {noun} together with images that trained, and are left out, such as", markup=False
        )
        image, other = next(iter(score["seen"].items()))
        console.print(f"  {printable(image)}\n  {printable(other)}", markup=False)
    if score["left_out"]:
        first = printable(score["left_out"][0])
        console.print(
            f"not validated, since Ultralytics cannot use them: {len(score['left_out'])}, such as {first}", markup=False
        )
    if len(score["per_class"]) > 1:
        table = _table("class", "AP50-95")
        for name, value in sorted(score["per_class"].items(), key=lambda item: item[1]):
            table.add_row(escape(printable(name)), f"{value:.3f}")
        console.print(table)


def render_bench(bench: Mapping[str, Any], console: Console | None = None, *, quiet: bool = False) -> None:
    """Print what `Bench.as_dict` gives.

    Args:
        bench: as a JSON-ready dict.
        console: where to print.
        quiet: print only mAP50-95 of each arm, and the difference.
    """
    console = console or Console(soft_wrap=True, highlight=False, emoji=False)
    arms = [arm["name"] for arm in bench["arms"]]
    two = len(arms) > 1
    columns = [*map(_title, arms), *([f"{_title(arms[1])} - {_title(arms[0])}"] if two else [])]
    repeats = len(bench["arms"][0]["repeats"])
    console.print(f"{repeats} {bench['repeats']}, 95 % intervals", markup=False)
    table = _table("", *columns)
    for row in bench["metrics"][: 1 if quiet else None]:
        cells = [interval(one) for one in (*row["arms"], *((row["difference"],) if two else ()))]
        table.add_row(*(escape(cell) for cell in (printable(row["metric"]), *cells)))
    console.print(table)
    if not quiet:
        for arm in bench["arms"]:
            each = ", ".join(f"{one['name']} {one['map']:.3f}" for one in arm["repeats"])
            console.print(f"{arm['name']}: {each}; {arm['cpu_seconds']:.0f} s of CPU", markup=False)
        console.print(f"Runs: {bench['out']}", markup=False)
    for arm in bench["arms"]:
        for one in (one for one in arm["repeats"] if one["reasons"]):
            why = printable("; ".join(one["reasons"]))
            console.print(f"{arm['name']} {one['name']} is not healthy: {why}", markup=False)
    if two:
        console.print(outcome(bench), markup=False)


def outcome(bench: Mapping[str, Any]) -> str:
    """The sentence of a comparison of two arms."""
    first, second = (arm["name"] for arm in bench["arms"])
    difference = bench["metrics"][0]["difference"]
    if difference["low"] is None:
        return "One training of each cannot tell whether they differ."
    if not bench["differs"]:
        span = f"{difference['low']:.3f} to {difference['high']:.3f}"
        return f"These two do not differ as far as this shows: {second} - {first} is {span}, which holds 0."
    better, worse = (second, first) if difference["estimate"] > 0 else (first, second)
    return f"{better} is better than {worse} by {abs(difference['estimate']):.3f} mAP50-95."


def _title(name: str) -> str:
    return escape(printable(name))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
