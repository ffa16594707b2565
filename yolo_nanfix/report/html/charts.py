"""The line charts of a run, on one horizontal axis, as shapes for `chart.html.j2`.

They are drawn here, so that they work in print and without scripts. The curves are one SVG that stretches with the page
(`preserveAspectRatio="none"`, strokes that do not scale); numbers and marks are text of the page above it, so that they
are readable on a phone. Positions are in percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolo_nanfix.report.words import compact, figure, grouped
from yolo_nanfix.run_folder.csv_tables import Numbers, Table
from yolo_nanfix.run_folder.read import RunFolder

WIDTH, HEIGHT = 2000, 600
POINTS = 1500
"""About this many points of a curve are drawn and shown on hovering, the smallest and largest ones included."""
SMOOTHED = 200
"""Noisy curves with more points are drawn thin, with their running mean over them."""
DOTTED = 60
"""Curves with at most this many points have a dot at each."""
NEAR = 0.006
"""Gaps nearer than this share of the width are joined, and marks nearer than three times this."""
DECADES = 100.0
"""Positive values with the largest more than this many times the small ones get a logarithmic scale."""
SMALLEST_DRAWN, LARGEST_DRAWN = 1e-300, 1e300
WORST_FIRST = ("fatal", "error", "warning", "info")
READINGS = {"grad_norm": "Gradient norm", "loss_scale": "Loss scale", "lr": "Learning rate"}
TOTAL = "loss"
COUNTS = ("step", "epoch", "batch")
MOST_CURVES = 8
"""At most this many curves are in one chart."""


@dataclass(frozen=True)
class Curve:
    """One curve: `x` increasing, `y` of the same length, perhaps with NaN and Inf."""

    name: str
    x: Numbers
    y: Numbers
    style: int = 0
    """Number of its colour and dash; 0: by its place in the chart."""


@dataclass(frozen=True)
class Mark:
    """An event on the curves: position, number in the list of events, level, text, and the id that it links to."""

    x: float
    number: str
    level: str
    words: str
    link: str = ""


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        key: for ids: letters and dashes.
        title: what it shows.
        curves: empty ones are not drawn.
        noisy: whether long curves are drawn thin, with their running mean over them.
    """

    key: str
    title: str
    curves: tuple[Curve, ...]
    noisy: bool = False


@dataclass(frozen=True)
class Axis:
    """The horizontal axis that all charts of a page share.

    Attributes:
        low, high: its ends.
        name: what it counts (`micro-batch`, `epoch`).
        epochs: pairs of a step and the epoch that ends with it, for hovering.
    """

    low: float
    high: float
    name: str
    epochs: tuple[tuple[float, int], ...] = ()

    def shares(self, x: Numbers) -> Numbers:
        """Positions from 0 to 1."""
        return np.clip((x - self.low) / max(self.high - self.low, 1e-9), 0.0, 1.0)

    def share(self, x: float) -> float:
        """One position."""
        return float(self.shares(np.array([x]))[0])

    def ticks(self) -> list[dict[str, Any]]:
        """Ticks at round whole numbers: position in percent, and text."""
        step = max(1, round(_round_step(max(self.high - self.low, 1) / 5)))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        numbers = [n * step for n in range(first, last + 1)] or [math.ceil(self.low)]
        return [{"at": round(100 * self.share(n), 2), "text": grouped(n)} for n in numbers]


@dataclass(frozen=True)
class Scale:
    """The vertical scale: from values to heights.

    Attributes:
        low, high: the values at the lower and the upper edge.
        log: whether it is logarithmic; then 0 is at the lower edge.
        ticks: pairs of height (0 at the lower edge, 1 at the upper) and text.
    """

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...] = ()

    def heights(self, values: Numbers) -> Numbers:
        """Heights from 0 to 1; values outside are at the edge, NaN stays NaN."""
        low, high, values = self.low, self.high, np.clip(values, self.low, self.high)
        if self.log:
            low, high, values = math.log10(low), math.log10(high), np.log10(values)
        return np.clip((values - low) / (high - low), 0.0, 1.0)


def fitting(values: Numbers) -> Scale:
    """The scale for values, some perhaps non-finite: linear or logarithmic, with ticks at round numbers."""
    finite = np.clip(values[np.isfinite(values)], -LARGEST_DRAWN, LARGEST_DRAWN)
    if not finite.size:
        return _linear(0.0, 1.0)
    finite = np.where(np.abs(finite) < SMALLEST_DRAWN, 0.0, finite)
    positive = finite[finite > 0]
    if positive.size and finite.min() >= 0 and positive.max() > DECADES * _small(positive, 0.05):
        return _logarithmic(max(float(positive.min()), _small(positive, 0.01) / 100), float(positive.max()))
    return _linear(float(finite.min()), float(finite.max()))


def _small(positive: Numbers, share: float) -> float:
    return float(np.quantile(positive, share, method="lower"))


def _linear(low: float, high: float) -> Scale:
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-280):
        low, high = (0.0, 1.0) if low == 0 else (min(low, 0.0) * 2, max(high, 0.0) * 2)
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    low, high = first * step, last * step
    numbers = [n * step for n in range(first, last + 1)]
    return Scale(low, high, False, tuple(((n - low) / (high - low), compact(n)) for n in numbers))


def _logarithmic(low: float, high: float) -> Scale:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    powers = range(first, last + 1, max(1, math.ceil((last - first) / 5)))
    ticks = tuple(((power - first) / (last - first), compact(10.0**power)) for power in powers)
    return Scale(10.0**first, 10.0**last, True, ticks)


def _round_step(wanted: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is not below `wanted`."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= wanted * 0.999)


def axis(*runs: RunFolder) -> Axis:
    """The axis of some runs: steps if each has them for all epochs of `results.csv`, else epochs."""
    if runs and all(_by_steps(run) for run in runs):
        last = max(float(_only_finite(run.steps.columns["step"]).max()) for run in runs)
        pairs = tuple((step, int(epoch)) for epoch, step in sorted(_ends(runs[0]).items()))
        return Axis(1.0, max(last, 2.0), "micro-batch", pairs)
    epochs = [_only_finite(run.results.columns["epoch"]) for run in runs if run.results.column("epoch") is not None]
    known = np.concatenate(epochs) if epochs else np.array([1.0])
    known = known if known.size else np.array([1.0])
    return Axis(float(known.min()), max(float(known.max()), float(known.min()) + 1), "epoch")


def place_on(run: RunFolder, on: Axis, event: Mapping[str, float]) -> float | None:
    """The position of an event on the axis, from its `step`, `epoch` and `batch`; None if not known."""
    step, epoch, batch = (event.get(key) or 0.0 for key in COUNTS)
    if on.name == "epoch":
        return epoch if epoch >= 1 else on.low
    if step:
        return step
    ends = _ends(run)
    if epoch in ends:
        return ends.get(epoch - 1, 0.0) + batch if batch else ends[epoch]
    return on.low if epoch <= 1 else None


def charts(run: RunFolder, on: Axis) -> list[Chart]:
    """The charts of a run that have curves: readings by step, losses and metrics by epoch."""
    found = []
    if on.name != "epoch":
        terms = [name for name in run.steps.columns if name not in (*COUNTS, *READINGS, TOTAL)][:MOST_CURVES]
        found += [
            Chart("losses", "Loss", _by_step(run.steps, {name: name for name in terms}), noisy=True),
            Chart("total", "Loss in total", _by_step(run.steps, {TOTAL: TOTAL}), noisy=True),
        ]
        for name, title in READINGS.items():
            curves = _by_step(run.steps, {name: title.lower()})
            found.append(Chart(name.replace("_", "-"), title, curves, noisy=name == "grad_norm"))
    by_steps = bool(found and found[0].curves)
    epochs = run.results.column("epoch")
    if epochs is not None:
        ends = _ends(run)
        x = epochs if on.name == "epoch" else np.array([ends.get(float(epoch), np.nan) for epoch in epochs])
        found.append(Chart("metrics", "Validation metrics", _of_prefix(run.results, x, "metrics/")))
        found.append(Chart("val-losses", "Validation losses", _of_prefix(run.results, x, "val/")))
        if not by_steps:
            means = _of_prefix(run.results, x, "train/")
            found.append(Chart("train-losses", "Training losses, means of epochs", means))
        if not any(chart.key == "lr" and chart.curves for chart in found):
            found.append(Chart("lr", "Learning rate", _of_prefix(run.results, x, "lr/")))
    return [chart for chart in found if chart.curves]


def _by_step(table: Table, names: Mapping[str, str]) -> tuple[Curve, ...]:
    """Columns over the column `step`; `names` maps them to the names of curves. Empty columns are left out."""
    steps = table.column("step")
    if steps is None:
        return ()
    found = []
    for name, shown in names.items():
        if (values := table.column(name)) is not None:
            known = table.known[name] & table.known["step"] & np.isfinite(steps)
            found.append(_sorted(shown, steps[known], values[known]))
    return tuple(found)


def _of_prefix(table: Table, x: Numbers, prefix: str) -> tuple[Curve, ...]:
    """The columns whose names begin with a prefix, over `x`."""
    found = []
    for name in table.columns:
        if name.startswith(prefix) and table.column(name) is not None:
            known = table.known[name] & np.isfinite(x)
            found.append(_sorted(name.removeprefix(prefix), x[known], table.columns[name][known]))
    return tuple(curve for curve in found[:MOST_CURVES] if curve.x.size)


def _sorted(name: str, x: Numbers, y: Numbers) -> Curve:
    order = np.argsort(x, kind="stable")
    return Curve(name, x[order], y[order])


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


def _by_steps(run: RunFolder) -> bool:
    steps, epochs = run.steps.column("step"), run.results.column("epoch")
    if steps is None or not _only_finite(steps).size:
        return False
    return epochs is None or set(_only_finite(epochs).tolist()) <= set(_ends(run))


def _only_finite(values: Numbers) -> Numbers:
    return values[np.isfinite(values)]


def shape(chart: Chart, axis: Axis, marks: Sequence[Mark] = ()) -> dict[str, Any] | None:
    """A chart for `chart.html.j2`; None if no curve has a point."""
    curves = [curve for curve in chart.curves if curve.x.size]
    if not curves:
        return None
    scale = fitting(np.concatenate([curve.y for curve in curves]))
    drawn = [_curve_shape(c, c.style or 1 + number % 6, axis, scale, chart.noisy) for number, c in enumerate(curves)]
    gaps = _gaps(curves, axis)
    return {
        "key": chart.key,
        "title": chart.title,
        "log": scale.log,
        "axis": axis.name,
        "says": f"{chart.title} by {axis.name}. " + " ".join(curve["says"] for curve in drawn),
        "curves": drawn,
        "ys": [{"at": round(100 * height, 2), "text": text} for height, text in scale.ticks],
        "xs": axis.ticks(),
        "gaps": gaps,
        "marks": joined_marks(marks, axis),
        "data": {
            "key": chart.key,
            "low": axis.low,
            "high": axis.high,
            "curves": [_data(curve, scale) for curve in curves],
        },
    }


def joined_marks(marks: Sequence[Mark], axis: Axis) -> list[dict[str, Any]]:
    """Marks for the template; those that would overlap are one, with the worst level among them."""
    groups: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda m: m.x):
        if groups and axis.share(mark.x) - axis.share(groups[-1][0].x) < 3 * NEAR:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return [
        {
            "at": round(100 * axis.share(group[0].x), 2),
            "text": group[0].number if len({m.number for m in group}) == 1 else f"{group[0].number}+",
            "level": min((m.level for m in group), key=WORST_FIRST.index),
            "words": "; ".join(dict.fromkeys(m.words for m in group[:3])) + (" …" if len(group) > 3 else ""),
            "link": group[0].link,
        }
        for group in groups
    ]


def kept(y: Numbers) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Indices of the points to draw: both ends, and of each part the smallest, largest and first non-finite one."""
    if y.size <= POINTS:
        return np.arange(y.size)
    chosen = [0, y.size - 1]
    for part in np.array_split(np.arange(y.size), POINTS // 3):
        values = y[part]
        good = np.isfinite(values)
        if good.any():
            inside = part[good]
            chosen += [int(inside[values[good].argmin()]), int(inside[values[good].argmax()])]
        if not good.all():
            chosen.append(int(part[~good][0]))
    return np.unique(chosen)


def _curve_shape(curve: Curve, style: int, axis: Axis, scale: Scale, noisy: bool) -> dict[str, Any]:
    """One curve for the template: its paths, its entry in the legend, and its description."""
    across, heights = axis.shares(curve.x), scale.heights(curve.y)
    index = kept(curve.y)
    finite = curve.y[np.isfinite(curve.y)]
    bad = curve.y.size - finite.size
    smooth = ""
    if noisy and finite.size > SMOOTHED:
        mean = _running_mean(heights, max(5, curve.y.size // 60))
        few = np.unique(np.linspace(0, curve.y.size - 1, 400).astype(int))
        smooth = path(across[few], np.where(np.isfinite(curve.y[few]), mean[few], np.nan))
    range_said = f"{figure(float(finite[0]))} → {figure(float(finite[-1]))}" if finite.size else "never finite"
    lost = f", {bad} not finite" if bad and finite.size else ""
    says = f"{curve.name}: never finite."
    if finite.size:
        ends = f"{figure(float(finite[0]))} at the start, {figure(float(finite[-1]))} at the end"
        says = f"{curve.name}: {ends}, between {figure(float(finite.min()))} and {figure(float(finite.max()))}{lost}."
    return {
        "name": curve.name,
        "style": style,
        "range": range_said + lost,
        "says": says,
        "path": path(across[index], np.where(np.isfinite(curve.y[index]), heights[index], np.nan)),
        "smooth": smooth,
        "dots": dots(across, heights) if curve.y.size <= DOTTED else "",
    }


def path(across: Numbers, heights: Numbers) -> str:
    """The SVG path of points, given as shares of width and height; interrupted where a height is NaN."""
    good = np.isfinite(heights)
    px = np.rint(across * WIDTH).astype(int)
    py = np.rint((1 - np.where(good, heights, 0.0)) * HEIGHT).astype(int)
    parts: list[str] = []
    last: tuple[int, int] | None = None
    for x, y, is_good in zip(px.tolist(), py.tolist(), good.tolist(), strict=True):
        if not is_good:
            last = None
        elif last is None:
            parts.append(f"M{x} {y}h0")
            last = (x, y)
        else:
            parts.append(f"l{x - last[0]} {y - last[1]}")
            last = (x, y)
    return "".join(parts)


def dots(across: Numbers, heights: Numbers) -> str:
    """An SVG path with one dot for each point, made visible by round line ends."""
    good = np.isfinite(heights)
    px, py = np.rint(across[good] * WIDTH).astype(int), np.rint((1 - heights[good]) * HEIGHT).astype(int)
    return "".join(f"M{x} {y}h0" for x, y in zip(px.tolist(), py.tolist(), strict=True))


def _running_mean(heights: Numbers, window: int) -> Numbers:
    """The mean of the finite heights in a window around each point."""
    good = np.isfinite(heights)
    sums = np.concatenate([[0.0], np.cumsum(np.where(good, heights, 0.0))])
    counts = np.concatenate([[0], np.cumsum(good)])
    place_on = np.arange(heights.size)
    low, high = np.maximum(place_on - window // 2, 0), np.minimum(place_on + window // 2 + 1, heights.size)
    return np.asarray((sums[high] - sums[low]) / np.maximum(counts[high] - counts[low], 1), np.float64)


def _gaps(curves: Sequence[Curve], axis: Axis) -> list[dict[str, Any]]:
    """Where curves are not finite: position and width in percent, and their names."""
    spans: list[tuple[float, float, str]] = []
    for curve in curves:
        bad = np.flatnonzero(~np.isfinite(curve.y))
        for run in np.split(bad, np.flatnonzero(np.diff(bad) > 1) + 1) if bad.size else ():
            word = figure(float(curve.y[run[0]]))
            spans.append((axis.share(curve.x[run[0]]), axis.share(curve.x[run[-1]]), f"{curve.name} {word}"))
    groups: list[tuple[float, float, list[str]]] = []
    for low, high, word in sorted(spans):
        if groups and low - groups[-1][1] < NEAR:
            groups[-1] = (groups[-1][0], max(high, groups[-1][1]), [*groups[-1][2], word])
        else:
            groups.append((low, high, [word]))
    return [
        {"at": round(100 * low, 2), "width": round(100 * (high - low), 2), "words": ", ".join(dict.fromkeys(words))}
        for low, high, words in groups
    ]


def _data(curve: Curve, scale: Scale) -> dict[str, Any]:
    """What hovering shows: name, positions, values, heights in percent."""
    index = kept(curve.y)
    values, heights = curve.y[index], scale.heights(curve.y[index])
    return {
        "name": curve.name,
        "x": [round(float(x), 3) for x in curve.x[index]],
        "y": [float(f"{v:.5g}") if np.isfinite(v) else figure(float(v)) for v in values],
        "h": [round(100 * float(h), 1) if np.isfinite(v) else None for v, h in zip(values, heights, strict=True)],
    }
