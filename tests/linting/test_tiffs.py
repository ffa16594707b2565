"""TIFFs whose colours or signs change on the way into the training, as Ultralytics' own reader shows."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from linting.tiny_set import YAML, TinySet, encode, picture
from PIL import Image as PILImage

from yolo_nanfix.dataset.decode import read_image
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.linting.runner import run

FLAGS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR, 4: cv2.IMREAD_UNCHANGED}


def with_alpha(alpha: int | np.ndarray, extra: int | None = None, kind: str = "TIFF") -> bytes:
    """An image with colours of 200 and this alpha as Pillow saves it, or with another ExtraSamples."""
    pixels = np.full((48, 64, 4), 200, np.uint8)
    pixels[..., 3] = alpha
    stream = io.BytesIO()
    PILImage.fromarray(pixels).save(stream, kind)
    data = stream.getvalue()
    told = struct.pack("<HHLHH", 338, 3, 1, 2, 0)
    assert kind != "TIFF" or data.count(told) == 1
    return data if extra is None else data.replace(told, struct.pack("<HHLHH", 338, 3, 1, extra, 0))


def codes(tiny: TinySet, *, deep: bool = False) -> set[str]:
    found = run(tiny.root, options=LintOptions("detect", deep=deep)).findings
    return {f.code for f in found if f.image and f.code.startswith("IM") and f.image.endswith((".tif", ".png", ".jpg"))}


@pytest.mark.parametrize("channels", FLAGS)
@pytest.mark.parametrize(("extra", "multiplied"), [(None, True), (0, False), (1, False), (2, True)])
def test_colours_are_multiplied_by_alpha_where_lint_says_so(channels: int, extra, multiplied: bool, tmp_path: Path):
    from ultralytics.utils.patches import imread

    tiny = TinySet(tmp_path)
    tiny.yaml(f"{YAML}channels: {channels}\n")
    file = tiny.image(".tif", with_alpha(51, extra))
    first = imread(file, FLAGS[channels])[..., 0].mean()
    assert first == pytest.approx(40 if multiplied else 200, abs=1)
    found = [f for f in run(tiny.root, options=LintOptions("detect")).findings if f.image == str(file)]
    assert ("IM037" in {f.code for f in found}) == multiplied
    if multiplied:
        (told,) = (f for f in found if f.code == "IM037")
        assert told.values["alpha"] == pytest.approx(0.2, abs=5e-4)
        assert "IM023" not in run(tiny.root, options=LintOptions("detect")).by_code()


@pytest.mark.parametrize("deep", [False, True])
def test_opaque_alpha_and_alpha_of_a_png_multiply_nothing(tmp_path: Path, deep: bool):
    tiny = TinySet(tmp_path)
    tiny.image(".tif", with_alpha(255))
    assert "IM037" not in codes(tiny, deep=deep)
    tiny.drop("images/train/a.tif")
    tiny.put("images/train/a.png", with_alpha(51, kind="PNG"))
    assert "IM037" not in codes(tiny, deep=deep)
    tiny.drop("images/train/a.png")
    tiny.put("images/train/a.jpg", with_alpha(51))  # a TIFF under another suffix
    assert "IM037" in codes(tiny, deep=deep)


def deep_alpha(tags: bytes) -> bytes:
    """The bytes of a TIFF of 16 bits: red, green, blue and alpha, with ExtraSamples 2."""
    pixels = np.full((48, 64, 4), 200 << 8, np.uint16)
    pixels[..., 3] = 51 << 8
    ok, data = cv2.imencode(".tif", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    assert ok
    image = bytes(data)
    (first,) = struct.unpack_from("<L", image, 4)
    (count,) = struct.unpack_from("<H", image, first)
    entries = image[first + 2 : first + 2 + 12 * count]
    kept = sorted([entries[i : i + 12] for i in range(0, len(entries), 12)] + [tags], key=lambda e: e[:2][::-1])
    return (
        image[:4]
        + struct.pack("<L", len(image))
        + image[8:]
        + struct.pack("<H", count + 1)
        + b"".join(kept)
        + b"\0" * 4
    )


def test_sixteen_bits_are_multiplied_in_grey_alone(tmp_path: Path):
    from ultralytics.utils.patches import imread

    file = tmp_path / "a.tif"
    file.write_bytes(deep_alpha(struct.pack("<HHLHH", 338, 3, 1, 2, 0)))
    for channels, trained in ((1, 40), (3, 200), (4, 200)):
        assert imread(file, FLAGS[channels])[..., 0].mean() == pytest.approx(trained, abs=2)
        assert read_image(str(file), "tif", channels).alpha == (pytest.approx(0.2, abs=0.01) if channels == 1 else 1)


def thermal(dtype: str, low: int, high: int) -> np.ndarray:
    """A ramp over the image."""
    return np.linspace(low, high, 48 * 64).reshape(48, 64).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "low", "high", "code", "facts"),
    [
        ("int16", -1500, 3600, "IM038", {"first": 250, "last": 255, "most": 14}),
        ("int16", -900, -300, "IM038", {"first": 252, "last": 255, "high": -300.0}),
        ("int8", -100, 27, "IM038", {"first": 156, "last": 255, "most": 27}),
        ("int16", 0, 3600, "IM017", {"dtype": "int16", "high": 3600.0, "most": 14}),
        ("int16", 0, 200, "IM016", {"dtype": "int16", "high": 200.0}),
        ("int16", 0, 32767, None, {}),
        ("int8", 0, 127, None, {}),
        ("uint16", 0, 65535, None, {}),
    ],
)
def test_signed_pixels_are_trained_as_lint_says(channels, dtype, low, high, code, facts, tmp_path: Path):
    from ultralytics.utils.patches import imread

    tiny = TinySet(tmp_path)
    tiny.yaml(f"{YAML}channels: {channels}\n")
    pixels = thermal(dtype, low, high)
    file = tiny.image(".tif", encode(".tif", pixels))
    trained = imread(file, FLAGS[channels])[..., 0]
    assert trained.dtype == np.uint8
    found = [f for f in run(tiny.root).findings if f.code in ("IM014", "IM016", "IM017", "IM037", "IM038")]
    assert [f.code for f in found] == ([code] if code else [])
    assert all(facts.items() <= f.values.items() for f in found)
    shift = 0 if dtype == "int8" else 8
    assert (trained == (pixels.astype(np.int64) >> shift & 0xFF)).all()
    deep = run(tiny.root, options=LintOptions("detect", deep=True)).by_code()
    assert (code in deep) == bool(code)


def test_signed_pixels_that_are_not_cut_are_out_of_range(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML + "channels: 2\n")
    for split, name in (("train", "a"), ("val", "b")):
        tiny.drop(f"images/{split}/{name}.jpg")
        tiny.put(f"images/{split}/{name}.tif", bytes(cv2.imencodemulti(".tif", [thermal("int16", -9, 900)] * 2)[1]))
    assert "IM014" in run(tiny.root).by_code() and "IM038" not in run(tiny.root).by_code()
    tiny.yaml(YAML)
    np.save(tmp_path / "images/train/a.npy", picture(dtype="int16"))
    assert "IM038" not in {f.code for f in run(tiny.root).findings if f.image and f.image.endswith("a.tif")}
