"""Metrics with intervals in a terminal of 80 columns: whole numbers, names as they are, the sentence of the outcome."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from yolo_nanfix.report import intervals, trial_text


def of(estimate: float, low: float | None, high: float | None) -> dict:
    return {"estimate": estimate, "low": low, "high": high}


def shown(render, told: dict, **options) -> str:
    out = io.StringIO()
    render(told, Console(file=out, width=80, highlight=False, soft_wrap=True, emoji=False), **options)
    return out.getvalue()


def bench(difference: dict, differs: bool) -> dict:
    arms = [
        {
            "name": name,
            "repeats": [
                {"name": "seed0", "map": 0.2591, "reasons": []},
                {"name": "seed1", "map": 0.3, "reasons": ["3 of 4 dropped"]},
            ],
            "cpu_seconds": 61.4,
        }
        for name in ("stock", "[red]own")
    ]
    row = {
        "metric": "mAP50-95",
        "arms": [of(0.2591, 0.1762, 0.3691), of(0.2681, 0.1894, 0.3994)],
        "difference": difference,
    }
    return {"arms": arms, "repeats": "seeds", "metrics": [row], "differs": differs, "out": "runs/bench"}


def test_three_intervals_fit_80_columns_and_names_are_no_markup():
    text = shown(intervals.render_bench, bench(of(0.009, -0.0991, 0.1174), False))
    assert "0.259 [0.176, 0.369]" in text and "0.268 [0.189, 0.399]" in text and "0.009 [-0.099, 0.117]" in text
    assert "[red]own - stock" in text and "2 seeds" in text and "seed0 0.259, seed1 0.300; 61 s of CPU" in text
    assert "stock seed1 is not healthy: 3 of 4 dropped" in text and "seed0 is not" not in text
    assert "do not differ" in text and max(map(len, text.split("\n")[:3])) <= 80


@pytest.mark.parametrize(
    ("difference", "differs", "says"),
    [
        (of(0.05, 0.01, 0.09), True, "[red]own is better than stock by 0.050"),
        (of(-0.05, -0.09, -0.01), True, "stock is better than [red]own by 0.050"),
        (of(0.05, None, None), False, "cannot tell"),
    ],
)
def test_the_outcome_of_two_arms(difference, differs, says):
    assert says in intervals.outcome(bench(difference, differs))


def test_a_score_shows_the_honest_figure_and_an_image_of_each_side():
    figure = {"map": of(0.5, 0.4, 0.6), "map50": of(0.7, 0.6, 0.8), "images": 40, "objects": 44}
    honest = {"map": None, "map50": None, "images": 1, "objects": 1}
    told = {
        "kind": "B",
        "whole": figure,
        "honest": honest,
        "old": None,
        "per_class": {"a": 0.4, "[b]": 0.2},
        "left_out": ["v/x.jpg"],
    }
    text = shown(intervals.render_score, {**told, "seen": {"val/a[1].jpg": "train/b.jpg"}})
    assert (
        "0.500 [0.400, 0.600]" in text
        and "1 image belongs" in text
        and "val/a[1].jpg" in text
        and "1, such as v/x.jpg" in text
    )
    assert text.index("[b]") < text.rindex("0.400") and "boxes" in text
    assert shown(intervals.render_score, {**told, "honest": None, "seen": {}}, quiet=True) == "0.500 [0.400, 0.600]\n"


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        ("winner", "Recipe [red]own is better than stock by 0.010 to 0.090"),
        ("stock-is-better", "Stock is better"),
        ("no-difference", "No difference seen"),
        ("too-short", "Not enough time"),
    ],
)
def test_the_outcome_of_a_trial(ending, says):
    rounds = [{"seed": 0, "recipes": ["stock", "[red]own", "b"], "means": {"stock": 0.1, "[red]own": 0.2, "b": 0.05}}]
    rounds.append({"seed": 1, "recipes": ["stock", "[red]own"], "means": {"stock": 0.12, "[red]own": 0.25}})
    told = {"ending": ending, "recipe": "stock", "best": "[red]own", "rounds": rounds, "cpu_seconds": 90.0, "epochs": 3}
    text = shown(trial_text.render, {**told, "final": bench(of(0.05, 0.01, 0.09), True), "out": "runs/trial"})
    assert says in text and "1.5 minutes of CPU" in text
    assert trial_text.rows(told) == [("0", "0.100", "0.200", "0.050"), ("1", "0.120", "0.250", "-")]
