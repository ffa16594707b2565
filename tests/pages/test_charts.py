"""Charts as numbers: scales, what is drawn of long curves, where gaps and marks stand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_nanfix.report.html import charts
from yolo_nanfix.report.html.charts import Axis, Chart, Curve, Mark
from yolo_nanfix.report.words import compact, figure

STEPS = Axis(1.0, 10_000.0, "micro-batch")


def points(path: str) -> list[tuple[int, int]]:
    """The corners of a path as `charts.path` writes it, in absolute numbers."""
    found, x, y = [], 0, 0
    for letter, a, b in re.findall(r"([Ml])(-?\d+) (-?\d+)", path):
        x, y = (int(a), int(b)) if letter == "M" else (x + int(a), y + int(b))
        found.append((x, y))
    return found


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_every_finite_value_has_a_height_and_every_scale_has_ticks(values):
    numbers = np.array(values)
    scale = charts.fitting(numbers)
    heights = scale.heights(numbers)
    assert scale.low < scale.high
    assert ((heights[~np.isnan(numbers)] >= 0) & (heights[~np.isnan(numbers)] <= 1)).all()
    assert 2 <= len(scale.ticks) <= 12
    assert all(0 <= at <= 1.0001 and text for at, text in scale.ticks)


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([1.0, 2.0, 50.0], False),
        ([1e-4, 0.5, 300.0], True),
        ([0.0, 1e-3, 1e3], True),  # 0 stands at the lower edge
        ([-1.0, 1e-3, 1e6], False),
        ([5.0] * 99 + [1e15], True),
        ([0.0, 0.0], False),
    ],
)
def test_values_over_decades_get_a_logarithmic_scale(values, log):
    scale = charts.fitting(np.array(values))
    assert scale.log is log
    heights = scale.heights(np.array(values))
    assert (np.diff(heights[np.argsort(values)]) >= 0).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (1.23456, "1.235"), (14400, "14\u202f400"), (1.5e-7, "1.5e-7"), (3e15, "3e15"), (-0.25, "-0.25"),
        (float("nan"), "NaN"), (float("-inf"), "-Inf"), (999.96, "1000"),
    ],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert figure(value) == text


def test_large_numbers_beside_a_chart_have_a_letter():
    assert [compact(v) for v in (50_000, 2.5e6, 12, 65_536)] == ["50k", "2.5M", "12", "65.54k"]


def test_a_long_curve_keeps_its_peaks_and_its_gaps():
    x, y = np.arange(1.0, 10_001), np.sin(np.arange(10_000) / 300)
    y[4321], y[777], y[6000:6003] = 9.0, -9.0, np.nan
    drawn = charts.shape(Chart("a", "A", (Curve("a", x, y),)), STEPS)
    shown = drawn["data"]["curves"][0]
    assert len(shown["x"]) <= charts.POINTS + 2
    assert max(v for v in shown["y"] if v != "NaN") == 9.0 and min(v for v in shown["y"] if v != "NaN") == -9.0
    assert shown["x"][shown["y"].index(9.0)] == 4322
    corners = points(drawn["curves"][0]["path"])
    assert max(abs(y) for _, y in corners) <= charts.HEIGHT and max(x for x, _ in corners) == charts.WIDTH
    assert drawn["curves"][0]["path"].count("M") == 2  # it breaks once
    assert len(drawn["gaps"]) == 1 and drawn["gaps"][0]["words"] == "a NaN"
    assert drawn["gaps"][0]["at"] == pytest.approx(60, abs=0.1)
    assert drawn["curves"][0]["range"].endswith("3 not finite")


def test_a_path_goes_through_its_points():
    y = np.array([0.0, 0.5, np.nan, 1.0])
    assert charts.path(np.array([0.0, 0.25, 0.5, 1.0]), y) == "M0 600h0l500 -300M2000 0h0"
    assert charts.dots(np.array([0.0, 0.5]), np.array([0.0, np.nan])) == "M0 600h0"


def test_a_curve_that_was_never_finite_says_so():
    drawn = charts.shape(Chart("a", "A", (Curve("a", np.arange(3.0), np.full(3, np.inf)),)), Axis(0, 2, "epoch"))
    assert drawn["curves"][0]["range"] == "never finite" and drawn["curves"][0]["path"] == ""
    assert drawn["gaps"][0]["words"] == "a Inf" and "never finite" in drawn["says"]


def test_charts_without_points_are_left_out():
    assert charts.shape(Chart("a", "A", (Curve("a", np.array([]), np.array([])),)), STEPS) is None


def test_marks_that_would_hide_each_other_are_one_with_the_worst_level():
    marks = [Mark(5000 + i, str(i + 1), level, f"m{i}") for i, level in enumerate(["info", "fatal", "warning"])]
    joined = charts.joined_marks([*marks, Mark(9000, "4", "info", "late")], STEPS)
    assert [(m["text"], m["level"]) for m in joined] == [("1+", "fatal"), ("4", "info")]
    assert joined[0]["words"] == "m0; m1; m2"


@pytest.mark.parametrize(
    ("low", "high", "numbers"),
    [(1, 10_000, (2000, 4000, 6000, 8000, 10_000)), (1, 3, (1, 2, 3)), (5, 6, (5, 6))],
)
def test_whole_numbers_on_the_axis(low, high, numbers):
    assert [tick["text"].replace("\u202f", "") for tick in Axis(low, high, "epoch").ticks()] == [*map(str, numbers)]
