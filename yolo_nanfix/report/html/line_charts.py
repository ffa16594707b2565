"""Line charts as shapes for `chart.html.j2`: drawn here, so that they stand in print and without scripts.

The curves are one SVG that stretches with the page (`preserveAspectRatio="none"`, strokes that do not scale); numbers
and marks stand over it as text of the page, so that they can be read on a phone. Positions are in percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yolo_nanfix.report.html.scales import Scale, figure, fitting, grouped, whole_ticks
from yolo_nanfix.run_folder.csv_tables import Numbers

WIDTH, HEIGHT = 2000, 600
POINTS = 1500
"""About so many points of a curve are drawn and can be hovered; the smallest and largest values are among them."""
SMOOTHED = 200
"""Noisy curves of more points are drawn thinly, with their running mean over them."""
DOTTED = 60
"""Curves of at most so many points have a dot at each."""
NEAR = 0.006
"""Gaps nearer than this share of the width are joined, and marks nearer than three times of it."""


@dataclass(frozen=True)
class Curve:
    """One curve: `x` increasing, `y` of the same length, NaN or Inf where the value was."""

    name: str
    x: Numbers
    y: Numbers
    style: int = 0
    """Which colour and dash; 0 for that of its place in the chart."""


@dataclass(frozen=True)
class Mark:
    """An event on the curves: where, the number it has in the list of events, how bad, and what to say of it."""

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
        curves: those without any point are left out.
        noisy: whether long curves are drawn thinly, with their running mean over them.
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
        epochs: pairs of a step and the epoch that ends with it, for what hovering says.
    """

    low: float
    high: float
    name: str
    epochs: tuple[tuple[float, int], ...] = field(default=())

    def shares(self, x: Numbers) -> Numbers:
        """Positions from 0 to 1."""
        return np.clip((x - self.low) / max(self.high - self.low, 1e-9), 0.0, 1.0)

    def share(self, x: float) -> float:
        """One position."""
        return float(self.shares(np.array([x]))[0])

    def ticks(self) -> list[dict[str, Any]]:
        """Positions in percent and texts."""
        return [{"at": round(100 * self.share(n), 2), "text": grouped(n)} for n in whole_ticks(self.low, self.high)]


def shape(chart: Chart, axis: Axis, marks: Sequence[Mark] = ()) -> dict[str, Any] | None:
    """A chart as `chart.html.j2` draws it; None if no curve has a point."""
    curves = [curve for curve in chart.curves if curve.x.size]
    if not curves:
        return None
    scale = fitting(np.concatenate([curve.y for curve in curves]))
    drawn = [_drawn(c, c.style or 1 + number % 6, axis, scale, chart.noisy) for number, c in enumerate(curves)]
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
        "marks": joined(marks, axis),
        "data": {
            "key": chart.key,
            "low": axis.low,
            "high": axis.high,
            "curves": [_data(curve, scale) for curve in curves],
        },
    }


def joined(marks: Sequence[Mark], axis: Axis) -> list[dict[str, Any]]:
    """Marks as they are drawn: those that would hide each other as one, with the worst level among them."""
    groups: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda m: m.x):
        if groups and axis.share(mark.x) - axis.share(groups[-1][0].x) < 3 * NEAR:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    levels = ("fatal", "error", "warning", "info")
    return [
        {
            "at": round(100 * axis.share(group[0].x), 2),
            "text": group[0].number if len({m.number for m in group}) == 1 else f"{group[0].number}+",
            "level": min((m.level for m in group), key=levels.index),
            "words": "; ".join(dict.fromkeys(m.words for m in group[:3])) + (" …" if len(group) > 3 else ""),
            "link": group[0].link,
        }
        for group in groups
    ]


def kept(y: Numbers) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Indices of the points that are drawn: of each stretch its first, smallest, largest and first not finite one."""
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


def _drawn(curve: Curve, style: int, axis: Axis, scale: Scale, noisy: bool) -> dict[str, Any]:
    """The paths of one curve, its entry in the legend, and what is said of it."""
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
    """The SVG path of points given by their shares of width and height; it breaks where a height is NaN."""
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
    """An SVG path of one point each, which round line ends make visible."""
    good = np.isfinite(heights)
    px, py = np.rint(across[good] * WIDTH).astype(int), np.rint((1 - heights[good]) * HEIGHT).astype(int)
    return "".join(f"M{x} {y}h0" for x, y in zip(px.tolist(), py.tolist(), strict=True))


def _running_mean(heights: Numbers, window: int) -> Numbers:
    """The mean of the finite heights in a window around each point."""
    good = np.isfinite(heights)
    sums = np.concatenate([[0.0], np.cumsum(np.where(good, heights, 0.0))])
    counts = np.concatenate([[0], np.cumsum(good)])
    place = np.arange(heights.size)
    low, high = np.maximum(place - window // 2, 0), np.minimum(place + window // 2 + 1, heights.size)
    return np.asarray((sums[high] - sums[low]) / np.maximum(counts[high] - counts[low], 1), np.float64)


def _gaps(curves: Sequence[Curve], axis: Axis) -> list[dict[str, Any]]:
    """Where curves are not finite: position and width in percent, and which they are."""
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
    """What hovering shows: names, positions, values as texts, heights in percent."""
    index = kept(curve.y)
    values, heights = curve.y[index], scale.heights(curve.y[index])
    return {
        "name": curve.name,
        "x": [round(float(x), 3) for x in curve.x[index]],
        "y": [float(f"{v:.5g}") if np.isfinite(v) else figure(float(v)) for v in values],
        "h": [round(100 * float(h), 1) if np.isfinite(v) else None for v, h in zip(values, heights, strict=True)],
    }
