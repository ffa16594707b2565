"""Class numbers that begin at -1: one finding, and its fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from linting.test_counted_from_one import build

from yolo_nanfix import api


def codes(root: Path) -> dict[str, int]:
    """Findings of their own about class numbers."""
    found: dict[str, int] = {}
    for f in api.lint(root, settings=False).own:
        if f.code in ("CL002", "CL003", "CL010", "CL053", "CL057"):
            found[f.code] = found.get(f.code, 0) + 1
    return found


@pytest.mark.parametrize(
    ("nc", "train", "val", "fixed"),
    [(3, "-1 0 1", "-1 0", {"0", "1", "2"}), (3, "-1 0 1", "0 1", {"0", "1", "2"}), (1, "-1 -1", "-1", {"0"})],
)
def test_classes_from_minus_one_are_shifted_in_all_splits(nc: int, train: str, val: str, fixed: set[str], tmp_path):
    tiny = build(tmp_path, nc, train=train, val=val)
    assert codes(tiny.root) == {"CL057": 1}
    before = (tiny.root / "labels/val/val0.txt").read_text()
    assert {f.code for f in api.fix(api.lint(tiny.root, settings=False), unsafe=True).done} == {"CL057"}
    rows = [line.split() for file in tiny.root.glob("labels/*/*.txt") for line in file.read_text().splitlines()]
    assert {row[0] for row in rows} == fixed and codes(tiny.root) == {}
    after = (tiny.root / "labels/val/val0.txt").read_text()
    assert [r.split()[1:] for r in before.splitlines()] == [r.split()[1:] for r in after.splitlines()]


def test_one_split_alone_is_shifted(tmp_path: Path):
    tiny = build(tmp_path, 3, train="-1 0 1", val="0 1 2")
    assert codes(tiny.root) == {"CL057": 1}
    api.fix(api.lint(tiny.root, settings=False), unsafe=True)
    assert codes(tiny.root) == {} and (tiny.root / "labels/val/val0.txt").read_text().startswith("0 ")


@pytest.mark.parametrize("train", ["-1 0 1 2", "-2 -1 0", "-1 0 1 5"])
def test_other_negative_numbers_stay_findings_of_their_rows(train: str, tmp_path: Path):
    found = codes(build(tmp_path, 3, train=train, val="0 1").root)
    assert "CL057" not in found and found["CL002"] >= 4


def test_one_stray_class_stays_a_finding_of_its_row(tmp_path: Path):
    tiny = build(tmp_path, 3, train="0 1 2", val="0 1 2")
    file = tiny.root / "labels/train/train0.txt"
    file.write_text(file.read_text() + "9 0.9 0.9 0.1 0.1\n")
    assert codes(tiny.root) == {"CL003": 1}
