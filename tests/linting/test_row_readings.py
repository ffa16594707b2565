"""How boxes are read: each way of writing is told from the others, and random healthy sets are never accused."""

from __future__ import annotations

import numpy as np
import pytest
from linting.cases_labels import spread, turned
from linting.tiny_set import TinySet, encode, picture

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.linting.rules.box_units import Form, Reading, RowBoxes, Scale, contradicts, grid_exchanged, read_units
from yolo_nanfix.linting.runner import run

SIZES = ((160, 90), (90, 160), (128, 128), (640, 480))


def drawn(count: int = 120, sizes: tuple[tuple[int, int], ...] = SIZES, seed: int = 0) -> RowBoxes:
    """Boxes on whole pixels all over images of some sizes, read as usual."""
    random = np.random.default_rng(seed)
    width, height = np.array([sizes[i % len(sizes)] for i in range(count)], float).T
    w, h = (np.maximum(np.round(side * random.uniform(0.05, 0.3, count)), 2) for side in (width, height))
    left, top = np.floor(random.random(count) * (width - w)), np.floor(random.random(count) * (height - h))
    box = ((left + w / 2) / width, (top + h / 2) / height, w / width, h / height)
    return RowBoxes(*box, width, height, np.zeros(count, bool))


def rewritten(boxes: RowBoxes, across: np.ndarray | float, down: np.ndarray | float) -> RowBoxes:
    """The same boxes with x divided by something else."""
    x, y, w, h = boxes.x * across, boxes.y * down, boxes.w * across, boxes.h * down
    return boxes._replace(x=x, y=y, w=w, h=h)


def by_corner(boxes: RowBoxes) -> RowBoxes:
    return boxes._replace(x=boxes.x - boxes.w / 2, y=boxes.y - boxes.h / 2)


def by_corners(boxes: RowBoxes) -> RowBoxes:
    low = by_corner(boxes)
    return low._replace(w=low.x + boxes.w, h=low.y + boxes.h)


def _way(reading: Reading | None) -> tuple[Scale, Form] | None:
    return None if reading is None else (reading.scale, reading.form)


@pytest.mark.parametrize("seed", range(3))
def test_each_way_of_writing_is_told(seed: int):
    good = drawn(seed=seed)
    ratio = good.width / good.height
    wide = drawn(sizes=((160, 90),), seed=seed)
    assert _way(read_units(good, True)) is None
    assert _way(read_units(rewritten(good, ratio, 1 / ratio), True)) == (Scale.SWAPPED, Form.CENTRE)
    assert _way(read_units(rewritten(good, good.width, good.height), True)) == (Scale.PIXELS, Form.CENTRE)
    assert _way(read_units(rewritten(good, 100, 100), True)) == (Scale.PERCENT, Form.CENTRE)
    assert _way(read_units(rewritten(good, 1000, 1000), True)) == (Scale.PERMILLE, Form.CENTRE)
    assert _way(read_units(rewritten(wide, 160 / 90, 1), True)) == (Scale.HEIGHT, Form.CENTRE)
    assert _way(read_units(by_corners(good), True)) == (Scale.PARTS, Form.CORNERS)
    assert _way(read_units(by_corner(good), True)) == (Scale.PARTS, Form.CORNER)
    assert _way(read_units(by_corners(rewritten(good, 100, 100)), True)) == (Scale.PERCENT, Form.CORNERS)
    assert _way(read_units(rewritten(good, 3000, 4000), True)) == (Scale.UNKNOWN, Form.UNSURE)
    assert _way(read_units(by_corners(good), False)) is None  # what is drawn as polygons has no corners of a box


def test_square_images_and_few_rows_tell_nothing_of_axes():
    square = drawn(sizes=((128, 128),))
    assert read_units(rewritten(square, 1.0, 1.0), True) is None and grid_exchanged(square) is None
    few = drawn(count=6)
    assert read_units(rewritten(few, few.width / few.height, few.height / few.width), True) is None


def test_objects_in_one_part_of_the_image_and_few_rows_tell_their_unit():
    good = drawn(sizes=((160, 90),))
    sky = good._replace(y=good.y * 0.4, h=good.h * 0.4)  # all in the upper part
    large = sky._replace(width=sky.width * 4, height=sky.height * 4)
    assert _way(read_units(rewritten(sky, 160, 90), True))[0] is Scale.PIXELS
    assert _way(read_units(rewritten(large, 100, 100), True))[0] is Scale.PERCENT
    assert _way(read_units(rewritten(large, 1 / 640, 1 / 360), True))[0] is Scale.TWICE
    assert _way(read_units(by_corners(sky), True)) == (Scale.PARTS, Form.CORNERS) and read_units(sky, True) is None
    part = rewritten(sky.some(sky.x < 0.5), 160, 90)  # its numbers do not tell: y before x would fit as well
    assert _way(read_units(part, True)) == (Scale.UNKNOWN, Form.UNSURE)
    four = good.some(np.argsort(-good.x * good.y)[:4])
    assert _way(read_units(rewritten(four, 160, 90), True))[0] is Scale.UNKNOWN and read_units(four, True) is None


def test_exchanged_axes_are_told_by_the_pixels_alone():
    good = drawn(sizes=((160, 90),))
    exchanged = good._replace(x=good.y, y=good.x, w=good.h, h=good.w)
    assert read_units(exchanged, True) is None and grid_exchanged(good) is None
    wrong, right = grid_exchanged(exchanged) or (0, 0)
    assert wrong == 1 and right < 0.5
    blurred = exchanged._replace(x=exchanged.x + np.linspace(0, 0.01, len(exchanged.x)))
    assert grid_exchanged(blurred) is None
    assert grid_exchanged(exchanged._replace(turned=np.ones(len(exchanged.x), bool))) is None


def test_a_part_that_is_written_otherwise_contradicts():
    good = drawn(sizes=((160, 90),))
    swapped = read_units(rewritten(good, 160 / 90, 90 / 160), True)
    assert swapped is not None and contradicts(good, swapped)
    assert not contradicts(rewritten(good, 160 / 90, 90 / 160), swapped)


def _careless(random: np.random.Generator) -> RowBoxes:
    """A healthy set of any kind: sizes, places and slips at random, on no pixels in particular."""
    sizes = SIZES[: random.integers(1, 5)]
    count = int(random.choice([20, 60, 200]))
    width, height = np.array([sizes[i % len(sizes)] for i in range(count)], float).T
    w, h = (np.clip(random.uniform(0.02, 0.9) * np.exp(random.normal(0, 0.5, count)), 0.01, 1) for _ in "wh")
    x, y = (s / 2 + random.beta(*random.uniform(0.4, 3, 2), count) * (1 - s) for s in (w, h))
    slip = random.uniform(0, 0.1)
    x, y = x + random.normal(0, slip, count) * w, y + random.normal(0, slip, count) * h
    cut = random.random(count) < random.uniform(0, 0.3)
    w = np.where(cut, w * random.uniform(1, 2), w)
    return RowBoxes(x, y, w, h, width, height, np.zeros(count, bool))


def test_random_healthy_sets_are_not_accused():
    random = np.random.default_rng(3)
    accused = [read_units(boxes, True) or grid_exchanged(boxes) for boxes in (_careless(random) for _ in range(1500))]
    assert accused == [None] * 1500


def test_one_split_alone_is_named_and_the_other_left_alone(tmp_path):
    tiny = TinySet(tmp_path)
    tiny.put("labels/train/a.txt", spread(48, 64))
    tiny.put("labels/val/b.txt", spread())
    report = run(tiny.root)
    (cause,) = (f for f in report.findings if f.code == "BX023")
    assert cause.split == "train" and dict(cause.values)["splits"] == ("train",)
    rows = [f for f in report.findings if f.code == "BX001"]
    assert rows and {(row.because, row.split) for row in rows} == {("BX023", "train")}


def test_boxes_of_square_images_turned_in_percent_are_right(tmp_path):
    tiny = TinySet(tmp_path)
    for split, name in (("train", "a"), ("val", "b")):
        tiny.put(f"images/{split}/{name}.jpg", encode(".jpg", picture(64, 64)))
        tiny.put(f"labels/{split}/{name}.txt", turned(in_percent=True))
    found = {f.code for f in run(tiny.root, options=LintOptions("obb")).findings}
    assert not found & {"OB005", "OB008", "OB009"}


@pytest.mark.parametrize(
    ("task", "row", "numbered"),
    [
        ("detect", "0 7 0.5 0.5 0.2 0.2", True),
        ("detect", "0 0.5 0.5 0.2 0.2 0.9", False),
        ("detect", "0 1 0 1 0 1", False),
        ("segment", "0 7 0.1 0.1 0.5 0.1 0.3 0.4", True),
        ("segment", "0 0.1 0.1 0.5 0.1 0.3 0.4 0.2", False),
        ("obb", "0 7 0.1 0.1 0.5 0.1 0.5 0.4 0.1 0.4", True),
        ("obb", "0 0.1 0.1 0.5 0.1 0.5 0.4 0.1 0.4 7", False),
    ],
)
def test_a_whole_number_counts_as_second_column_only(task: str, row: str, numbered: bool, tmp_path):
    tiny = TinySet(tmp_path)
    for split, name in (("train", "a"), ("val", "b")):
        tiny.put(f"labels/{split}/{name}.txt", f"{row}\n" * 3)
    findings = run(tiny.root, options=LintOptions(task)).findings
    assert any(f.code == "TX023" for f in findings) is numbered
    behind = "TX027" if task != "detect" and not numbered else None  # a confidence, or the number of a track
    assert {f.because for f in findings if f.code in ("TX005", "TX013")} == {"TX023" if numbered else behind}
