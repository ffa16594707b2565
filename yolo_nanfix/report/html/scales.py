"""Vertical scales of charts: linear or logarithmic, with ticks at round numbers; and numbers as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from yolo_nanfix.run_folder.csv_tables import Numbers

DECADES = 100.0
"""Positive values whose largest is so many times the small ones are shown on a logarithmic scale."""
SMALLEST, LARGEST = 1e-300, 1e300


@dataclass(frozen=True)
class Scale:
    """From values to heights.

    Attributes:
        low, high: the values at the lower and the upper edge.
        log: whether it is logarithmic; what is 0 then stands at the lower edge.
        ticks: pairs of height (0 at the lower edge, 1 at the upper) and text.
    """

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...] = ()

    def heights(self, values: Numbers) -> Numbers:
        """Heights from 0 to 1; what lies outside is put on the edge, NaN stays NaN."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            values = np.log10(np.clip(values, self.low, self.high))
        else:
            low, high = self.low, self.high
        return np.clip((np.clip(values, low, high) - low) / (high - low), 0.0, 1.0)


def fitting(values: Numbers) -> Scale:
    """The scale for values of which some may not be finite."""
    finite = np.clip(values[np.isfinite(values)], -LARGEST, LARGEST)
    if not finite.size:
        return _linear(0.0, 1.0)
    finite = np.where(np.abs(finite) < SMALLEST, 0.0, finite)
    positive = finite[finite > 0]
    if positive.size and finite.min() >= 0 and positive.max() > DECADES * _small(positive, 0.05):
        return _logarithmic(max(float(positive.min()), _small(positive, 0.01) / 100), float(positive.max()))
    return _linear(float(finite.min()), float(finite.max()))


def _small(positive: Numbers, share: float) -> float:
    """The value below which this share of the values lies; few outliers do not move it."""
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
    every = max(1, math.ceil((last - first) / 5))
    powers = range(first, last + 1, every)
    ticks = tuple(((power - first) / (last - first), compact(10.0**power)) for power in powers)
    return Scale(10.0**first, 10.0**last, True, ticks)


def _round_step(wanted: float) -> float:
    """1, 2 or 5 times a power of ten, not below what is wanted."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= wanted * 0.999)


def whole_ticks(low: float, high: float, about: int = 5) -> list[int]:
    """Round whole numbers from `low` to `high`, for horizontal axes."""
    step = max(1, round(_round_step(max(high - low, 1) / about)))
    first = math.ceil(low / step)
    found = [n * step for n in range(first, math.floor(high / step) + 1)]
    return found or [math.ceil(low)]


def figure(value: float) -> str:
    """A number in at most four digits: `0.01234`, `12.35`, `65 536`, `1.2e-7`, `NaN`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Inf" if value > 0 else "-Inf"
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-3:
        mantissa, _, power = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(power)}" if power else mantissa
    if size >= 1000:
        return grouped(round(value))
    return f"{value:.4g}"


def compact(value: float) -> str:
    """A number for the edge of a chart: `150k` and `2M` for large ones, else as `figure` gives it."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if unit <= abs(value) < 1000 * unit:
            return f"{value / unit:.4g}{letter}"
    return figure(value)


def grouped(value: int) -> str:
    """A whole number with narrow spaces between groups of three digits, which do not break."""
    return f"{value:,}".replace(",", "\u202f")
