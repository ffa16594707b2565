"""The result of a learning rate range test, for a terminal and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from yolo_nanfix import files, overrides
from yolo_nanfix.report.panel import boxed, put
from yolo_nanfix.report.words import printable

WIDTH, HEIGHT = 64, 10
SHOWN_FILES = 8
_ASCII = str.maketrans("│┤└─•", "|++-*")


def render_range_test(report: Mapping[str, Any], console: Console | None = None, *, quiet: bool = False) -> None:
    """Print what `LrReport.as_dict()` holds: the suggestion, the range, how to use it, and the curve.

    `quiet`: only the arguments for training, or why there are none.
    """
    console = console or Console(soft_wrap=True, highlight=False, emoji=False)
    found, lr = report["suggestion"], report["suggestion"]["lr"]
    arguments = " ".join(f"{key}={value}" for key, value in report["arguments"].items())
    if quiet:
        console.print(escape(arguments if lr is not None else found["reason"]))
        return
    chosen = ", chosen by optimizer=auto" if report["automatic"] else ""
    console.print()
    if lr is None:
        said = [f"[red]No learning rate can be suggested[/]: {escape(found['reason'])}."]
    else:
        span = f"{found['low']:.2g} to {found['high']:.2g}" if found["low"] else "not seen: the loss does not fall"
        said = [
            f"[green]Suggested lr0: {lr:.2g}[/] for {report['optimizer']}{chosen}",
            f"Range that trains: {span}; training would have used {report['default_lr']:.2g}",
            f"Why: {escape(found['reason'])}",
            f"Train with: {escape(arguments)}",
        ]
    parts = [Text.from_markup(line, emoji=False) for line in said]
    put(console, "yolo-nanfix lr-find", parts, "red" if lr is None else "green")
    _more(report, console)
    for line in chart(report["curve"]["rates"], report["curve"]["smoothed"], lr, lines=boxed(console)):
        console.print(escape(line))


def _more(report: Mapping[str, Any], console: Console) -> None:
    for line in overrides.read_overrides(report).lines():
        console.print(escape(printable(line)))
    if any(group["multiple"] != 1 for group in report["groups"]):
        multiples = ", ".join(f"{group['name']} x{group['multiple']:g}" for group in report["groups"])
        console.print(f"Rates of the parameter groups: {multiples}")
    if report["batches_left_out"]:
        console.print(
            f"[yellow]{report['batches_left_out']} batches were not finite and left out[/]; see yolo-nanfix lint"
        )
        for file in report["left_out"][:SHOWN_FILES]:
            console.print(f"  {escape(printable(file))}")


def chart(rates: Sequence[float], losses: Sequence[float], lr: float | None, *, lines: bool = True) -> list[str]:
    """The curve in characters: the loss (logarithmic if positive) over the logarithm of the rate.

    A vertical line marks the suggestion if it lies within the rates. Without `lines` all of it is ASCII.
    """
    drawn = _characters(rates, losses, lr)
    return drawn if lines else [line.translate(_ASCII) for line in drawn]


def _characters(rates: Sequence[float], losses: Sequence[float], lr: float | None) -> list[str]:
    if len(rates) < 2:
        return []
    x = np.log10(rates)
    y = np.log10(losses) if min(losses) > 0 else np.array(losses)
    heights = np.interp(np.linspace(x[0], x[-1], WIDTH), x, y)
    rows = np.rint((y.max() - heights) / (np.ptp(y) or 1) * (HEIGHT - 1)).astype(int)
    cells = np.full((HEIGHT, WIDTH), " ")
    if lr is not None and x[0] <= math.log10(lr) <= x[-1]:
        cells[:, round((math.log10(lr) - x[0]) / (x[-1] - x[0]) * (WIDTH - 1))] = "│"
    cells[rows, np.arange(WIDTH)] = "•"
    marks = {0: max(losses), HEIGHT - 1: min(losses)}
    heads = [f"{marks[i]:>9.3g} ┤" if i in marks else f"{'':>9} │" for i in range(HEIGHT)]
    ends = f"{rates[0]:.0e}".ljust(WIDTH // 2) + f"{rates[-1]:.0e}".rjust(WIDTH - WIDTH // 2)
    return [
        "",
        f"{'loss':>9}",
        *(head + "".join(row).rstrip() for head, row in zip(heads, cells, strict=True)),
        f"{'':>9} └" + "─" * WIDTH,
        f"{'':>11}{ends}",
        f"{'':>11}{'learning rate':^{WIDTH}}",
    ]


def save_png(report: Mapping[str, Any], path: Path) -> None:
    """Write the curve as a PNG, atomically.

    Raises:
        OSError: it cannot be written; no partial file remains.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found, curve = report["suggestion"], report["curve"]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve["rates"], curve["losses"], color="0.75", label="loss")
    axes.plot(curve["rates"], curve["smoothed"], color="tab:blue", label="smoothed")
    if found["lr"] is not None:
        axes.axvline(found["lr"], color="tab:green", label=f"suggested lr0 {found['lr']:.2g}")
    if found["low"] is not None:
        axes.axvspan(found["low"], found["high"], color="tab:green", alpha=0.12, label="range that trains")
    if found["diverged_at"] is not None:
        axes.axvline(
            found["diverged_at"], color="tab:red", linestyle="--", label=f"diverged at {found['diverged_at']:.2g}"
        )
    if curve["losses"] and min(curve["losses"]) > 0:
        axes.set_yscale("log")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title=f"Range test, {report['optimizer']}")
    axes.legend()
    with files.file(path) as fresh:
        FigureCanvasAgg(figure).print_png(fresh)  # type: ignore[no-untyped-call]
