"""Intervals of a metric and of the difference between two arms: over images, over seeds, and over both.

The bootstrap and the quantiles of Student's t are scipy's. Two arms are compared on the same images (paired), since
the images of a validation set differ far more among each other than two trainings do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

LEVEL = 0.95
"""Confidence level of every interval."""
RESAMPLES = 1000
"""Samples of the bootstrap: with 1 000 an end of a 95 % interval has a Monte Carlo error of about 5 % of its width."""
FEWEST_IMAGES = 2
"""Of one image nothing can be said about others."""

Statistic = Callable[["np.ndarray"], float]
"""(n,) int64 positions of images, repeats allowed -> the metric on these images."""


class Source(Enum):
    """Which chance an interval covers."""

    IMAGES = "images"
    """The chance of another validation set like it, by the bootstrap over images (or groups of them)."""
    SEEDS = "seeds"
    """The chance of another seed, by Student's t."""
    FOLDS = "folds"
    """The chance of another dataset like it, by cross-validation, which validates each image once."""
    BOTH = "images and seeds"
    """The two variances added, by Student's t with the degrees of freedom after Satterthwaite (1946)."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes:
        estimate: on all images, averaged over seeds.
        low: lower end.
        high: upper end.
        error: standard error; the same unit.
        source: which chance it covers.
        count: images (or groups of them) seeds or folds that it comes from; of both, the seeds.
    """

    estimate: float
    low: float
    high: float
    error: float
    source: Source
    count: int

    @property
    def differs(self) -> bool:
        """Whether 0 lies outside, so that a difference is one."""
        return self.low > 0.0 or self.high < 0.0  # neither of an interval without ends

    def within(self, least: float, most: float) -> Interval:
        """The same with its ends inside the range of the metric."""
        return replace(self, low=max(self.low, least), high=min(self.high, most)) if math.isfinite(self.low) else self

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; NaN and infinity as None."""
        found = asdict(self) | {"source": self.source.value}
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in found.items()}


def over_images(
    statistic: Statistic, count: int, groups: Sequence[int] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The percentile bootstrap over images; over groups where images belong together.

    Args:
        statistic: the metric of a selection of images; may be a difference of two arms.
        count: number of images.
        groups: (count,) the group of each image, for images that are not independent: copies, frames of one recording.
        resamples: number of samples drawn.
        seed: of the random numbers, so that a result can be repeated.

    Raises:
        ValueError: there are fewer than two images or groups.
    """
    from scipy.stats import bootstrap  # type: ignore[import-untyped]

    members = [np.arange(1) + i for i in range(count)]
    if groups is not None:
        _, where = np.unique(np.asarray(groups), return_inverse=True)
        members = [np.flatnonzero(where == i) for i in range(where.max() + 1)] if count else []
    if len(members) < FEWEST_IMAGES:
        raise ValueError(f"an interval needs {FEWEST_IMAGES} independent images, not {len(members)}")

    def of(drawn: np.ndarray) -> float:
        return statistic(np.concatenate([members[i] for i in drawn]))

    found = bootstrap(
        (np.arange(len(members)),),
        of,
        n_resamples=resamples,
        vectorized=False,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = map(float, found.confidence_interval)
    everything = statistic(np.arange(count))
    return Interval(everything, low, high, float(found.standard_error), Source.IMAGES, len(members))


def over_seeds(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean of one value a seed; with one seed it has no ends (NaN).

    For a comparison the values are the differences of trainings with the same seed.
    """
    array = np.asarray(values, dtype=np.float64)
    error = float(array.std(ddof=1) / math.sqrt(len(array))) if len(array) > 1 else math.nan
    return _student(float(array.mean()), error, len(array) - 1, Source.SEEDS, len(array))


def over_folds(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean of one value a fold, for K folds of one dataset.

    Their trainings share images, so that the plain variance is too small; it is corrected after Nadeau and Bengio
    (2003, doi:10.1023/A:1024068626366): 1/K becomes 1/K + 1/(K - 1), the ratio of validated to trained images.
    """
    plain = over_seeds(values)
    wider = math.sqrt(1 + len(values) / (len(values) - 1)) if len(values) > 1 else math.nan
    return _student(plain.estimate, plain.error * wider, len(values) - 1, Source.FOLDS, len(values))


def over_both(images: Interval, seeds: Interval) -> Interval:
    """The interval for another validation set and other seeds: variances added, degrees of freedom after Satterthwaite.

    Args:
        images: of the mean over seeds, over images.
        seeds: of the same mean, over seeds. With one seed its variance is unknown, and the interval has no ends.
    """
    parts = ((images.error**2, images.count - 1), (seeds.error**2, seeds.count - 1))
    variance = sum(part for part, _ in parts)
    below = sum(part**2 / free for part, free in parts if free > 0)
    free = variance**2 / below if below > 0 else math.inf
    return _student(images.estimate, math.sqrt(variance), free, Source.BOTH, seeds.count)


def _student(estimate: float, error: float, free: float, source: Source, count: int) -> Interval:
    from scipy.stats import t

    if not math.isfinite(error):
        return Interval(estimate, math.nan, math.nan, math.nan, source, count)
    half = float(t.ppf((1 + LEVEL) / 2, free)) * error if error else 0.0
    return Interval(estimate, estimate - half, estimate + half, error, source, count)
