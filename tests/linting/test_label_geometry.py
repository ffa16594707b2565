"""Geometry and statistics of the label rules, against OpenCV, numpy and brute force."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_nanfix.dataset import label_boxes
from yolo_nanfix.dataset.image_header import Header
from yolo_nanfix.dataset.images import Image, gather
from yolo_nanfix.dataset.label_parser import LabelReader
from yolo_nanfix.linting.rules import boxes as box_rules
from yolo_nanfix.linting.rules import geometry, outliers

SIDE = 1000
CORNERS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=12)


def read(tmp_path: Path, lines: list[str], task: str = "segment") -> tuple:
    """The label table of one file, and its image of 1000x1000."""
    path = tmp_path / "a.txt"
    path.write_text("\n".join(lines) + "\n")
    reader = LabelReader(task, (2, 3) if task == "pose" else None)
    assert reader.read(str(path), 0)
    header = Header(width=SIDE, height=SIDE)
    return reader.finish(), gather([Image("a.jpg", "train", "jpg", str(path), True, header, None, None)], 3)


def shapes_of(tmp_path_factory: pytest.TempPathFactory, polygons: list[np.ndarray]) -> label_boxes.Shapes:
    lines = ["0 " + " ".join(f"{n / SIDE:.6f}" for n in polygon.ravel()) for polygon in polygons]
    return label_boxes.shapes(*read(tmp_path_factory.mktemp("rows"), lines))


def _crosses(points: np.ndarray) -> bool:
    """Whether two edges of a polygon of whole numbers cross, by trying all pairs."""

    def turn(a, b, c) -> int:
        return int(np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])))

    edges = list(zip(points.tolist(), np.roll(points, -1, axis=0).tolist(), strict=True))
    return any(
        turn(*one, two[0]) * turn(*one, two[1]) < 0 and turn(*two, one[0]) * turn(*two, one[1]) < 0
        for i, one in enumerate(edges)
        for two in edges[:i]
    )


@settings(max_examples=60, deadline=None)
@given(polygons=st.lists(CORNERS, min_size=1, max_size=5))
def test_areas_and_crossings_are_those_of_brute_force(polygons: list, tmp_path_factory):
    arrays = [np.array(polygon, np.int64) * 20 for polygon in polygons]
    found = shapes_of(tmp_path_factory, arrays)
    signed = [cv2.contourArea(array.astype(np.float32), oriented=True) for array in arrays]
    assert np.allclose(np.abs(geometry.areas(found)), np.abs(signed), atol=1)
    crossing = {c.owner for c in geometry.crossings(found) if c.loop > 1e-2}
    touched = {c.owner for c in geometry.crossings(found)}
    expected = {k for k, array in enumerate(arrays) if _crosses(array)}
    assert crossing <= expected | touched  # rounding to float32 may turn a touch into a tiny crossing
    assert {k for k in expected if k not in touched} == set()


@settings(max_examples=60, deadline=None)
@given(corners=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=4, max_size=4))
def test_the_enclosing_rectangle_is_that_of_opencv(corners: list):
    quad = np.array(corners, np.float64) * 20
    long, short = geometry.enclosing_rectangles(quad.T[:, :, None])
    width, height = cv2.minAreaRect(quad.astype(np.float32))[1]
    assert long[0] * short[0] == pytest.approx(width * height, rel=1e-3, abs=1e-2)


@pytest.mark.parametrize(
    ("points", "loop"),
    [
        ([(100, 100), (500, 500), (500, 100), (100, 500)], 40_000),
        ([(100, 100), (500, 100), (500, 500), (100, 500)], None),
        ([(0, 0), (400, 0), (400, 400), (200, 0), (0, 400)], None),
        ([(200, 0), (0, 400), (0, 0), (400, 0), (400, 400)], None),
        ([(0, 0), (400, 0), (400, 400), (180, 400), (220, 360), (220, 440), (0, 400)], 800),
    ],
)
def test_the_loop_of_a_crossing_is_its_smaller_part(points: list, loop: float | None, tmp_path_factory):
    found = geometry.crossings(shapes_of(tmp_path_factory, [np.array(points)]))
    if loop is None:
        assert found == []
    else:
        assert len(found) == 1 and found[0].loop == pytest.approx(loop, rel=1e-3)


def test_many_edges_side_by_side_cost_no_more(tmp_path_factory):
    comb = np.array([(i % 2 * 900, i * 900 // 3000) for i in range(3000)])
    found = shapes_of(tmp_path_factory, [comb, np.array([(0, 0), (9, 9), (9, 0), (0, 9)])])
    assert 1 in {c.owner for c in geometry.crossings(found)}


@settings(max_examples=40, deadline=None)
@given(
    boxes=st.lists(
        st.tuples(st.integers(30, 34), st.integers(30, 34), st.integers(20, 22), st.integers(20, 22)), max_size=10
    )
)
def test_near_duplicates_are_those_of_brute_force(boxes: list, tmp_path_factory):
    lines = [f"0 {x / 64} {y / 64} {w / 64} {h / 64}" for x, y, w, h in boxes] or ["0 0.5 0.5 0.1 0.1"]
    labels, images = read(tmp_path_factory.mktemp("rows"), lines, "detect")
    other, overlap = box_rules._near_duplicates(labels, images)
    box = labels.box.astype(np.float64)
    for i in range(len(box)):
        a, b = np.repeat(box[i : i + 1], i, axis=0), box[:i]
        ends = [(one[:, :2] - one[:, 2:] / 2, one[:, :2] + one[:, 2:] / 2) for one in (a, b)]
        sides = np.minimum(ends[0][1], ends[1][1]) - np.maximum(ends[0][0], ends[1][0])
        shared = np.maximum(sides, 0).prod(axis=1)
        iou = shared / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - shared)
        near = set(np.flatnonzero((iou > box_rules.NEAR_IOU) & (a != b).any(axis=1)).tolist())
        assert other[i] == min(near, default=-1)
        if near:
            assert overlap[i] == pytest.approx(iou[other[i]])


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.integers(0, 1)), min_size=1, max_size=30))
def test_equal_rows_are_those_of_a_dict(rows: list, tmp_path_factory):
    lines = [f"{c} 0.5 0.5 0.{w} 0.2 0.4 0.4 2 0.5 0.5 {v}" for c, w, v in rows]
    first_row, first_box = label_boxes.first_equal(*read(tmp_path_factory.mktemp("rows"), lines, "pose"))
    seen: dict[object, int] = {}
    assert first_row.tolist() == [seen.setdefault(line, i) for i, line in enumerate(lines)]
    assert first_box.tolist() == [seen.setdefault(width, i) for i, (_, width, _) in enumerate(rows)]


def test_quantiles_are_those_of_numpy():
    bins = np.random.default_rng(0).integers(0, 1024, (3, 4001))
    counts = np.stack([np.bincount(row, minlength=1024) for row in bins])
    got = outliers._quantiles(counts, (0.25, 0.5, 0.75))
    assert got.tolist() == np.quantile(bins, (0.25, 0.5, 0.75), axis=1).T.astype(int).tolist()
