"""The page that compares two runs: how they went, which settings differ, their curves in the same charts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from yolo_nanfix.report.html import charts, event_list, run_advice
from yolo_nanfix.report.html.charts import Axis, Chart, Curve
from yolo_nanfix.report.html.page import render_page
from yolo_nanfix.report.html.run_page import OTHER_MODES
from yolo_nanfix.report.words import figure, grouped, printable
from yolo_nanfix.run_folder import lenient
from yolo_nanfix.run_folder.read import RunFolder

LETTERS = ("A", "B")
NOT_COMPARED = ("project", "name", "save_dir", "exist_ok", "mode", *OTHER_MODES)
"""Arguments that always differ, or that training does not use."""
SHORT_TITLES = {"losses": "Loss", "val-losses": "Validation loss", "metrics": "Validation", "lr": "Learning rate",
                "train-losses": "Training loss, mean of the epoch"}  # fmt: skip
COUNTED = {
    "micro_batches": "micro-batches",
    "dropped_micro_batches": "micro-batches dropped",
    "steps_skipped_by_grad_scaler": "steps skipped by the GradScaler",
    "steps_refused": "optimizer steps held back",
    "rollbacks": "rollbacks",
    "steps_undone": "optimizer steps undone",
}
"""Counts of the guard that are compared, and their names."""
LOWER_IS_BETTER = ("val/", "train/")


def page(pair: tuple[RunFolder, RunFolder]) -> str:
    """The page of two runs, called A and B, as self-contained HTML."""
    axis = replace(charts.axis(*pair), epochs=())
    listed = [event_list.grouped_events(one, axis, letter) for letter, one in zip(LETTERS, pair, strict=True)]
    marks = [mark for found in listed for mark in event_list.marks(found)]
    shapes = [s for chart in overlaid(pair, axis) if (s := charts.shape(chart, axis, marks)) is not None]
    sides = [
        {
            "letter": letter,
            "name": one.name,
            "folder": printable(str(one.path)),
            "sentence": run_advice.headline(one),
            "level": run_advice.level(one),
            "notes": one.notes,
            "guarded": bool(one.summary),
            "events": found[: event_list.LISTED],
            "events_hidden": max(0, len(found) - event_list.LISTED),
        }
        for letter, one, found in zip(LETTERS, pair, listed, strict=True)
    ]
    return render_page(
        "compare.html.j2",
        ("run.js",),
        ("run.css",),
        sides=sides,
        charts=shapes,
        readings={"name": axis.name, "epochs": [], "charts": [s.pop("data") for s in shapes]},
        settings=differing(pair),
        metrics=metrics(pair),
        counts=event_counts(pair),
        measured=event_list.MEASURED,
    )


def overlaid(pair: tuple[RunFolder, RunFolder], axis: Axis) -> list[Chart]:
    """One chart for each curve of a run, with the curves of A and B."""
    found: dict[tuple[str, str], list[Curve]] = {}
    titles: dict[tuple[str, str], tuple[str, bool]] = {}
    for style, (letter, one) in enumerate(zip(LETTERS, pair, strict=True), 1):
        for chart in charts.charts(one, axis):
            for curve in chart.curves:
                key = (chart.key, curve.name)
                short = SHORT_TITLES.get(chart.key)
                title = f"{short}: {curve.name}" if short and len(chart.curves) > 1 else chart.title
                titles[key] = (title, chart.noisy)
                found.setdefault(key, []).append(replace(curve, name=f"{letter} {one.name}", style=style))
    return [
        Chart(f"{key[0]}-{number}", titles[key][0], tuple(both), titles[key][1])
        for number, (key, both) in enumerate(found.items())
    ]


def differing(pair: tuple[RunFolder, RunFolder]) -> list[tuple[str, str, str]]:
    """Training arguments, settings of the guard, versions and states of patches that differ.

    If only one run has a report, the values of reports are one row.
    """
    parts = [_arguments(one) for one in pair]
    reported = [bool(one.summary) for one in pair]
    if all(reported):
        parts = [part | _reported(one) for part, one in zip(parts, pair, strict=True)]
    elif any(reported):
        for part, known in zip(parts, reported, strict=True):
            part["patches, guard, versions"] = "as its own page says" if known else "not known: it has no report"
    names = dict.fromkeys([*parts[0], *parts[1]])
    both = [tuple(map(lenient.text, (name, *(part.get(name, "—") for part in parts)))) for name in names]
    return [(name, first, second) for name, first, second in both if first != second]


def metrics(pair: tuple[RunFolder, RunFolder]) -> list[dict[str, str]]:
    """The last and the best value of each column of `results.csv`."""
    names = dict.fromkeys(n for one in pair for n in one.results.columns if n.startswith(("metrics/", "val/")))
    rows = []
    for name in names:
        ends = [_ends(one, name) for one in pair]
        rows.append(
            {
                "name": lenient.text(name),
                **{f"last{i}": figure(last) if last is not None else "—" for i, (last, _) in enumerate(ends)},
                **{f"best{i}": figure(best) if best is not None else "—" for i, (_, best) in enumerate(ends)},
            }
        )
    return rows


def event_counts(pair: tuple[RunFolder, RunFolder]) -> list[tuple[str, str, str]]:
    """The counts of micro-batches, steps and events of both runs, without those that are 0 in both."""
    found: list[Counter[str]] = []
    for one in pair:
        guard = lenient.mapping(one.summary, "guard")
        counts = Counter({name: lenient.count(guard, key) for key, name in COUNTED.items()})
        counts["images left out by the guard"] = len(lenient.entries(guard, "quarantined"))
        for check, number in lenient.mapping(guard, "events_by_check").items():
            counts[f"events: {lenient.text(check)}"] = lenient.count(number)
        found.append(counts)
    names = [name for name in {**found[0], **found[1]} if found[0][name] or found[1][name]]
    return [(name, grouped(found[0][name]), grouped(found[1][name])) for name in names]


def _arguments(one: RunFolder) -> dict[str, str]:
    return {key: lenient.text(value) or str(value)[:200] for key, value in one.args.items() if key not in NOT_COMPARED}


def _reported(one: RunFolder) -> dict[str, str]:
    environment = lenient.mapping(one.summary, "environment")
    found = {f"version of {key}": lenient.text(value) for key, value in environment.items()}
    settings = lenient.mapping(one.summary, "guard", "settings")
    found |= {f"guard: {key}": str(value)[:200] for key, value in settings.items()}
    found |= {"on-fatal": word} if (word := lenient.text(one.summary, "on_fatal")) else {}
    states = lenient.mapping(one.summary, "patches")
    return found | {f"patch {key}": lenient.text(value, "state") for key, value in states.items()}


def _ends(one: RunFolder, name: str) -> tuple[float | None, float | None]:
    """The last value of a column, and the best finite one."""
    values = one.results.column(name)
    if values is None:
        return None, None
    known = values[one.results.known[name]]
    finite = known[np.isfinite(known)]
    if not finite.size:
        return float(known[-1]), None
    return float(known[-1]), float(finite.min() if name.startswith(LOWER_IS_BETTER) else finite.max())
