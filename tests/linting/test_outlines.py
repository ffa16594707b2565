"""Outlines that cross themselves: slips, joined parts and holes, held against the masks that Ultralytics makes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from linting.tiny_set import TinySet, encode, picture
from ultralytics.data.converter import merge_multi_segment
from ultralytics.data.utils import polygons2masks

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Finding, Severity
from yolo_nanfix.linting.rules import polygons
from yolo_nanfix.linting.rules import rings as judging
from yolo_nanfix.linting.rules.polygons import MASK_CELL
from yolo_nanfix.linting.rules.rings import _crossing
from yolo_nanfix.linting.runner import run

SIDE = 640
Ring = np.ndarray


def _blob(random: np.random.Generator, x: float, y: float, radius: float, corners: int, star: bool = False) -> Ring:
    """A ring around a place; a star goes in and out, so that bridges cross it."""
    angle = (np.arange(corners) + random.uniform(-0.3, 0.3, corners)) / corners * 2 * np.pi
    reach = radius * (np.where(np.arange(corners) % 2, 0.45, 1.0) if star else random.uniform(0.8, 1.2, corners))
    ring = np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)])
    return np.roll(ring, int(random.integers(corners)), axis=0)


def _apart(random: np.random.Generator, corners: int, count: int = 2, star: bool = False) -> list[Ring]:
    """Parts of an object that lie apart."""
    places = random.permutation([(150, 150), (470, 170), (160, 480), (480, 470)])[:count]
    return [_blob(random, x, y, float(random.uniform(50, 95)), corners, star) for x, y in places.tolist()]


def _with_hole(random: np.random.Generator, corners: int) -> list[Ring]:
    x, y = random.uniform(270, 370, 2)
    return [_blob(random, 320, 320, 230, corners), _blob(random, x, y, 60, corners)]


def _keyhole(rings: list[Ring], random: np.random.Generator, apart: float = 0.0) -> Ring:
    """A ring, a bridge from any of its corners to any of the hole, the hole, and the bridge back, so far beside it."""
    outer, hole = rings
    i = int(random.integers(len(outer)))
    hole = np.roll(hole, -int(random.integers(len(hole))), axis=0)
    along = hole[0] - outer[i]
    across = np.array([-along[1], along[0]]) / np.hypot(*along) * apart
    there, back = [outer[i] - across, hole[0] + across], [hole[0] - across, outer[i] + across]
    return np.concatenate([outer[:i], there, hole[1:], back, outer[i + 1 :]])


def _merged(rings: list[Ring]) -> Ring:
    """As Ultralytics' `convert_coco` joins the parts of an object."""
    return np.concatenate(merge_multi_segment([ring.ravel().tolist() for ring in rings]))


def _filled(rings: list[Ring], even_odd: bool) -> np.ndarray:
    """The mask that is meant: all parts, or the first without its holes."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for k, ring in enumerate(rings):
        cv2.fillPoly(mask, [ring.astype(np.int32)], 0 if even_odd and k else 1)
    return mask > 0


def _of_stock(outline: Ring) -> np.ndarray:
    return np.asarray(polygons2masks((SIDE, SIDE), [outline.ravel()], 1)[0]) > 0


def _row(outline: Ring, digits: int = 6) -> str:
    return "0 " + " ".join(f"{number / SIDE:.{digits}f}" for number in outline.ravel()) + "\n"


def _found(root: Path, rows: str) -> list[Finding]:
    """The findings about outlines of these rows."""
    tiny = TinySet(root)
    tiny.image(".jpg", encode(".jpg", picture(SIDE, SIDE)))
    tiny.put("labels/train/a.txt", rows)
    findings = run(tiny.root, options=LintOptions("segment"), cache=False).findings
    return [f for f in findings if f.code in ("SG004", "SG010", "SG011")]


def _seeds(count: int) -> list[tuple[np.random.Generator, int]]:
    return [(np.random.default_rng(seed), (6, 14, 40)[seed % 3]) for seed in range(count)]


def test_bridges_of_ultralytics_are_no_crossings_whatever_they_cross(tmp_path: Path):
    rows = ""
    for random, corners in _seeds(24):
        parts, holed = _apart(random, corners, int(random.integers(2, 5)), star=True), _with_hole(random, corners)
        outlines_ = [_merged(parts), _merged(holed), _keyhole(holed, random)]
        rows += "".join(_row(outline, int(random.choice([4, 5, 6]))) for outline in outlines_)
        for outline, rings, hole in zip(outlines_, (parts, holed, holed), (False, True, True), strict=True):
            wrong = (_of_stock(outline) != _filled(rings, hole)).astype(np.uint8)
            assert not cv2.erode(wrong, np.ones((3, 3), np.uint8)).any()  # but for the line of the bridge
    assert _found(tmp_path, rows) == []


@pytest.mark.parametrize("count", [2, 3])
def test_parts_one_after_the_other_are_named(tmp_path: Path, count: int):
    told = lost = 0
    for random, corners in _seeds(18):
        rings = _apart(random, corners, count)
        outline = np.concatenate(rings)
        found = _found(tmp_path, _row(outline))
        wrong = (_of_stock(outline) != _filled(rings, False)).sum()
        told += [f.code for f in found] == ["SG010"]
        lost += wrong > 0.02 * _filled(rings, False).sum()
        assert {f.code for f in found} <= {"SG010", "SG004"}
        if found and found[0].code == "SG010":
            assert found[0].severity is Severity.WARNING and "merge_multi_segment" in found[0].fix
            assert 2 <= found[0].values["rings"] <= count
    assert lost >= 14 and told >= 14


def test_a_hole_behind_its_ring_is_named(tmp_path: Path):
    for random, corners in _seeds(12):
        rings = _with_hole(random, corners)
        codes = [f.code for f in _found(tmp_path, _row(np.concatenate(rings)))]
        assert codes in (["SG010"], []) and (codes or corners > 6)


@pytest.mark.parametrize("apart", [4.0, -4.0])
def test_a_bridge_with_sides_that_cross_or_lie_apart_is_no_slip(tmp_path: Path, apart: float):
    told = 0
    for random, corners in _seeds(12):
        rings = _with_hole(random, corners)
        found = _found(tmp_path, _row(_keyhole(rings, random, apart)))
        assert {f.code for f in found} <= {"SG010"}
        told += bool(found)
    assert told >= (8 if apart > 0 else 0)


@pytest.mark.parametrize("corners", [4, 7, 30])
def test_corners_out_of_order_are_a_crossing(tmp_path: Path, corners: int):
    rows = ""
    for random, _ in _seeds(10):
        ring = _blob(random, 320, 320, 200, corners)
        a, b = (1, 2) if corners == 4 else (2, 2 + corners // 3)
        ring[[a, b]] = ring[[b, a]]
        rows += _row(ring)
    found = _found(tmp_path, rows)
    assert sum(f.code == "SG004" and f.values["area"] >= MASK_CELL**2 for f in found) >= 9


def test_bow_ties_are_crossings_also_thin_ones(tmp_path: Path):
    turn = np.arange(60) / 60 * 2 * np.pi + 0.01
    eight = np.column_stack([320 + 200 * np.sin(turn), 320 + 120 * np.sin(2 * turn)])
    thin = np.array([[100, 100], [130, 500], [130, 100], [100, 500.0]])
    assert [f.code for f in _found(tmp_path, _row(eight) + _row(thin))] == ["SG004", "SG004"]


def test_parts_that_overlap_leave_a_gap_in_the_mask_of_ultralytics(tmp_path: Path):
    random = np.random.default_rng(0)
    parts = [_blob(random, 270, 320, 100, 14), _blob(random, 380, 320, 100, 14)]
    outline = _merged(parts)
    shared = _filled(parts[:1], False) & _filled(parts[1:], False)
    assert (_of_stock(outline) & shared).sum() < 0.1 * shared.sum()
    (found,) = _found(tmp_path, _row(outline))
    assert found.code == "SG011" and abs(found.values["area"] - shared.sum()) < 0.1 * shared.sum()


@pytest.mark.parametrize(("off", "codes"), [(0, []), (30, ["SG011"])])
def test_parts_with_a_common_border_do_not_overlap(tmp_path: Path, off: int, codes: list[str]):
    """The bridge to one of them crosses the other."""
    wedge = np.array([(80, 150), (40, 120), (40, 180.0)])
    wide = np.array([(100, 100), (200, 100), (200, 200), (100, 200.0)])
    beside = np.array([(200, 140), (300, 140), (300, 160), (200, 160.0)]) - (off, 0)
    outline = _merged([wide, wedge, beside])
    assert len(_crossing(outline))
    found = _found(tmp_path, _row(outline))
    assert [f.code for f in found] == codes
    assert [f.values["area"] for f in found] == pytest.approx([20 * off] * len(codes), rel=0.1)


def test_traced_outlines_of_a_thousand_corners_are_told_apart(tmp_path: Path):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for x, y, radius in ((200, 200, 150), (470, 460, 140)):
        cv2.circle(mask, (x, y), radius, 1, -1)
    rings = [c[:, 0].astype(float) for c in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]]
    assert sum(map(len, rings)) > 1000
    assert _found(tmp_path, _row(_merged(rings))) == []
    joined = np.concatenate([np.roll(ring, -len(ring) // 3, axis=0) for ring in rings])
    codes = {f.code for f in _found(tmp_path, _row(joined))}
    assert codes <= {"SG010"}
    swapped = rings[0].copy()
    swapped[[100, 400]] = swapped[[400, 100]]
    assert {f.code for f in _found(tmp_path, _row(swapped))} == {"SG004"}


def test_thin_parts_that_a_tool_has_simplified_are_seldom_a_crossing(tmp_path: Path):
    """Lines of some pixels with blobs at their ends, traced and simplified: their two sides cross here and there."""
    told = crossed = 0
    for seed in range(40):
        random, mask = np.random.default_rng(seed), np.zeros((SIDE, SIDE), np.uint8)
        here = random.integers(150, 490, 2)
        for _ in range(int(random.integers(3, 7))):
            there = np.clip(here + random.normal(0, 110, 2), 40, 600).astype(int)
            cv2.line(mask, here.tolist(), there.tolist(), 1, int(random.integers(1, 4)))
            cv2.circle(mask, there.tolist(), int(random.integers(6, 30)), 1, -1)
            here = there
        traced = max(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0], key=cv2.contourArea)
        ring = cv2.approxPolyDP(traced, 0.8, True)[:, 0].astype(float)
        crossed += len(_crossing(ring)) > 0
        told += bool(_found(tmp_path, _row(ring)))
    assert crossed >= 15 and told <= crossed / 2


def test_beyond_the_budget_outlines_are_said_to_cross(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(polygons, "MOST_PAIRS", 300)
    random = np.random.default_rng(0)
    rows = "".join(_row(np.concatenate(_apart(random, 6))) for _ in range(6))
    assert {f.code for f in _found(tmp_path, rows)} == {"SG004", "SG010"}


def test_a_scribble_of_thousands_of_crossings_is_judged_at_once(monkeypatch):
    """Each of some thousand crossings was looked at by itself."""
    asked, is_neck = [], judging._is_neck
    monkeypatch.setattr(judging, "_is_neck", lambda *edges: asked.append(edges) or is_neck(*edges))
    x, y = np.random.default_rng(0).uniform(0, 600, (2, 500))
    scribble = judging.judge_outline(x, y, 16.0)
    assert scribble.kind is judging.RingKind.CROSSING and len(asked) < 10 * judging.MOST_CROSSINGS
    monkeypatch.setattr(judging, "MOST_CROSSINGS", 1 << 20)
    assert judging.judge_outline(x, y, 16.0) == scribble and len(asked) > 5000
