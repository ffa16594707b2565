"""Images that EXIF turns are of the size that Ultralytics trains on, and labels are judged at it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from linting.tiny_set import picture, turned

from yolo_nanfix.dataset.image_header import read_header, shown_size, turn_of
from yolo_nanfix.dataset.images import Part, read_images, read_one
from yolo_nanfix.dataset.paths import stamp_of

FLAGS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR, 4: cv2.IMREAD_UNCHANGED}


@pytest.mark.parametrize(("name", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")])
@pytest.mark.parametrize("channels", FLAGS)
def test_an_image_has_the_size_that_ultralytics_loads(name: str, suffix: str, channels: int, tmp_path: Path):
    from ultralytics.utils.patches import imread

    pixels = picture(channels=4 if channels == 4 and name != "JPEG" else 3)
    files = [tmp_path / f"{turn}.{suffix}" for turn in range(1, 9)]
    for turn, file in enumerate(files, 1):
        file.write_bytes(turned(pixels, turn, name))
        header = read_header(str(file))
        assert (header.width, header.height, header.turn) == (64, 48, turn)
        assert shown_size(header, channels) == imread(file, FLAGS[channels]).shape[1::-1]
        assert turn_of(header, channels) in (turn, 1)
    stamps = np.array([stamp_of(file.stat()) for file in files], np.int64)
    paths, count = [str(file) for file in files], len(files)
    listed = Part(paths, ["train"] * count, paths, [False] * count, [None] * count, stamps)
    columns = read_images(listed, channels, deep=False).columns
    headers = [read_one(listed, i, channels).header for i in range(count)]
    sizes = np.column_stack([columns["width"], columns["height"]]).tolist()
    assert sizes == [list(shown_size(header, channels)) for header in headers]
    assert columns["turn"].tolist() == [turn_of(header, channels) for header in headers]
