"""Rows of seven columns: a tracker's, or triangles of a set of polygons."""

from __future__ import annotations

from pathlib import Path

import pytest
from linting.tiny_set import TinySet, encode, picture

import yolo_nanfix

SQUARE = "0 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4\n"
TRIANGLE = "0 0.36 0.33 0.76 0.43 0.56 0.73\n"
LYING = "0 0.4 0.5 0.6 0.7 0.5 1\n"
"""A triangle whose numbers could be a tracker's, but that its last one is a coordinate."""
TRACKED = "0 0.4 0.5 0.2 0.2 0.91 {}\n1 0.6 0.5 0.2 0.3 0.87 {}\n"


def build(root: Path, *files: str) -> TinySet:
    tiny = TinySet(root / "set")
    for number, content in enumerate(files):
        tiny.put(f"images/train/m{number}.png", encode(".png", picture(seed=number + 5)))
        tiny.put(f"labels/train/m{number}.txt", content)
    return tiny


def found(tiny: TinySet) -> dict[str, list[str]]:
    """The files with the findings about seven columns, and all other codes that stand for themselves."""
    names: dict[str, list[str]] = {}
    for finding in yolo_nanfix.lint(tiny.root, task="detect", settings=False).findings:
        if finding.because is None:
            names.setdefault(finding.code, []).append(Path(finding.place.file).stem)
    return names


HEALTHY = {
    "triangles among squares": (TRIANGLE, SQUARE),
    "triangles alone": (TRIANGLE, TRIANGLE),
    "a triangle at the edge": (LYING, SQUARE),
    "a triangle at the edge among triangles": (LYING, TRIANGLE),
    "a file of both": (LYING + TRIANGLE, LYING),
    "a triangle at the upper edge": ("0 0.5 0.5 0.6 0.7 0.5 0\n", SQUARE),
}


@pytest.mark.parametrize("files", HEALTHY.values(), ids=HEALTHY)
def test_triangles_are_polygons_and_stay(tmp_path: Path, files: tuple[str, ...]):
    tiny = build(tmp_path, *files)
    assert "TX007" not in found(tiny)
    before = tiny.state()
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, task="detect", settings=False), unsafe=True)
    assert tiny.state() == before


def test_a_trackers_rows_are_one_finding_a_file_and_are_cut(tmp_path: Path):
    tiny = build(tmp_path, TRACKED.format(1, 2), TRACKED.format(2, 17), "0 0.4 0.5 0.2 0.2 0.91 1\n")
    names = found(tiny)
    assert names["TX007"] == ["m0", "m1", "m2"] and not {code for code in names if code[:2] == "BX"}
    assert "TX008" not in names
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, task="detect", settings=False), unsafe=True)
    assert {f.code for f in fixed.done} == {"TX007"} and fixed.kept == ()
    assert (tiny.root / "labels/train/m1.txt").read_text() == "0 0.4 0.5 0.2 0.2\n1 0.6 0.5 0.2 0.3\n"
    assert (tiny.root / "labels/train/m2.txt").read_text() == "0 0.4 0.5 0.2 0.2\n"
    assert not {code for code in found(tiny) if code[:2] in ("TX", "BX")}


def test_a_tracker_among_polygons_is_told_by_a_number_that_is_no_coordinate(tmp_path: Path):
    tiny = build(tmp_path, TRACKED.format(1, 7), SQUARE, LYING)
    names = found(tiny)
    assert names["TX007"] == ["m0"] and names["TX008"] == ["m1"]


@pytest.mark.parametrize(
    "row",
    [
        "0 0.4 0.5 0.2 0.2 0.91 7.5\n",  # no number of a track
        "0 0.4 0.5 0.2 0.2 1.91 7\n",  # no confidence
        "0 0.4 0.5 0.9 0.2 0.91 7\n",  # no box in the image
        "0 40 50 20 20 50 70\n",  # a triangle in pixels
    ],
)
def test_numbers_that_are_none_of_a_tracker(tmp_path: Path, row: str):
    assert "TX007" not in found(build(tmp_path, row))
