"""What all images of a set share makes no two of them copies; copies are found among them all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from linting.cases_images import frame, photo
from linting.tiny_set import ROWS, TinySet

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Finding, Severity
from yolo_nanfix.linting.runner import run

Pixels = np.ndarray
HEIGHT, WIDTH = 240, 320
DOWN, ACROSS = np.mgrid[0:HEIGHT, 0:WIDTH]


def _scan(seed: int) -> Pixels:
    """Something like an ultrasonic scan: a black frame, a sector, speckle and some dark shapes."""
    random = np.random.default_rng(seed)
    angle, depth = np.arctan2(ACROSS - WIDTH / 2, DOWN + 20), np.hypot(ACROSS - WIDTH / 2, DOWN + 20)
    speckle = cv2.GaussianBlur(random.rayleigh(1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.5)
    pixels = 110 + 40 * (speckle - 1.2) + 30 * cv2.resize(random.normal(0, 1, (6, 8)), (WIDTH, HEIGHT))
    centre = tuple(int(v) for v in random.integers((120, 90), (200, 190)))
    cv2.ellipse(pixels, centre, (25, 15), 0, 0, 360, 30, -1)
    pixels[(np.abs(angle) > 0.6) | (depth < 40) | (depth > 240)] = 0
    grey = pixels.clip(0, 255).astype(np.uint8)
    cv2.putText(grey, "HOSPITAL", (5, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    return cv2.merge([grey] * 3)


def _field(seed: int) -> Pixels:
    """A field of view of a microscope: bright in the middle, a few cells."""
    random = np.random.default_rng(seed)
    pixels = np.full((HEIGHT, WIDTH), 210, np.float32)
    for _ in range(int(random.integers(2, 7))):
        centre = tuple(int(v) for v in random.integers(0, (WIDTH, HEIGHT)))
        cv2.circle(pixels, centre, int(random.integers(6, 12)), float(random.integers(90, 160)), -1)
    pixels *= 1 - 0.7 * np.hypot((ACROSS - WIDTH / 2) / WIDTH, (DOWN - HEIGHT / 2) / HEIGHT) ** 2 * 2
    return cv2.merge([(pixels + random.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8)] * 3)


def _sky(seed: int) -> Pixels:
    """Bright above, dark below, with a thing on the horizon."""
    random = np.random.default_rng(seed)
    above, below = random.integers(150, 250, 3), random.integers(20, 110, 3)
    share = 1 / (1 + np.exp(-(DOWN / HEIGHT - random.uniform(0.4, 0.6)) * random.uniform(5, 15)))[..., None]
    pixels = above * (1 - share) + below * share + random.normal(0, 4, (HEIGHT, WIDTH, 3))
    x, y = (int(v) for v in random.integers((0, 90), (280, 140)))
    pixels[y : y + 30, x : x + 40] = random.integers(0, 255, 3)
    return pixels.clip(0, 255).astype(np.uint8)


def _lit(seed: int) -> Pixels:
    """A frame of one of two cameras, by changing daylight."""
    slope = np.random.default_rng(seed).normal(0, 0.15)
    light = 1 + slope * (ACROSS / WIDTH - 0.5) + slope / 2
    return (frame(seed, seed % 2) * light[..., None]).clip(0, 255).astype(np.uint8)


def _tile(seed: int) -> Pixels:
    """Tiles of one large picture, each half over the next."""
    large = cv2.resize(photo(5), (160 * 7 + 320, 120 * 7 + 240), interpolation=cv2.INTER_CUBIC)
    y, x = 120 * (seed // 6), 160 * (seed % 6)
    return np.ascontiguousarray(large[y : y + HEIGHT, x : x + WIDTH])


SETS: dict[str, Callable[[int], Pixels]] = {
    "camera": frame,
    "cameras by daylight": _lit,
    "ultrasound": _scan,
    "microscope": _field,
    "skies": _sky,
    "tiles": _tile,
}


def _copies(pixels: Pixels) -> Iterator[tuple[str, Pixels, int]]:
    """Copies as they are found in people's sets: name, picture, JPEG quality."""
    yield "mirrored", pixels[:, ::-1], 90
    yield "turned", np.rot90(pixels), 90
    yield "saved-again", pixels, 40
    yield "smaller", cv2.resize(pixels, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), 90


def _put(tiny: TinySet, split: str, name: str, pixels: Pixels, quality: int = 90, rows: str = ROWS) -> None:
    content = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    tiny.put(f"images/{split}/{name}.jpg", content.tobytes())
    tiny.put(f"labels/{split}/{name}.txt", rows)


def _set(tiny: TinySet, make: Callable[[int], Pixels], count: int = 36) -> None:
    for i in range(count):
        _put(tiny, "val" if i % 3 == 0 else "train", f"i{i:02}", make(i), rows=f"0 {0.1 + i / 50:.2f} 0.5 0.1 0.1\n")


def _found(root: Path) -> tuple[dict[str, tuple[str, str]], list[Finding]]:
    """For each image that is said to repeat another, that one and the rule; and what is said about the whole set."""
    findings = run(root, options=LintOptions(deep=True)).findings
    pairs = [f for f in findings if f.code in ("SP004", "SP005") and f.image is not None]
    assert all(f.partner for f in pairs)
    told = {Path(f.image or "").stem: (Path(f.partner or "").stem, f.code) for f in pairs}
    return told, [f for f in findings if f.code.startswith("SP") and f.image is None]


@pytest.mark.parametrize("name", SETS)
def test_nothing_is_accused_in_a_set_that_shares_its_ground(tmp_path: Path, name: str):
    tiny = TinySet(tmp_path)
    _set(tiny, SETS[name])
    told, about = _found(tmp_path)
    assert told == {}
    assert [f.code for f in about] in ([], ["SP010"]) and all(f.severity is Severity.INFO for f in about)
    if name in ("camera", "ultrasound"):
        assert [f.code for f in about] == ["SP010"]


@pytest.mark.parametrize("name", ["camera", "cameras by daylight", "ultrasound", "microscope", "skies"])
def test_copies_are_found_in_a_set_that_shares_its_ground(tmp_path: Path, name: str):
    tiny = TinySet(tmp_path)
    _set(tiny, SETS[name])
    originals = (4, 13)  # both in train
    for i in originals:
        for how, pixels, quality in _copies(SETS[name](i)):
            _put(tiny, "val", f"{how}-{i:02}", pixels, quality)
    told, _ = _found(tmp_path)
    wanted = {f"{how}-{i:02}": (f"i{i:02}", "SP004") for i in originals for how, *_ in _copies(_scan(0))}
    assert told == wanted


@pytest.mark.parametrize("count", [32, 37])
def test_of_large_groups_neighbours_are_compared_and_that_is_said(tmp_path: Path, monkeypatch, count: int):
    """Blocks of 16, of images that look most alike: whatever the number of images, each is in one."""
    monkeypatch.setattr("yolo_nanfix.linting.rules.confirming.BLOCK", 16)
    monkeypatch.setattr("yolo_nanfix.linting.rules.confirming.STEP", 8)
    monkeypatch.setattr("yolo_nanfix.linting.rules.confirming.SAMPLE", 8)
    tiny = TinySet(tmp_path)
    _set(tiny, frame, count)
    for how, pixels, quality in _copies(frame(4)):
        _put(tiny, "val", f"{how}-04", pixels, quality)
    for how, pixels, quality in _copies(frame(count - 1)):
        _put(tiny, "val", f"{how}-last", pixels, quality)
    told, about = _found(tmp_path)
    wanted = {f"{how}-{name}" for how, *_ in _copies(frame(0)) for name in ("04", "last")}
    assert set(told) == wanted
    for name, (other, _) in told.items():
        original = "i04" if name.endswith("04") else f"i{count - 1:02}"
        assert other == original or other.partition("-")[2] == name.partition("-")[2]
    assert about[0].values["left_out"] > 0


def test_an_empty_scene_is_not_a_copy_of_the_next_one(tmp_path: Path):
    """Half of the frames show the ground alone: they are the same, but say nothing about the others."""
    tiny = TinySet(tmp_path)
    empty = photo().astype(np.float32)
    for i in range(40):
        noise = np.random.default_rng(i).normal(0, 4, empty.shape)
        pixels = frame(i) if i % 2 else (empty + noise).clip(0, 255).astype(np.uint8)
        _put(tiny, "val" if i % 3 == 0 else "train", f"i{i:02}", pixels)
    told, about = _found(tmp_path)
    assert told == {} and (about[0].values["alike"], about[0].values["images"]) == (39, 42)


def test_cropped_copies_of_photographs_are_found(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for i in range(12):
        _put(tiny, "train", f"i{i:02}", photo(i))
    for i in range(6):
        _put(tiny, "val", f"cropped-{i:02}", photo(i)[4 + i : -5, 3 : -4 - 2 * i])
    told, about = _found(tmp_path)
    assert {name: other for name, (other, _) in told.items()} == {f"cropped-{i:02}": f"i{i:02}" for i in range(6)}
    assert about == []


def test_frames_of_many_cameras_are_told_apart_by_their_labels(tmp_path: Path):
    """Two frames of each camera, alike but for an object: no copies if their boxes differ; else one has a caption."""
    for other, wanted in ((0.2, set()), (0.7, {"i01", "i05", "i07", "i11", "i15", "i19"})):
        tiny = TinySet(tmp_path / str(other))
        for i in range(20):
            _put(tiny, "train", f"i{i:02}", frame(i, i // 2), rows=f"0 {other if i % 2 else 0.7} 0.5 0.2 0.2\n")
        assert set(_found(tiny.root)[0]) == wanted


def test_without_labels_a_caption_is_none_of_many(tmp_path: Path):
    """One pair that differs in a place only has a caption; if many do, the set is of cameras."""
    for cameras, wanted in ((1, {"i01"}), (12, set())):
        tiny = TinySet(tmp_path / str(cameras))
        for i in range(24):
            pixels = frame(i, i // 2) if i < 2 * cameras else photo(100 + i)
            _put(tiny, "train", f"i{i:02}", pixels)
            tiny.drop(f"labels/train/i{i:02}.txt")
        assert set(_found(tiny.root)[0]) == wanted


@pytest.mark.parametrize("turn", range(8))
def test_boxes_are_turned_as_pictures_are(tmp_path: Path, turn: int):
    from yolo_nanfix.dataset.table import Table
    from yolo_nanfix.linting.rules.confirming import turned
    from yolo_nanfix.linting.rules.label_overlap import agree

    tiny = TinySet(tmp_path)
    mask = np.zeros((100, 100), np.uint8)
    mask[10:30, 40:90] = 1  # x 0.65, y 0.2, 0.5 wide, 0.2 high
    found = next(side for k, side in enumerate(turned(mask)) if k == turn)
    down, across = np.nonzero(found)
    box = (across.min(), down.min(), across.max() + 1, down.max() + 1)
    x, y, w, h = (box[0] + box[2]) / 200, (box[1] + box[3]) / 200, (box[2] - box[0]) / 100, (box[3] - box[1]) / 100
    tiny.put("labels/train/a.txt", f"0 {x} {y} {w} {h}\n")
    tiny.put("labels/val/b.txt", "0 0.65 0.2 0.5 0.2\n")
    seen: list[Table] = []
    run(tmp_path, study=seen.append, cache=False)
    back = [k for k in range(8) if (turned(turned(mask)[turn])[k] == mask).all()]
    table = seen[0]
    assert back and all(agree(table, 1, 0, k) for k in back)
    assert not all(agree(table, 1, 0, k) for k in range(8))
