"""Images that are the same, or nearly: who is named, what confirms it, and that hostile sets cost no more."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from linting.cases_images import PHOTO, photo
from linting.tiny_set import ROWS, YAML, TinySet, encode

from yolo_nanfix.dataset.image_stats import LOOKS
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Finding, Severity
from yolo_nanfix.linting.rules.near_duplicates import GROUP, RADIUS, candidates
from yolo_nanfix.linting.runner import run


def _found(root: Path, deep: bool = False) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in run(root, options=LintOptions(deep=deep)).findings:
        found.setdefault(finding.code, []).append(finding)
    return found


def _names(findings: list[Finding]) -> list[str]:
    return [Path(f.place.file).name for f in findings]


def _add(tiny: TinySet, split: str, name: str, content: bytes, rows: str = ROWS) -> None:
    tiny.put(f"images/{split}/{name}.jpg", content)
    tiny.put(f"labels/{split}/{name}.txt", rows)


def test_each_copy_is_told_once_and_names_the_first(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for split, name in (("train", "c"), ("train", "d"), ("train", "e"), ("val", "f"), ("val", "g")):
        _add(tiny, split, name, PHOTO)
    found = _found(tmp_path, deep=True)
    assert set(found) == {"SP001", "SP002"}
    assert [(Path(f.place.file).name, Path(f.partner or "").name) for f in found["SP001"]] == [
        ("d.jpg", "c.jpg"),
        ("e.jpg", "c.jpg"),
        ("g.jpg", "f.jpg"),
    ]
    (across,) = found["SP002"]
    assert (across.split, across.values["other_split"]) == ("val", "train")
    assert across.values["other"] == across.partner == str(tmp_path / "images/train/c.jpg")


def test_files_that_begin_alike_are_no_copies(tmp_path: Path):
    tiny = TinySet(tmp_path)
    one = np.zeros((200, 200, 3), np.uint8)
    other = one.copy()
    other[0, 0] = 9  # BMP stores the first row last
    for name, pixels in (("c", one), ("d", other)):
        tiny.put(f"images/train/{name}.bmp", encode(".bmp", pixels))
        tiny.put(f"labels/train/{name}.txt", ROWS)
    assert _found(tmp_path) == {}


def test_links_to_one_file_are_no_copies(tmp_path: Path):
    tiny = TinySet(tmp_path)
    os.link(tmp_path / "images/train/a.jpg", tmp_path / "images/train/c.jpg")
    tiny.put("labels/train/c.txt", ROWS)
    assert "SP001" not in _found(tmp_path)


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (ROWS, None),
        ("\n".join(reversed(ROWS.splitlines())), None),
        (ROWS.replace("0.3 0.3", "0.302 0.3"), None),
        (ROWS.replace("0.3 0.3", "0.32 0.3"), 2),
        (ROWS.replace("1 0.3", "0 0.3"), 2),
        (ROWS + "0 0.7 0.7 0.1 0.1\n", 3),
        ("", 0),
    ],
)
def test_labels_of_copies_are_compared(tmp_path: Path, rows: str, labels: int | None):
    tiny = TinySet(tmp_path)
    _add(tiny, "train", "c", PHOTO)
    _add(tiny, "train", "d", PHOTO, rows)
    told = _found(tmp_path).get("SP003", [])
    assert _names(told) == (["d.jpg"] if labels is not None else [])
    assert [(f.values["labels"], f.values["other_labels"]) for f in told] == [(labels, 2)] * len(told)


@pytest.mark.parametrize(
    ("moved", "severity"), [("0.21", Severity.WARNING), ("0.206", Severity.WARNING), ("0.212", Severity.ERROR)]
)
def test_copies_labelled_a_little_otherwise_are_a_warning(tmp_path: Path, moved: str, severity: Severity):
    """A side of 0.21 instead of 0.2 is an overlap of 0.952, 0.212 one of 0.943."""
    tiny = TinySet(tmp_path)
    _add(tiny, "train", "c", PHOTO, "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1\n")
    _add(tiny, "train", "d", PHOTO, f"0 0.5 0.5 0.2 {moved}\n1 0.3 0.3 0.1 0.1\n")
    (told,) = _found(tmp_path)["SP003"]
    assert told.severity is severity and told.partner and told.partner.endswith("c.jpg")
    assert (dict(told.values)["least_overlap"] >= 0.95) is (severity is Severity.WARNING)


def test_copies_in_a_split_without_labels_contradict_nothing(tmp_path: Path):
    """What is missing is the labels of the split; its images are no other opinion."""
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML + "test: images/test\n")
    _add(tiny, "train", "c", PHOTO)
    _add(tiny, "val", "d", PHOTO, ROWS + "0 0.7 0.7 0.1 0.1\n")
    tiny.put("images/test/e.jpg", PHOTO)
    assert _names(_found(tmp_path)["SP003"]) == ["d.jpg"]
    _add(tiny, "test", "f", encode(".jpg", photo(3)))
    assert _names(_found(tmp_path)["SP003"]) == ["d.jpg", "e.jpg"]


def test_near_duplicates_are_found_scaled_saved_captioned_and_turned(tmp_path: Path):
    tiny = TinySet(tmp_path)
    original = photo(height=480, width=640)
    _add(tiny, "train", "c", encode(".jpg", original))
    caption = original.copy()
    cv2.putText(caption, "MEOW", (400, 460), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 4)
    low = bytes(cv2.imencode(".jpg", original, [cv2.IMWRITE_JPEG_QUALITY, 30])[1])
    half = cv2.resize(original, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    right = np.ascontiguousarray(np.rot90(original, -1))
    for name, content in {
        "d": encode(".jpg", half),
        "e": low,
        "f": encode(".jpg", caption),
        "g": encode(".jpg", np.ascontiguousarray(original[:, ::-1])),
    }.items():
        _add(tiny, "train", name, content)
    _add(tiny, "val", "h", encode(".jpg", right))
    found = _found(tmp_path, deep=True)
    assert set(found) == {"SP004", "SP005"}
    assert _names(found["SP005"]) == ["d.jpg", "e.jpg", "f.jpg", "g.jpg"]
    assert found["SP005"][3].values["look"] == LOOKS[1]
    assert _names(found["SP004"]) == ["h.jpg"]
    assert found["SP004"][0].values["look"] in LOOKS[5:7] and found["SP004"][0].values["other_split"] == "train"


def test_different_photographs_are_not_alike(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for seed in range(80):
        _add(tiny, "val" if seed % 4 == 0 else "train", f"p{seed}", encode(".jpg", photo(seed)))
    assert _found(tmp_path, deep=True) == {}


def test_equal_hashes_alone_are_not_enough(tmp_path: Path):
    """Two images with the same signs of low waves, but not the same picture."""
    tiny, random = TinySet(tmp_path), np.random.default_rng(0)
    signs = np.sign(random.standard_normal((8, 8)))
    for i, name in enumerate("cd"):
        waves = np.zeros((64, 64), np.float32)
        strength = np.random.default_rng(i).random((8, 8)) ** 4
        waves[:8, :8] = signs * strength * 900
        waves[0, 0] = 64 * 128
        pixels = cv2.idct(waves).clip(0, 255).astype(np.uint8)
        tiny.put(f"images/train/{name}.png", encode(".png", cv2.merge([pixels] * 3)))
        tiny.put(f"labels/train/{name}.txt", ROWS)
    assert "SP005" not in _found(tmp_path, deep=True)


def _brute(looks: np.ndarray) -> set[tuple[int, int]]:
    pairs = set()
    for j in range(len(looks)):
        for i in range(j):
            if min((int(looks[i, 0]) ^ int(x)).bit_count() for x in looks[j]) <= 3:
                pairs.add((i, j))
    return pairs


def test_no_pair_within_three_bits_is_missed():
    random = np.random.default_rng(0)
    looks = random.integers(1, 1 << 63, (300, 8), dtype=np.uint64)
    for j in range(150, 300):
        flips = random.choice(64, int(random.integers(0, 4)), replace=False)
        mask = np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64)) if len(flips) else np.uint64(0)
        looks[j, random.integers(8)] = looks[j - 150, 0] ^ mask
    first, second, distance, left_out = candidates(looks)
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    assert len(left_out) == 0 and (first < second).all() and distance.max() <= RADIUS
    assert _brute(looks) <= pairs and len(pairs) == len(first)
    assert _brute(looks)


def test_images_that_show_nothing_are_like_no_other():
    assert len(candidates(np.zeros((50, 8), np.uint64))[0]) == 0
    assert len(candidates(np.zeros((0, 8), np.uint64))[0]) == 0


def test_hostile_sets_stay_linear_and_what_is_left_out_is_counted():
    same = np.full((50_000, 8), 77, np.uint64)
    random = np.random.default_rng(0)
    shared = (random.integers(1, 1 << 47, (8_000, 1), dtype=np.uint64) << np.uint64(16)) | np.uint64(77)
    began = time.process_time()
    first, second, _, left_out = candidates(same)
    assert len(second) == 49_999 and set(first.tolist()) == {0} and len(left_out) == 0
    left_out = candidates(np.repeat(shared, 8, axis=1))[3]
    assert len(left_out) == 8_000 - GROUP
    assert time.process_time() - began < 10


def test_what_was_left_out_is_told(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("yolo_nanfix.linting.rules.confirming.MOST_READ", 2)
    tiny = TinySet(tmp_path)
    for i in range(5):
        copy = photo()
        copy[:4, :4] = i * 50
        _add(tiny, "train", f"c{i}", encode(".jpg", copy))
    (told,) = (f for f in _found(tmp_path, deep=True)["SP005"] if f.image is None)
    assert told.values["images"] == 5, "of seven images two were decoded; each of the others counts once"


def test_a_val_that_is_a_copy_of_train(tmp_path: Path):
    tiny = TinySet(tmp_path)
    _add(tiny, "train", "c", PHOTO)
    shutil.copytree(tmp_path / "images/train", tmp_path / "images/val", dirs_exist_ok=True)
    shutil.copytree(tmp_path / "labels/train", tmp_path / "labels/val", dirs_exist_ok=True)
    assert "SP006" not in _found(tmp_path)
    tiny.drop("images/val/b.jpg")
    tiny.drop("labels/val/b.txt")
    found = _found(tmp_path)
    assert set(found) == {"SP002", "SP006"} and found["SP006"][0].values["images"] == 2


@pytest.mark.shared
def test_raccoon_has_four_pairs_and_three_near_ones(shared: Path):
    found = _found(shared / "data/raccoon", deep=True)
    pairs = {(Path(f.partner or "").stem, Path(f.place.file).stem) for f in found["SP001"]}
    assert pairs == {(f"raccoon-{a}", f"raccoon-{b}") for a, b in ((65, 98), (120, 83), (11, 116), (52, 74))}
    near = {(Path(f.partner or "").name, Path(f.place.file).stem) for f in found["SP005"]}
    assert near == {(f"raccoon-{a}.jpg", f"raccoon-{b}") for a, b in ((21, 45), (50, 52), (51, 85))}
    assert "SP004" not in found and {f.place.file for f in found["SP003"]} == {f.place.file for f in found["SP001"]}
    assert (found["IM024"][0].values["grey"], found["IM024"][0].values["images"]) == (3, 200)


@pytest.mark.shared
def test_clean_sets_have_only_what_is_there(shared: Path):
    """bccd: two frames of one field of view, one in train, one in val; multispectral_nan has none of bccd's pair."""
    for name, told in (("bccd", {"SP004": ["BloodImage_00037.jpg"]}), ("yolo_mark10", {}), ("multispectral_nan", {})):
        found = _found(shared / "data" / name, deep=True)
        assert {code: _names(f) for code, f in found.items() if code.startswith("SP")} == told, name
        assert {code for code in found if code.startswith("IM")} <= {"IM011"}, name
