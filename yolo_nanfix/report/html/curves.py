"""Which charts a run has: its readings by step, its losses and metrics by epoch, on one horizontal axis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from yolo_nanfix.report.html.line_charts import Axis, Chart, Curve
from yolo_nanfix.run_folder.csv_tables import Numbers, Table
from yolo_nanfix.run_folder.read import RunFolder

READINGS = {
    "grad_norm": "Gradient norm",
    "loss_scale": "Loss scale",
    "lr": "Learning rate",
}
TOTAL = "loss"
COUNTS = ("step", "epoch", "batch")
MOST = 8
"""At most so many curves stand in one chart."""


def axis(*runs: RunFolder) -> Axis:
    """Steps where every run knows its own and has all epochs of `results.csv` among them, else epochs."""
    if runs and all(_by_steps(run) for run in runs):
        last = max(float(_finite(run.steps.columns["step"]).max()) for run in runs)
        return Axis(1.0, max(last, 2.0), "micro-batch", _pairs(runs[0]))
    epochs = [_finite(run.results.columns["epoch"]) for run in runs if run.results.column("epoch") is not None]
    known = np.concatenate(epochs) if epochs else np.array([1.0])
    known = known if known.size else np.array([1.0])
    return Axis(float(known.min()), max(float(known.max()), float(known.min()) + 1), "epoch")


def charts(run: RunFolder, on: Axis) -> list[Chart]:
    """The charts of a run, those without any curve left out."""
    total = _by_step(run.steps, TOTAL, TOTAL) if on.name != "epoch" else None
    found = [
        _losses(run, on),
        Chart("total", "Loss in total", (total,) if total else (), noisy=True),
        *(_reading(run, on, name, title) for name, title in READINGS.items()),
    ]
    epochs = _epochs(run, on)
    if epochs is not None:
        groups = {
            "metrics/": ("metrics", "Validation metrics"),
            "val/": ("val-losses", "Validation losses"),
            "train/": ("train-losses", "Training losses, means of epochs"),
        }
        for prefix, (key, title) in groups.items():
            found.append(Chart(key, title, _of_prefix(run.results, epochs, prefix)))
        if not any(chart.key == "lr" and chart.curves for chart in found):
            found.append(Chart("lr", "Learning rate", _of_prefix(run.results, epochs, "lr/")))
    by_steps = any(chart.key == "losses" and chart.curves for chart in found)
    return [c for c in found if c.curves and not (by_steps and c.key == "train-losses")]


def place(run: RunFolder, on: Axis, event: Mapping[str, float]) -> float | None:
    """Where on the axis an event stands, given its `step`, `epoch` and `batch`; None if it is not known."""
    step, epoch, batch = (event.get(key) or 0.0 for key in ("step", "epoch", "batch"))
    if on.name == "epoch":
        return epoch if epoch >= 1 else on.low
    if step:
        return step
    ends = _ends(run)
    if epoch in ends:
        before = ends.get(epoch - 1, 0.0)
        return before + batch if batch else ends[epoch]
    return on.low if epoch <= 1 else None


def _losses(run: RunFolder, on: Axis) -> Chart:
    """The terms of the loss, as Ultralytics shows them."""
    if on.name == "epoch":
        return Chart("losses", "Loss", ())
    terms = [n for n in run.steps.columns if n not in (*COUNTS, *READINGS, TOTAL)]
    found = tuple(curve for name in terms[:MOST] if (curve := _by_step(run.steps, name, name)) is not None)
    return Chart("losses", "Loss", found, noisy=True)


def _reading(run: RunFolder, on: Axis, name: str, title: str) -> Chart:
    curve = _by_step(run.steps, name, title.lower()) if on.name != "epoch" else None
    return Chart(name.replace("_", "-"), title, (curve,) if curve else (), noisy=name == "grad_norm")


def _by_step(table: Table, name: str, shown: str) -> Curve | None:
    """A column over the column `step`; None if it holds nothing."""
    values, steps = table.column(name), table.column("step")
    if values is None or steps is None:
        return None
    known = table.known[name] & table.known["step"] & np.isfinite(steps)
    return _sorted(shown, steps[known], values[known])


def _of_prefix(table: Table, x: Numbers, prefix: str) -> tuple[Curve, ...]:
    """The columns whose names begin so, over `x`."""
    found = []
    for name in table.columns:
        if name.startswith(prefix) and table.column(name) is not None:
            known = table.known[name] & np.isfinite(x)
            found.append(_sorted(name.removeprefix(prefix), x[known], table.columns[name][known]))
    return tuple(curve for curve in found[:MOST] if curve.x.size)


def _sorted(name: str, x: Numbers, y: Numbers) -> Curve:
    order = np.argsort(x, kind="stable")
    return Curve(name, x[order], y[order])


def _epochs(run: RunFolder, on: Axis) -> Numbers | None:
    """Where the rows of `results.csv` stand on the axis."""
    epochs = run.results.column("epoch")
    if epochs is None or on.name == "epoch":
        return epochs
    ends = _ends(run)
    return np.array([ends.get(float(epoch), np.nan) for epoch in epochs])


def _ends(run: RunFolder) -> dict[float, float]:
    """The last step of each epoch."""
    epochs, steps = run.steps.column("epoch"), run.steps.column("step")
    if epochs is None or steps is None:
        return {}
    good = np.isfinite(epochs) & np.isfinite(steps)
    found: dict[float, float] = {}
    for epoch, step in zip(epochs[good].tolist(), steps[good].tolist(), strict=True):
        found[epoch] = max(step, found.get(epoch, step))
    return found


def _pairs(run: RunFolder) -> tuple[tuple[float, int], ...]:
    return tuple((step, int(epoch)) for epoch, step in sorted(_ends(run).items()))


def _by_steps(run: RunFolder) -> bool:
    steps, epochs = run.steps.column("step"), run.results.column("epoch")
    if steps is None or not _finite(steps).size:
        return False
    return epochs is None or set(_finite(epochs).tolist()) <= set(_ends(run))


def _finite(values: Numbers) -> Numbers:
    return values[np.isfinite(values)]
