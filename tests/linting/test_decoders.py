"""Lint decodes with any OpenCV that is declared: what it logs is hushed where it can be, and is never a finding."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from linting.tiny_set import TinySet, encode, picture, turned

from yolo_nanfix.dataset import decode
from yolo_nanfix.dataset.image_header import read_header, shown_size, turns_webp
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.linting.runner import run


class Levels:
    """The two functions of older releases, in `cv2` itself."""

    def __init__(self) -> None:
        self.level = 3
        self.set: list[int] = []

    def get(self) -> int:
        return self.level

    def put(self, level: int) -> None:
        self.level = level
        self.set.append(level)


def deep_codes(root: Path) -> set[str]:
    """The codes about images of a set of one PNG and one TIFF, all decoded."""
    tiny = TinySet(root)
    tiny.image(".png", encode(".png", picture()))
    tiny.drop("images/val/b.jpg")
    tiny.put("images/val/b.tif", encode(".tif", picture(seed=1)))
    return {f.code for f in run(root, options=LintOptions("detect", deep=True)).findings if f.code.startswith("IM")}


@pytest.mark.parametrize("where", ["cv2", "nowhere"])
def test_an_opencv_without_its_logging_module_makes_no_findings(where: str, tmp_path: Path, monkeypatch):
    usual, levels = deep_codes(tmp_path / "a"), Levels()
    monkeypatch.delattr(cv2.utils, "logging", raising=False)
    for name, own in (("getLogLevel", levels.get), ("setLogLevel", levels.put)):
        monkeypatch.delattr(cv2, name, raising=False)
        if where == "cv2":
            monkeypatch.setattr(cv2, name, own, raising=False)
    assert deep_codes(tmp_path / "b") == usual == set()
    with decode.silent():
        assert levels.level == (0 if where == "cv2" else 3)
    assert levels.level == 3 and bool(levels.set) == (where == "cv2")


def test_the_level_comes_back_after_an_error():
    logging = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    with pytest.raises(ValueError), decode.silent():
        assert logging.getLogLevel() == 0
        raise ValueError
    assert logging.getLogLevel() == before


def test_whether_webp_is_turned_is_asked_of_the_decoder(tmp_path: Path):
    file = tmp_path / "a.webp"
    file.write_bytes(turned(picture(), 6, "WEBP"))
    loaded = cv2.imread(str(file))
    assert shown_size(read_header(str(file)), 3) == loaded.shape[1::-1] and turns_webp() == (loaded.shape[0] == 64)
