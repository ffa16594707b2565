"""A plan for a terminal: a table of advices, and what is left undecided."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.table import Table
from rich.text import Text

from yolo_nanfix.plans import Plan, Reason, Source, Strength
from yolo_nanfix.report import plan_words
from yolo_nanfix.report.panel import put
from yolo_nanfix.wording import printable

STYLES = {Strength.MEASURED: "green", Strength.PUBLISHED: "cyan", Strength.RULE: "yellow"}


def render(plan: Plan, console: Console, *, quiet: bool = False) -> None:
    """Print a plan; with `quiet` only the training arguments, as a command line takes them."""
    arguments = " ".join(shlex.quote(f"{key}={plan_words.value(held)}") for key, held in plan.arguments.items())
    if quiet:
        _print(console, Text(printable(arguments)))
        return
    parts = [Text(plan_words.headline(plan)), Text(f"To train on: {plan_words.machine(plan)}.", style="dim")]
    put(console, "yolo-nanfix plan", parts, "green")
    sources = list(dict.fromkeys([advice.source for advice in plan.advices] + [one.source for one in plan.undecided]))
    console.print()
    console.print(_table(plan, sources), soft_wrap=False)
    if plan.undecided:
        console.print()
        _print(console, Text("No evidence, so no advice:"))
    for one in plan.undecided:
        why = f": {plan_words.because(one.because)} [{sources.index(one.source) + 1}]"
        _print(console, Text.assemble("  ", (one.setting, "bold"), why))
    if any(one.because.reason is Reason.FREEZE_VARIES for one in plan.undecided):
        _print(console, Text(f"Measure recipes on this set: {plan_words.trial(plan)}"))
    console.print()
    for number, source in enumerate(sources, 1):
        _print(console, Text(f"[{number}] {source.title}, {source.address}", style="dim"))
    console.print()
    for note in plan_words.notes(plan):
        _print(console, Text(note))
    _print(console, Text(f"Train with: yolo-nanfix train {printable(shlex.quote(plan.data))} {printable(arguments)}"))


def _table(plan: Plan, sources: list[Source]) -> Table:
    """One row an advice; numbers in brackets are those of its source."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("setting", "value", "because", "strength"):
        table.add_column(title, no_wrap=title in ("setting", "strength"), overflow="fold")
    for advice in plan.advices:
        table.add_row(
            Text(advice.setting, style="bold"),
            Text(plan_words.change(advice)),
            Text(f"{plan_words.because(advice.because)} [{sources.index(advice.source) + 1}]"),
            Text(advice.strength.value, style=STYLES[advice.strength]),
        )
    return table


def _print(console: Console, text: Text) -> None:
    """Print one logical line, not wrapped, with escapes for what the console's encoding cannot show."""
    shown = text.plain.encode(console.encoding, "backslashreplace").decode(console.encoding)
    console.print(text if shown == text.plain else Text(shown), soft_wrap=True, highlight=False, markup=False)
