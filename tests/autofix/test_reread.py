"""Rows of another unit or form, written again; what cannot be read, or lies right already, stays as it is."""

from __future__ import annotations

import pytest

from yolo_nanfix.linting.autofix.reasons import Left
from yolo_nanfix.linting.autofix.set_edits import LabelFile, RowPlace, reread, without_number

FILE = LabelFile("a.txt", ("train",), 200, 100)


def spot(task: str = "detect", file: LabelFile = FILE, **values: object) -> RowPlace:
    known = {
        "scale": "parts",
        "form": "centre",
        "splits": ("train",),
        "dims": 3,
        "columns": 0,
        "column": 1,
        "points": "too",
        "size": (400, 50),
    }
    return RowPlace(task, file, {**known, **values})


@pytest.mark.parametrize(
    ("scale", "form", "row"),
    [
        ("swapped", "centre", "3 1.000000 0.200000 0.400000 0.100000"),
        ("height", "centre", "3 1.000000 0.400000 0.400000 0.200000"),
        ("width", "centre", "3 0.500000 0.200000 0.200000 0.100000"),
        ("one size", "centre", "3 0.250000 0.800000 0.100000 0.400000"),
        ("pixels", "centre", "3 100 40 40 20"),
        ("pixels", "corners", "3 80 30 120 50"),
        ("pixels", "corner", "3 80 30 40 20"),
        ("pixels y x", "centre", "3 40 100 20 40"),
        ("percent", "corner", "3 40 30 20 20"),
        ("permille", "centre", "3 500 400 200 200"),
        ("parts", "corners", "3 0.4 0.3 0.6 0.5"),
        ("parts", "corner", "3 0.4 0.3 0.2 0.2"),
    ],
)
def test_every_way_comes_back_to_the_same_box(scale: str, form: str, row: str):
    words = ["3", "0.500000", "0.400000", "0.200000", "0.200000"]
    assert reread(row.split(), spot(scale=scale, form=form)) == words


def test_polygons_and_keypoints_are_scaled_too_and_visibility_stays():
    assert reread(["0", "20", "10", "100", "50", "40", "90"], spot("segment", scale="pixels")) == (
        ["0", "0.100000", "0.100000", "0.500000", "0.500000", "0.200000", "0.900000"]
    )
    pose = ["0", "100", "50", "40", "20", "90", "50", "2", "0", "0", "0"]
    assert reread(pose, spot("pose", scale="pixels")) == (
        ["0", "0.500000", "0.500000", "0.200000", "0.200000", "0.450000", "0.500000", "2", "0.000000", "0.000000", "0"]
    )


def test_keypoints_of_another_unit_than_the_box_are_told_apart():
    both = ["0", "100", "50", "40", "20", "90", "50", "2"]
    fine = ["0", "100", "50", "40", "20", "0.45", "0.5", "2"]
    box = ["0.500000", "0.500000", "0.200000", "0.200000"]
    assert reread(both, spot("pose", scale="pixels")) == ["0", *box, "0.450000", "0.500000", "2"]
    assert reread(fine, spot("pose", scale="pixels")) == ["0", *box, "0.45", "0.5", "2"]
    points = ["0", "0.5", "0.5", "0.2", "0.2", "90", "50", "2"]
    assert reread(points, spot("pose", scale="pixels", points="only")) == [*points[:5], "0.450000", "0.500000", "2"]
    swapped = ["0", "1.0", "0.2", "0.4", "0.1", "0.5", "0.4", "2"]
    stayed = reread(swapped, spot("pose", scale="swapped", points="stay"))
    assert stayed == ["0", "0.500000", "0.400000", "0.200000", "0.200000", "0.5", "0.4", "2"]


@pytest.mark.parametrize(
    "row", ["0 0.5 0.5 0.2 0.2", "0 nan 0.5 0.2 0.2", "0 a 0.5 0.2 0.2", "0", "0 0.5 0.5", "0 0.1 0.2 0.3 0.4 0.5"]
)
def test_what_is_right_already_or_no_row_stays(row: str):
    assert reread(row.split(), spot(scale="pixels")) == row.split()


def test_other_splits_stay():
    row = ["0", "100", "40", "40", "20"]
    assert reread(row, spot(scale="pixels", splits=("val",))) == row
    assert without_number(["0", "7", "0.5", "0.5", "0.2", "0.2"], spot(splits=("val",))) == [
        "0",
        "7",
        "0.5",
        "0.5",
        "0.2",
        "0.2",
    ]


@pytest.mark.parametrize(
    ("values", "file"),
    [
        ({"scale": "pixels", "form": "unsure"}, FILE),
        ({"scale": "unknown"}, FILE),
        ({"scale": "pixels"}, FILE._replace(width=0)),
        ({"scale": "pixels", "splits": ("val",)}, FILE._replace(splits=("train", "val"))),
    ],
)
def test_what_cannot_be_told_is_left(values: dict[str, object], file: LabelFile):
    with pytest.raises(Left):
        reread(["0", "100", "40", "40", "20"], spot(file=file, **values))


def test_the_second_column_goes_where_it_is_a_whole_number_too_many():
    assert without_number(["0", "7", "0.5", "0.5", "0.2", "0.2"], spot()) == ["0", "0.5", "0.5", "0.2", "0.2"]
    assert without_number(["0", "0.5", "0.5", "0.2", "0.2"], spot()) == ["0", "0.5", "0.5", "0.2", "0.2"]
    assert without_number(["0", "0.5", "0.5", "0.2", "0.2", "0.9"], spot()) == ["0", "0.5", "0.5", "0.2", "0.2", "0.9"]
    pose = ["0", "7", "0.5", "0.5", "0.2", "0.2", "0.5", "0.5", "2"]
    assert without_number(pose, spot("pose", columns=8)) == pose[:1] + pose[2:]
    assert without_number(pose, spot("pose", columns=11)) == pose
    first = ["7", "0", "0.5", "0.5", "0.2", "0.2"]
    assert without_number(first, spot(column=0)) == first[1:]
    with pytest.raises(Left):
        without_number(first, spot(column=2))
