"""What concerns a whole folder is one finding about it, with counts, and not one for each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from linting.cases_images import copied, cut_out, photo, saved
from linting.tiny_set import ROWS, TinySet, encode

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Finding, Severity
from yolo_nanfix.linting.rules import image_headers
from yolo_nanfix.linting.runner import run

WHOLE = "0 0.5 0.5 1 1\n"


def _found(root: Path, code: str, deep: bool = False) -> list[Finding]:
    return [f for f in run(root, options=LintOptions(deep=deep)).findings if f.code == code]


def _with_alpha(tiny: TinySet, opaque: int, clear: int) -> None:
    for i in range(opaque + clear):
        content = saved("PNG", "RGBA") if i < opaque else cut_out()
        tiny.put(f"images/train/p{i:03}.png", content)
        tiny.put(f"labels/train/p{i:03}.txt", ROWS)


@pytest.mark.parametrize("deep", [False, True])
def test_transparent_images_are_told_once_a_folder_and_opaque_ones_never(tmp_path: Path, deep: bool):
    tiny = TinySet(tmp_path)
    _with_alpha(tiny, opaque=5, clear=0)
    assert _found(tmp_path, "IM023", deep) == []
    _with_alpha(tiny, opaque=5, clear=3)
    (told,) = _found(tmp_path, "IM023", deep)
    assert told.place.file == str(tmp_path / "images/train") and told.image is None and told.split == "train"
    assert (told.values["images"], told.values["looked_at"]) == (3, 8)
    assert "p005.png" in told.values["examples"] and told.values["share"] == 0.75


def test_of_many_images_with_alpha_some_are_looked_at_unless_all_are_decoded(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(image_headers, "ALPHA_LOOKED_AT", 4)
    _with_alpha(TinySet(tmp_path), opaque=0, clear=9)
    for deep, images in ((False, 4), (True, 9)):
        values = _found(tmp_path, "IM023", deep)[0].values
        assert values["images"] == values["looked_at"] == images


def test_the_rounded_corners_of_a_screenshot_are_not_transparent(tmp_path: Path):
    pixels = np.dstack([photo(height=200, width=300), np.full((200, 300), 255, np.uint8)])
    pixels[:3, :3, 3] = 0
    TinySet(tmp_path).image(".png", encode(".png", pixels))
    assert _found(tmp_path, "IM023", deep=True) == []


def test_the_alpha_of_huge_images_is_not_decoded(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(image_headers, "LARGEST_DECODED", 64 * 48 - 1)
    _with_alpha(TinySet(tmp_path), opaque=0, clear=3)
    assert _found(tmp_path, "IM023") == []


def _boxed(tiny: TinySet, whole: int, small: int) -> None:
    for i in range(whole + small):
        tiny.put(f"images/train/c{i:02}.jpg", encode(".jpg", photo(i)))
        tiny.put(f"labels/train/c{i:02}.txt", WHOLE if i < whole else ROWS)


def test_whole_image_boxes_of_a_folder_are_one_finding(tmp_path: Path):
    tiny = TinySet(tmp_path)
    _boxed(tiny, whole=12, small=2)
    tiny.put("labels/val/b.txt", ROWS + WHOLE)
    train, val = _found(tmp_path, "BX014")
    assert train.place.file == str(tmp_path / "images/train") and train.image is None
    assert dict(train.values) == {"boxes": 12, "of_boxes": 18, "images": 12, "of_images": 15}
    assert (val.place.file, val.place.line) == (str(tmp_path / "labels/val/b.txt"), 3) and val.image


def test_a_few_whole_image_boxes_are_told_each(tmp_path: Path):
    _boxed(TinySet(tmp_path), whole=9, small=20)
    assert [f.place.line for f in _found(tmp_path, "BX014")] == [1] * 9


def test_augmented_copies_are_counted_once_a_split_and_explain_what_looks_alike(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for i in range(6):
        for k in range(3):
            name = f"o{i}_png.rf.{i:016x}{k:016x}"
            tiny.put(f"images/train/{name}.jpg", encode(".jpg", photo(i)[:, :: 1 - 2 * (k % 2)] // (1 + k % 2)))
            tiny.put(f"labels/train/{name}.txt", ROWS)
    for i in range(3):
        tiny.put(f"images/train/single{i}_png.rf.{i:032x}.jpg", encode(".jpg", photo(50 + i)))
        tiny.put(f"labels/train/single{i}_png.rf.{i:032x}.txt", ROWS)
    report = run(tmp_path, options=LintOptions(deep=True))
    (told,) = [f for f in report.findings if f.code == "SP011"]
    assert (told.split, dict(told.values)) == ("train", {"images": 22, "originals": 10})
    alike = [f for f in report.findings if f.code == "SP005"]
    assert len(alike) == 6 and {f.because for f in alike} == {"SP011"}
    assert not [f for f in report.findings if f.code == "SP010"]
    tiny.rows(ROWS + ROWS.splitlines()[0] + "\n")
    again = run(tmp_path, options=LintOptions(deep=True))  # what changed is read, the rest remembered
    assert [f for f in again.findings if f.code in ("SP005", "SP011")] == [told, *alike]


def test_copies_of_one_original_in_two_splits_are_one_warning(tmp_path: Path):
    copied(*range(4), splits=("train", "val"))(TinySet(tmp_path))
    (told,) = _found(tmp_path, "SP012")
    assert (told.split, told.values["images"]) == ("val", 4)


def test_images_of_one_name_with_other_boxes_are_no_copies(tmp_path: Path):
    """Frames of several films are often called alike."""
    tiny = TinySet(tmp_path)
    copied(*range(20), splits=("train", "val"), moved=0.1)(tiny)
    copied(3, 4, 5, splits=("train", "val"))(tiny)
    assert _found(tmp_path, "SP012") == []


@pytest.mark.shared
def test_the_cells_of_roboflow_are_half_as_many_originals(shared: Path):
    report = run(shared / "data/cells_dense_clean", options=LintOptions(deep=True))
    (told,) = [f for f in report.findings if f.code == "SP011"]
    assert told.values == {"images": 32, "originals": 16}
    assert {f.because for f in report.findings if f.code == "SP005"} == {"SP011"}
    assert not [f for f in report.findings if f.code in ("SP004", "SP010", "SP012")]


def _closed_twice(tiny: TinySet, many: int, few: int) -> None:
    """Polygons, so many of which end with their first corner."""
    for i in range(many + few):
        tiny.put(f"images/train/c{i:02}.jpg", encode(".jpg", photo(i)))
        row = f"0 0.1 0.1 0.5 0.1 0.3 {0.4 + i / 100}"
        tiny.put(f"labels/train/c{i:02}.txt", f"{row} 0.1 0.1\n{row} 0.1 0.1\n" if i < many else f"{row}\n")


def test_an_info_on_most_images_of_a_folder_is_one(tmp_path: Path):
    tiny = TinySet(tmp_path)
    _closed_twice(tiny, many=12, few=2)
    for deep in (False, True):  # twice as often, once from memory
        for _ in range(2):
            found = run(tmp_path, options=LintOptions("segment", deep=deep)).findings
            (told,) = [f for f in found if f.code == "SG007"]
            assert told.image is None and told.values["name"] == "c00.jpg"
            assert told.place.file == str(tmp_path / "images/train") and told.split == "train"
            assert {"images": 12, "of": 15, "count": 12}.items() <= told.values.items()


@pytest.mark.parametrize(("many", "few"), [(1, 1), (12, 20), (20, 200)])
def test_an_info_on_a_few_images_names_each(tmp_path: Path, many: int, few: int):
    _closed_twice(TinySet(tmp_path), many, few)
    found = run(tmp_path, options=LintOptions("segment")).findings
    assert [f.code for f in found if f.image and f.code == "SG007"] == ["SG007"] * many


@pytest.mark.parametrize(("many", "few", "told"), [(3, 2, (3, 6)), (20, 60, (20, 81))])
def test_an_info_on_a_small_folder_or_on_many_images_is_one(tmp_path: Path, many: int, few: int, told: tuple[int, int]):
    _closed_twice(TinySet(tmp_path), many, few)
    (found,) = (f for f in run(tmp_path, options=LintOptions("segment")).findings if f.code == "SG007")
    assert (found.values["images"], found.values["of"]) == told and found.image is None


def test_tiles_of_one_colour_without_objects_are_an_info(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for i in range(4):
        tiny.put(f"images/train/c{i}.png", encode(".png", np.full((64, 64, 3), (20, 60, 90 + i), np.uint8)))
        tiny.put(f"labels/train/c{i}.txt", "0 0.5 0.5 0.2 0.2\n" if i == 3 else "")
    sea, wrong = sorted(
        (f for f in run(tmp_path, options=LintOptions("detect", deep=True)).findings if f.code == "IM030"),
        key=lambda f: -f.severity.rank,
    )
    assert sea.severity is Severity.INFO and (sea.values["images"], sea.values["of"]) == (3, 5)
    assert wrong.severity is Severity.WARNING and wrong.place.file.endswith("c3.png")
