"""Colour PNGs that become grey by their gamma, as OpenCV makes them so."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from linting.cases_images import chunked
from linting.tiny_set import YAML, TinySet, encode, picture
from PIL import Image as PILImage

from yolo_nanfix.linting.rules.image_headers import bends
from yolo_nanfix.linting.runner import run

CHUNKS = {
    "none": (b"", b"", False),
    "sRGB": (b"sRGB", b"\0", True),
    "gamma": (b"gAMA", struct.pack(">L", 45455), True),
    "linear": (b"gAMA", struct.pack(">L", 100_000), False),
    "time": (b"tIME", bytes(7), False),
}


@pytest.mark.parametrize("kind", CHUNKS)
def test_a_chunk_bends_grey_where_opencv_does(kind: str, tmp_path: Path):
    from ultralytics.utils.patches import imread

    name, data, bent = CHUNKS[kind]
    (tmp_path / "plain.png").write_bytes(chunked())
    (tmp_path / "own.png").write_bytes(chunked(name, data))
    plain, own = (imread(tmp_path / f"{f}.png", cv2.IMREAD_GRAYSCALE).astype(int) for f in ("plain", "own"))
    assert bends(str(tmp_path / "own.png")) == bent == bool(np.abs(plain - own).max() > 5)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0", chunked()[:40], b"JFIF"])
def test_what_is_no_whole_png_bends_nothing(content: bytes, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(content)
    assert not bends(str(tmp_path / "a.png")) and not bends(str(tmp_path / "none.png"))


def test_only_a_mixed_set_of_one_channel_is_named(tmp_path: Path):
    tiny = TinySet(tmp_path)
    bent, grey = chunked(b"sRGB", b"\0"), encode(".png", picture(channels=1))
    tiny.image(".png", bent)
    assert "IM039" not in run(tmp_path).by_code()
    tiny.yaml(YAML + "channels: 1\n")
    (found,) = (f for f in run(tmp_path).findings if f.code == "IM039")
    assert {"bent": 1, "looked_at": 1, "others": 1}.items() <= found.values.items()
    tiny.drop("images/val/b.jpg")
    for content in (bent, grey):
        tiny.put("images/val/b.png", content)
        assert "IM039" not in run(tmp_path).by_code()


@pytest.mark.parametrize("apart", [False, True])
def test_of_an_animated_png_the_first_frame_is_trained_on_not_the_still(apart: bool, tmp_path: Path):
    from ultralytics.utils.patches import imread

    tiny, stream = TinySet(tmp_path), io.BytesIO()
    frames = [PILImage.new("RGB", (40, 40), (value, value, value)) for value in (10, 100, 200)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:], default_image=apart)
    file = tiny.image(".png", stream.getvalue())
    assert imread(file)[0, 0, 0] == (100 if apart else 10)
    (found,) = (f for f in run(tmp_path).findings if f.code == "IM026")
    assert found.values["still_apart"] == apart
