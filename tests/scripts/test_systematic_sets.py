"""A part of the systematic errors and of the healthy sets that look like them; the script asks all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import systematic_sets

SOME = (
    ("axes swapped", "segment", "mixed"),
    ("axes swapped in train", "detect", "wide"),
    ("pixels", "obb", "wide"),
    ("pixels, corners", "pose", "mixed"),
    ("pixels, y before x", "detect", "large"),
    ("percent, upper left corner", "detect", "large"),
    ("corners", "pose", "square"),
    ("divided by the height everywhere", "obb", "mixed"),
    ("y before x", "detect", "wide"),
    ("turned in percent", "obb", "mixed"),
    ("turned, by stored sides", "obb", "phone"),
    ("turned, of stored pixels", "pose", "phone"),
    ("number second", "pose", "square"),
    ("no keypoints", "pose", "wide"),
    ("classes moved in val", "detect", "large"),
    ("confidence and at times a number behind", "obb", "wide"),
    ("at times a number behind", "segment", "wide"),
    ("confidence and number behind", "pose", "wide"),
)
HARD = (
    ("drawn out to the left and above", "detect", "wide"),
    ("drawn out to the right", "segment", "wide"),
    ("in the upper half, out to the right", "detect", "wide"),
    ("filling the image", "pose", "square"),
    ("three decimals", "segment", "phone"),
    ("kept whole in tiles", "detect", "mixed"),
)


def test_there_are_enough_sets():
    assert len(list(systematic_sets.cases(list(systematic_sets.KINDS)))) >= 60
    assert len(list(systematic_sets.hard_cases())) >= 60


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals and memories of lint stay in the folder of the test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("YOLO_NANFIX_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("name", "task", "shape"), SOME)
def test_the_cause_is_named_and_no_fix_loses_a_row(name: str, task: str, shape: str, tmp_path: Path):
    kind = systematic_sets.KINDS[name]
    outcome = systematic_sets.ask(tmp_path / "sets", kind, task, shape, "0")
    assert not outcome.faults, outcome
    assert outcome.rows[3] == 3 * (systematic_sets.TRAIN + systematic_sets.VAL)


@pytest.mark.parametrize(("name", "task", "shape"), HARD)
def test_healthy_sets_that_look_like_an_error_are_not_accused(name: str, task: str, shape: str, tmp_path: Path):
    assert not systematic_sets.ask_hard(tmp_path / "sets", name, task, shape, "0")
