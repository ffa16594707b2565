"""Intervals: known values, coverage in a simulation, no difference between equal arms, a difference where one is."""

from __future__ import annotations

import math

import bench_intervals
import numpy as np
import pytest

from yolo_nanfix.finetune.statistics import Source, over_both, over_folds, over_images, over_seeds


def mean(values: np.ndarray):
    return lambda rows: float(values[rows].mean())


def test_the_bootstrap_of_a_mean_is_its_known_interval():
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = over_images(mean(values), 400)
    error = values.std(ddof=1) / 20
    assert found.estimate == values.mean() and found.source is Source.IMAGES and found.count == 400
    assert found.error == pytest.approx(error, rel=0.1)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert over_images(mean(values), 400) == found, "the same numbers each time"


def test_images_of_one_group_count_once():
    values = np.random.default_rng(4).normal(0.0, 1.0, 50)
    tripled = np.repeat(values, 3)
    grouped = over_images(mean(tripled), 150, np.repeat(np.arange(50), 3))
    alone, apart = over_images(mean(values), 50), over_images(mean(tripled), 150)
    assert grouped.count == 50 and grouped.error == pytest.approx(alone.error, rel=1e-9)
    assert apart.error < 0.65 * grouped.error, "as if there were three times the evidence"


@pytest.mark.parametrize(("count", "groups"), [(1, None), (3, [7, 7, 7])])
def test_one_independent_image_has_no_interval(count, groups):
    with pytest.raises(ValueError, match="needs 2 independent images, not 1"):
        over_images(mean(np.zeros(3)), count, groups)


def test_seeds_and_folds_have_students_interval():
    found = over_seeds([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)  # t with 2 degrees of freedom, at 0.975
    assert (found.low, found.high) == (pytest.approx(2 - half), pytest.approx(2 + half)) and found.count == 3
    folds = over_folds([1.0, 2.0, 3.0])
    assert folds.error == pytest.approx(math.sqrt(1 / 3 + 1 / 2)) and folds.source is Source.FOLDS
    one = over_seeds([1.0])
    assert math.isnan(one.low) and one.differs is False and one.as_dict()["low"] is None


def test_both_adds_variances():
    images = over_images(mean(np.random.default_rng(5).normal(0, 1, 100)), 100)
    seeds = over_seeds([0.1, 0.3, 0.2])
    both = over_both(images, seeds)
    assert both.error == pytest.approx(math.hypot(images.error, seeds.error)) and both.source is Source.BOTH
    assert both.high - both.low > 2 * 1.95 * both.error


@pytest.mark.parametrize(
    ("values", "differs"), [([0.1, 0.11, 0.12], True), ([-0.01, 0.11, 0.02], False), ([0, 0, 0], False)]
)
def test_only_an_interval_without_zero_is_a_difference(values, differs):
    assert over_seeds(values).differs is differs


def simulate(runs: int, gain: float) -> tuple[int, int]:
    """Of so many simulations: intervals that hold the truth, and comparisons of two arms that see a difference."""
    rng = np.random.default_rng(0)
    truth = bench_intervals.detect(rng, bench_intervals.images(rng, 2000), 0.5).map()
    inside = different = 0
    for number in range(runs):
        labels = bench_intervals.images(rng, 60)
        first, second = ([bench_intervals.detect(rng, labels, s) for _ in range(3)] for s in (0.5, 0.5 + gain))
        found = over_images(first[0].map, 60, resamples=60, seed=number)
        inside += found.low <= truth <= found.high

        def difference(rows, pair=(first, second)):
            return float(np.mean([b.map(rows) - a.map(rows) for a, b in zip(*pair, strict=True)]))

        of_seeds = over_seeds([b.map() - a.map() for a, b in zip(first, second, strict=True)])
        different += over_both(over_images(difference, 60, resamples=60, seed=number), of_seeds).differs
    return inside, different


def test_intervals_hold_the_truth_and_equal_arms_do_not_differ():
    inside, different = simulate(12, 0.0)
    assert inside >= 10 and different <= 1


def test_a_better_arm_is_seen():
    assert simulate(3, 1.0)[1] == 3
