"""What predictions leave behind the rows of a set, and healthy rows that look like it."""

from __future__ import annotations

from pathlib import Path

import pytest
from linting.tiny_set import TinySet, encode, picture

from yolo_nanfix import api

TRIANGLE = "0 0.1 0.1 0.5 0.1 0.3 0.4"
FIVE = "0 0.1 0.1 0.5 0.1 0.6 0.3 0.3 0.4 0.1 0.3"
HOUSE = "0 0.2 0.9 0.2 0.4 0.4 0.2 0.6 0.4 {} 1"
"""It stands on the lower edge: its last number is whole."""
POINTS = "0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6"


def build(root: Path, rows: str, shape: str = "") -> TinySet:
    tiny = TinySet(root / "set")
    names = "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"
    tiny.put("data.yaml", names + (f"kpt_shape: {shape}\n" if shape else ""))
    for number, split in enumerate(("train", "train", "val")):
        tiny.put(f"images/{split}/m{number}.png", encode(".png", picture(seed=number + 5)))
        tiny.put(f"labels/{split}/m{number}.txt", rows)
    for split in ("train/a", "val/b"):
        tiny.put(f"labels/{split}.txt", rows)
    return tiny


def texts(tiny: TinySet) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in tiny.root.rglob("*.*")}


HEALTHY = {
    "at the lower edge": ("segment", HOUSE.format(0.5) + "\n" + HOUSE.format(0.6), ""),
    "whole images": ("segment", "0 0 0 1 0 1 1 0 1", ""),
    "in pixels": ("segment", "0 10 10 50 10 50 40 1 40\n0 4 6 20 8 20 30 0 20", ""),
    "one of many": ("segment", "\n".join([TRIANGLE] * 4 + [TRIANGLE + " 0.5"]), ""),
    "other visibilities": ("pose", f"{POINTS[:31]} 2", "[1, 2]"),
    "visibilities of two": ("pose", f"{POINTS[:31]} 2 0.6 0.6 1", "[2, 2]"),
    "no class": ("segment", TRIANGLE[2:], ""),
}


@pytest.mark.parametrize(("task", "rows", "shape"), HEALTHY.values(), ids=HEALTHY)
def test_rows_that_have_nothing_behind_them(task: str, rows: str, shape: str, tmp_path: Path):
    report = api.lint(build(tmp_path, rows, shape).root, task=task, settings=False)
    assert "TX027" not in report.by_code()


FAULTY = {
    "a confidence": ("segment", f"{FIVE} 0.9\n{FIVE} 0.8", FIVE, ""),
    "a first track": ("segment", f"{FIVE} 1\n{FIVE} 2", FIVE, ""),
    "both": ("segment", f"{FIVE} 0.9 1\n{FIVE} 0.8 12", FIVE, ""),
    "at times a number": ("segment", f"{FIVE} 0.9\n{FIVE} 0.8 12", FIVE, ""),
    "at times a track": ("segment", f"{FIVE} 3\n{FIVE}", FIVE, ""),
    "keypoints": ("pose", f"{POINTS} 0.91\n{POINTS} 0.87 4", POINTS, "[2, 2]"),
}


@pytest.mark.parametrize(("task", "rows", "row", "shape"), FAULTY.values(), ids=FAULTY)
def test_it_is_one_finding_and_cut_exactly(task: str, rows: str, row: str, shape: str, tmp_path: Path):
    tiny = build(tmp_path, rows, shape)
    before = texts(tiny)
    report = api.lint(tiny.root, settings=False)
    assert report.task == task and report.by_code()["TX027"] == 1
    assert {f.code for f in report.own if f.severity.value == "error"} == {"TX027"}
    fixed = api.fix(report, unsafe=True)
    assert {f.code for f in fixed.done} == {"TX027"}
    for name in ("train/m0", "train/a", "val/m2"):
        assert (tiny.root / f"labels/{name}.txt").read_text().split("\n")[:2] == [row, row]
    assert "TX027" not in api.lint(tiny.root, settings=False).by_code()
    api.undo(tiny.root)
    assert texts(tiny) == before


def test_a_split_alone_is_told_and_cut(tmp_path: Path):
    tiny = build(tmp_path, TRIANGLE)
    for name in ("val/b", "val/m2"):
        tiny.put(f"labels/{name}.txt", f"{TRIANGLE} 0.9\n{TRIANGLE} 0.4\n")
    report = api.lint(tiny.root, settings=False)
    assert [(f.split, dict(f.values)["rows"]) for f in report.findings if f.code == "TX027"] == [("val", 4)]
    api.fix(report, unsafe=True)
    assert (tiny.root / "labels/val/b.txt").read_text() == f"{TRIANGLE}\n" * 2
    assert (tiny.root / "labels/train/a.txt").read_text() == TRIANGLE


def test_a_number_beside_the_class_in_half_of_the_rows_is_not_cut_behind(tmp_path: Path):
    numbered = "\n".join(f"{17 + i} 0 {FIVE[2:]}" for i in range(3))
    report = api.lint(build(tmp_path, f"{numbered}\n{FIVE}\n{FIVE}").root, task="segment", settings=False)
    assert "TX027" not in report.by_code() and report.by_code()["TX005"] == 15


def test_a_confidence_beside_the_class_is_not_cut_behind(tmp_path: Path):
    tiny = build(tmp_path, f"0 0.91 {FIVE[2:]}\n1 0.87 {FIVE[2:]}")
    report = api.lint(tiny.root, settings=False)
    (told,) = [f for f in report.findings if f.code == "TX027"]
    assert told.values["ahead"] and not told.values["two"]
    before = texts(tiny)
    assert api.fix(report, unsafe=True).done == () and texts(tiny) == before
