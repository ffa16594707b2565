"""Finite divergence: the windows, each shape of divergence, and heavy noise."""

from __future__ import annotations

import copy
import math
import random
import timeit
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_nanfix.guard.divergence import Alarm, Divergence, DivergenceLimits, Series, Window

NOT_FINITE = st.sampled_from([math.nan, math.inf, -math.inf])
LEVELS = st.floats(1e-3, 1e6)


def fed(losses=(), norms=(), limits=None):
    """A sensor that has seen these and found nothing wrong."""
    sensor = Divergence(limits)
    assert not [alarm for value in losses if (alarm := sensor.loss(value, 3))]
    assert not [alarm for value in norms if (alarm := sensor.step(value))]
    return sensor


def noisy(seed, count, level=30.0, spread=0.3):
    """Values around a level; their logarithms are uniform within +-spread, so no value is a surprise."""
    chance = random.Random(seed)
    return [level * math.exp(chance.uniform(-spread, spread)) for _ in range(count)]


def state(sensor):
    """Everything a sensor remembers, as plain values."""
    series = sensor._losses, sensor._norms
    return sensor._zeros, [(list(s.window._order), list(s.window._sorted), s.above, s.below) for s in series]


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=80), st.integers(1, 40))
def test_the_window_agrees_with_a_plain_sort(values, size):
    window = Window(size)
    for value in values:
        window.add(value)
    last = values[-size:]
    middle = sorted(last)[len(last) // 2]
    assert len(window) == len(last)
    assert window.median() == middle
    assert window.spread() == 1.4826 * sorted(abs(v - middle) for v in last)[len(last) // 2]


@given(st.integers(0, 1000), NOT_FINITE, st.integers(0, 30))
def test_what_is_not_finite_changes_nothing(seed, bad, before):
    sensor = fed(noisy(seed, before), noisy(seed + 1, before))
    seen = copy.deepcopy(state(sensor))
    assert [sensor.loss(bad, 3), sensor.step(bad), sensor.step(None)] == [None] * 3
    assert [sensor.ratio(bad, 1.0, 50), sensor.ratio(1.0, bad, 50)] == [None] * 2
    assert state(sensor) == seen


@given(st.integers(0, 1000), NOT_FINITE)
def test_a_stretch_of_nan_does_not_disarm_the_sensor(seed, bad):
    sensor = fed(noisy(seed, 30))
    for _ in range(500):
        sensor.loss(bad, 3)
    assert [sensor.loss(30e5, 3).kind] == ["loss-explosion"]


@given(st.integers(0, 1000), LEVELS, st.lists(st.floats(-12, 12), max_size=60))
def test_the_unit_of_loss_and_norm_does_not_matter(seed, factor, logarithms):
    """A batch size, a gain or an accumulation that multiplies all values leaves every alarm as it is."""
    values = [math.exp(x) for x in logarithms] + noisy(seed, 20)
    plain, scaled = Divergence(), Divergence()
    kinds = [[(a.kind, a.severe) if a else None for a in (s.loss(v * f, 3), s.step(v * f))] for v in values for s, f in
             ((plain, 1.0), (scaled, 2.0 ** round(math.log2(factor))))]  # fmt: skip
    assert kinds[::2] == kinds[1::2]


@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.floats(0.5, 2.0), st.floats(-3.0, 3.0))
def test_healthy_noise_never_alarms(seed, spread, jump, first):
    """From scratch (the first values far off), a fall to a tenth, a level that jumps when mosaic closes, wild norms."""
    chance = random.Random(seed)
    sensor = Divergence()
    alarms = []
    for step in range(240):
        level = 60 * math.exp(-2.3 * step / 240 + first * max(0.0, 1 - step / 6)) * (jump if step > 180 else 1.0)
        targets = chance.choice((0, 1, 5))
        alarms.append(sensor.loss(level * math.exp(chance.uniform(-spread, spread)), targets))
        alarms.append(sensor.step(level * math.exp(chance.uniform(-spread, spread)) if step % 7 else None))
        alarms.append(sensor.ratio(0.4 * chance.random(), 1.0, 50) if step % 50 == 49 else None)
    assert not any(alarms)


@given(st.integers(0, 1000), st.floats(0.1, 0.3), st.floats(40, 1e6))
def test_a_loss_that_stays_high_is_severe_at_the_third(seed, spread, factor):
    sensor = fed(noisy(seed, 40, spread=spread))
    alarms = [sensor.loss(v * factor, 3) for v in noisy(seed, 3, spread=spread)]
    assert alarms[-1].kind == "loss-explosion" and alarms[-1].severe


def test_one_spike_is_no_reason_to_roll_back():
    sensor = fed([30.0] * 20, [200.0] * 20)
    alarm = sensor.loss(9e3, 3)
    values = {"value": 9e3, "above": pytest.approx(300), "times": 1}
    assert alarm == Alarm("loss-spike", alarm.says, values, severe=False)
    alarm = sensor.step(6e4)
    values = {"value": 6e4, "above": pytest.approx(300), "times": 1}
    assert alarm == Alarm("gradient-explosion", alarm.says, values, severe=False)
    assert sensor.loss(30.0, 3) is None and sensor.step(200.0) is None
    assert sensor.loss(900.0, 3) is None, "30 times the median is a healthy outlier"
    assert sensor.loss(9e3, 3).severe is False, "two in a row are no trend yet"


def test_one_value_ten_thousand_times_too_high_is_severe():
    sensor = fed([30.0] * 20, [200.0] * 20)
    alarm = sensor.loss(3.3e5, 3)
    assert alarm == Alarm(
        "loss-explosion", alarm.says, {"value": 3.3e5, "above": pytest.approx(1.1e4), "times": 1}, severe=True
    )
    assert sensor.step(2.1e6).severe


@pytest.mark.parametrize("dead", [0.0, 1e-12, 0.02])
def test_a_loss_that_collapses_alarms_at_the_third_labelled_batch(dead):
    sensor = fed([60.0] * 12)
    alarms = [sensor.loss(dead, targets) for targets in (4, 0, 2, 0, 9)]
    assert [a is not None for a in alarms] == [False, False, False, False, True]
    assert alarms[-1].kind == "loss-zero" and alarms[-1].severe
    assert alarms[-1].values["times"] == 3


def test_a_run_that_is_dead_from_the_start_alarms_without_a_window():
    sensor = Divergence()
    assert [sensor.loss(0.0, 4) is not None for _ in range(3)] == [False, False, True]


def test_background_alone_may_have_any_loss():
    sensor = fed([30.0] * 20)
    assert not [a for v in (0.0, 0.0, 0.0, 1e9, 1e9, 1e9) if (a := sensor.loss(v, 0))]


def test_a_loss_that_overfits_slowly_to_nothing_is_healthy():
    """A classifier's cross entropy may fall for ever; what gives a collapse away is the jump."""
    fed([math.exp(-step / 30) for step in range(560)])


def test_negative_losses_are_left_alone():
    """A log-likelihood, as YOLO26's keypoint loss holds, may be below 0."""
    fed([-1.0, 30.0, -5.0] * 20)


@pytest.mark.parametrize("steps", [1, 5, 10, 50, 500])
def test_weights_that_moved_too_far(steps):
    limits = DivergenceLimits()
    limit = limits.ratio * math.sqrt(min(steps, 50) / 50)
    assert Divergence().ratio(0.999 * limit * 7, 7.0, steps) is None
    alarm = Divergence().ratio(1.001 * limit * 7, 7.0, steps)
    assert alarm.kind == "update-ratio" and alarm.severe and alarm.values["steps"] == steps
    assert Divergence().ratio(1.0, 0.0, steps) is None and Divergence().ratio(1.0, 1.0, 0) is None


def test_reset_forgets_the_run():
    sensor = fed([30.0] * 40, [9.0] * 40)
    sensor.reset()
    assert state(sensor) == state(Divergence())
    assert sensor.loss(30e6, 3) is None, "a new window has to fill first"


def test_a_call_is_cheap():
    sensor = fed(noisy(0, 100), noisy(1, 100))
    values = iter(noisy(2, 2000) * 5)
    seconds = min(timeit.repeat(lambda: sensor.loss(next(values), 3), number=500, repeat=5)) / 500
    assert seconds < 200e-6, f"{seconds * 1e6:.0f} microseconds a call"  # 2 measured; ten times slower is a defect


@pytest.mark.parametrize(("seen", "kind"), [(7, None), (8, "loss-explosion")])
def test_values_are_judged_from_the_ninth_on(seen, kind):
    alarm = fed([30.0] * seen).loss(30e5, 3)
    assert (alarm and alarm.kind) == kind


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([9.9] * 3, [None] * 3),
        ([10.1] * 3, [None, None, ("loss-explosion", True)]),
        ([99.0], [None]),
        ([101.0], [("loss-spike", False)]),
        ([9_900.0], [("loss-spike", False)]),
        ([10_100.0], [("loss-explosion", True)]),
        ([1 / 990] * 3, [None] * 3),
        ([1 / 1010] * 3, [None, None, ("loss-zero", True)]),
        ([1e-9, 1e-9], [None] * 2),
        ([0.99e-9] * 3, [None, None, ("loss-zero", True)]),
    ],
)
def test_how_far_from_the_median_a_loss_has_to_be(values, told):
    sensor = fed([1.0] * 20)
    alarms = [sensor.loss(value, 1) for value in values]
    assert [alarm and (alarm.kind, alarm.severe) for alarm in alarms] == told


AT_ONE = DivergenceLimits(high=0.5, spreads=4.0, in_a_row=3)
"""Far is more than e times the median, for the spread counts as a quarter at least."""


@pytest.mark.parametrize(
    ("limits", "logarithm", "told"),
    [
        (AT_ONE, 1.0, (0, 0)),
        (AT_ONE, 1.01, (1, 0)),
        (replace(AT_ONE, high=1.0, spreads=0.0), 1.0, (0, 0)),
        (replace(AT_ONE, high=1.0, spreads=0.0), 1.01, (1, 0)),
        (replace(AT_ONE, spreads=0.0, collapse=1.0), -1.0, (0, 0)),
        (replace(AT_ONE, spreads=0.0, collapse=1.0), -1.01, (0, 1)),
        (replace(AT_ONE, collapse=0.75), -1.0, (0, 0)),
    ],
)
def test_what_lies_at_a_limit_is_not_beyond_it(limits, logarithm, told):
    series = Series(limits)
    for value in [1.0] * 8 + [math.exp(logarithm)]:
        series.judge(value)
    assert (series.above, series.below) == told


@pytest.mark.parametrize(
    ("spike", "explosion", "logarithm", "severe"),
    [(1.0, 9.0, 1.0, None), (1.0, 9.0, 1.01, False), (0.5, 1.0, 1.0, False), (0.5, 1.0, 1.01, True)],
)
def test_a_spike_and_an_explosion_are_more_than_their_limits(spike, explosion, logarithm, severe):
    limits = DivergenceLimits(high=0.5, spreads=0.0, spike=spike, explosion=explosion)
    alarm = fed([1.0] * 8, limits=limits).loss(math.exp(logarithm), 1)
    assert (alarm and alarm.severe) is severe


def test_in_a_window_of_far_values_nothing_is_an_explosion():
    """Their median absolute deviation is 3, so that six spreads are 27."""
    assert fed([math.exp(3.0 * (i % 2)) for i in range(20)]).loss(math.exp(13.0), 1) is None


@pytest.mark.parametrize(("loss", "zero", "told"), [(1e-9, 1e-9, False), (9e-10, 1e-9, True), (0.0, 0.0, False)])
def test_a_loss_under_the_least_one_is_dead(loss, zero, told):
    sensor = Divergence(DivergenceLimits(zero=zero))
    assert [sensor.loss(loss, 1) is not None for _ in range(3)] == [False, False, told]


def test_weights_may_move_by_twice_their_norm():
    assert Divergence().ratio(2.0, 1.0, 50) is None


@pytest.mark.parametrize(("value", "targets", "judged"), [(0.0, 0, False), (0.0, 1, True), (-1.0, 1, False)])
def test_a_loss_is_judged_with_one_label_and_not_below_zero(value, targets, judged):
    sensor = Divergence()
    alarms = [sensor.loss(value, targets) for _ in range(3)]
    assert (alarms[-1] is not None) is judged


def test_a_gradient_norm_of_zero_is_none():
    sensor = Divergence()
    assert [sensor.step(0.0), sensor.step(-1.0), sensor.step(0.5)] == [None] * 3
    assert len(sensor._norms.window) == 1


@pytest.mark.parametrize(("size", "steps", "told"), [(0.0, 5, False), (0.5, 5, True), (0.5, 0, False), (0.5, 1, True)])
def test_weights_without_a_norm_and_no_steps_tell_nothing(size, steps, told):
    assert (Divergence().ratio(50.0, size, steps) is not None) is told
