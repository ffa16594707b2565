"""What concerns a whole folder is one finding about it, with counts, and not one for each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from linting.cases_images import cut_out, photo, saved
from linting.tiny_set import ROWS, TinySet, encode

from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.options import LintOptions
from yolo_nanfix.linting.rules import kinds
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
    assert "3 of 8 images" in told.message and "p005.png" in told.message and "75%" in told.message


def test_of_many_images_with_alpha_some_are_looked_at_unless_all_are_decoded(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(kinds, "ALPHA_LOOKED_AT", 4)
    _with_alpha(TinySet(tmp_path), opaque=0, clear=9)
    assert "4 of 4 images" in _found(tmp_path, "IM023")[0].message
    assert "9 of 9 images" in _found(tmp_path, "IM023", deep=True)[0].message


def test_the_rounded_corners_of_a_screenshot_are_not_transparent(tmp_path: Path):
    pixels = np.dstack([photo(height=200, width=300), np.full((200, 300), 255, np.uint8)])
    pixels[:3, :3, 3] = 0
    TinySet(tmp_path).image(".png", encode(".png", pixels))
    assert _found(tmp_path, "IM023", deep=True) == []


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
    assert train.message == "12 of 18 boxes cover the whole image, in 12 of 15 images with boxes"
    assert (val.place.file, val.place.line) == (str(tmp_path / "labels/val/b.txt"), 3) and val.image


def test_a_few_whole_image_boxes_are_told_each(tmp_path: Path):
    _boxed(TinySet(tmp_path), whole=9, small=20)
    assert [f.place.line for f in _found(tmp_path, "BX014")] == [1] * 9
