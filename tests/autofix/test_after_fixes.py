"""After any fix: nothing is found that was not found before, and Ultralytics keeps as many right rows as before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from autofix.faulty_sets import make, places
from autofix.test_fix import snapshot

import yolo_nanfix

SHARES = (0.1, 0.3, 0.8)
"""Of the label files that have a defect."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_fixes_only_ever_make_a_set_better(tmp_path: Path, task: str, seed: int):
    faulty = make(tmp_path / "set", task, seed, SHARES[seed % 3])
    before, right, background = snapshot(tmp_path), faulty.right(), faulty.background()
    gained = Counter[bool]()
    for unsafe in (False, True):
        report = yolo_nanfix.lint(faulty.root, task=task, settings=False)
        fixed = yolo_nanfix.fix(report, unsafe=unsafe)
        again = yolo_nanfix.lint(faulty.root, task=task, settings=False)
        assert places(again) - places(report) == set()
        assert faulty.background() <= background and fixed.background == 0
        gained[unsafe] = faulty.right() - right
        if fixed.files:
            yolo_nanfix.undo(faulty.root)
        assert snapshot(tmp_path) == before
    assert 0 <= gained[False] <= gained[True] and gained[True] > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_set_that_is_counted_from_one_is_fixed_step_by_step(tmp_path: Path, seed: int):
    """First the numbers, with nothing else; then the rest."""
    faulty = make(tmp_path / "set", "detect", seed, 0.2, first=1)
    before, background = snapshot(tmp_path), faulty.background()
    right, runs = [faulty.right()], 0
    for _ in range(2):
        report = yolo_nanfix.lint(faulty.root, task="detect", settings=False)
        fixed = yolo_nanfix.fix(report, unsafe=True)
        runs += bool(fixed.files)
        again = yolo_nanfix.lint(faulty.root, task="detect", settings=False)
        assert places(again) - places(report) == set()
        assert faulty.background() <= background
        right.append(faulty.right())
    assert [f.code for f in fixed.done].count("CL010") == 0 and right == sorted(right) and right[1] > right[0]
    for _ in range(runs):
        yolo_nanfix.undo(faulty.root)
    assert snapshot(tmp_path) == before
