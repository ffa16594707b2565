"""Class folders of drawn digits: different ones fit upon each other, copies are still found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from yolo_nanfix import api

DIGITS = 4


def _digit(number: int, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A digit, large, thick, sheared and turned by chance, as handwriting is."""
    page = np.zeros((84, 84), np.uint8)
    place = (int(rng.integers(12, 22)), int(rng.integers(62, 72)))
    cv2.putText(
        page, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(1.8, 2.6), 255, int(rng.integers(4, 10))
    )
    move = cv2.getRotationMatrix2D((42, 42), rng.uniform(-20, 20), 1.0)
    move[0, 1] += rng.uniform(-0.3, 0.3)
    return cv2.resize(cv2.warpAffine(page, move, (84, 84)), (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)


@pytest.mark.parametrize("side", [28, 84])
def test_digits_are_no_copies_of_each_other(tmp_path: Path, side: int):
    rng = np.random.default_rng(3)
    for split, count in (("train", 40), ("val", 12)):
        for number in range(DIGITS):
            folder = tmp_path / split / str(number)
            folder.mkdir(parents=True)
            for i in range(count):
                cv2.imwrite(str(folder / f"{i}.png"), _digit(number, side, rng))
    assert not {"SP004", "SP005"} & {f.code for f in api.lint(tmp_path, deep=True).findings}
    seen = cv2.imread(str(tmp_path / "train/2/7.png"))
    assert seen is not None
    cv2.imwrite(str(tmp_path / "val/2/copy.jpg"), seen, [cv2.IMWRITE_JPEG_QUALITY, 90])
    (pair,) = (f for f in api.lint(tmp_path, deep=True).findings if f.code == "SP004")
    assert pair.place.file.endswith("copy.jpg") and (pair.partner or "").endswith("7.png")
