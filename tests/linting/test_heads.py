"""Headers of many JPEGs at once against the reader of one."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from linting.cases_images import photo
from PIL import Image as PILImage

from yolo_nanfix.dataset import scanning
from yolo_nanfix.dataset.image_header import judge_heads, read_header, read_heads
from yolo_nanfix.dataset.images import LONGEST_SIDE, Image, Part, gather, read_images, read_one
from yolo_nanfix.dataset.paths import NO_FILE, stamp_of

MARKERS = (0, 1, 8, 0xC0, 0xC4, 0xD8, 0xE0, 0xFE, 0xFF)


def jpeg(width: int = 90, height: int = 70, mode: str = "RGB", **options) -> bytes:
    stream = io.BytesIO()
    PILImage.fromarray(photo(1, height, width)).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def files() -> dict[str, bytes]:
    exif = PILImage.Exif()
    exif[274] = 6
    sound = jpeg()
    return {
        "sound.jpg": sound,
        "progressive.jpeg": jpeg(progressive=True),
        "capital.JPG": jpeg(120, 80),
        "comment.jpg": jpeg(comment=b"x" * 300),
        "far.jpg": jpeg(comment=b"x" * 2000),
        "farther.jpg": jpeg(comment=b"x" * 5000),
        "slim.jpg": jpeg(400, 40),
        "small.jpg": jpeg(20, 20),
        "wide.jpg": jpeg(LONGEST_SIDE + 1, 600),
        "grey.jpg": jpeg(mode="L"),
        "cmyk.jpg": jpeg(mode="CMYK"),
        "turned.jpg": jpeg(exif=exif),
        "trailing.jpg": sound + b"\0\0",
        "cut.jpg": sound[:-100],
        "half.jpg": sound[:150] + b"\xff\xd9",
        "head.jpg": sound[:20],
        "empty.jpg": b"",
        "text.jpg": b"<html>" + b" " * 3000,
        "png.png": b"\x89PNG",
        "no suffix": sound,
    }


def listed(folder: Path, contents: dict[str, bytes]) -> Part:
    names, stamps = [], []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        names.append(str(folder / name))
        stamps.append(stamp_of((folder / name).stat()))
    names.append(str(folder / "gone.jpg"))
    stamps.append(NO_FILE)
    count = len(names)
    labels = [f"{name}.txt" for name in names]
    return Part(names, ["train"] * count, labels, [True] * count, [None] * count, np.array(stamps))


@pytest.mark.parametrize("seed", range(4))
def test_damaged_headers_are_judged_as_by_the_reader_of_one(tmp_path: Path, seed: int):
    random = np.random.default_rng(seed)
    sound = [jpeg(), jpeg(progressive=True), jpeg(comment=b"y" * 200), jpeg(mode="L")]
    for i in range(300):
        content = bytearray(sound[i % len(sound)])
        for _ in range(random.integers(0, 4)):
            content[random.integers(0, 700)] = random.choice(
                (0, 1, 8, 0xC0, 0xC4, 0xD8, 0xE0, 0xFE, 0xFF, random.integers(256))
            )
        if random.random() < 0.2:
            content = content[: random.integers(1, 900)] + b"\xff\xd9"
        (tmp_path / f"{i:03d}.jpg").write_bytes(content)
    paths = sorted(map(str, tmp_path.iterdir()))
    sizes = [Path(path).stat().st_size for path in paths]
    heads, contents = read_heads(paths, sizes)
    ordinary, shown = judge_heads(heads)
    one_by_one = [read_header(path) for path in paths]
    assert ordinary.tolist() == [header.ordinary for header in one_by_one]
    assert 40 < ordinary.sum() < 290
    for i in np.flatnonzero(ordinary):
        header = one_by_one[i]
        assert (*shown[i], contents[i]) == (header.width, header.height, header.content)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_many_are_read_as_one_by_one(tmp_path: Path, channels: int):
    known = listed(tmp_path, files())
    np.save(tmp_path / "sound.npy", photo(1, 70, 90))
    known = known._replace(npys=[str(tmp_path / "sound.npy"), *known.npys[1:]])
    images = read_images(known, channels, deep=False)
    one_by_one = [read_one(known, i, channels) for i in range(len(known.files))]
    assert [image._replace(usual=False) for image in images] == one_by_one
    usual = [] if channels == 4 else ["progressive.jpeg", "capital.JPG", "comment.jpg"]
    assert [Path(image.file).name for image in images if image.usual] == usual
    assert images.unusual() == tuple(image for image in images if not image.usual)
    for name, column in images.columns.items():
        assert np.array_equal(column, gather(one_by_one, channels).columns[name]), name


def test_nothing_is_made_of_nothing(tmp_path: Path):
    none = Part((), (), (), (), (), np.zeros((0, 4), np.int64))
    for images in (read_images(none, 3, deep=False), read_images(none, 3, deep=True), gather((), 3)):
        assert list(images) == [] and images.unusual() == ()
        assert set(map(len, images.columns.values())) == {0}


def test_an_image_that_is_not_at_hand_is_made_when_asked_for(tmp_path: Path):
    images = read_images(listed(tmp_path, {"a.jpg": jpeg(), "b.jpg": jpeg(40, 50), "c.jpg": b""}), 3, deep=False)
    assert isinstance(images[1], Image) and (images[1].header.width, images[1].header.height) == (40, 50)
    assert images[1] == list(images)[1] and images[1].usual and not images[2].usual


def test_file_numbers_of_64_bits_fit_into_columns(tmp_path: Path):
    numbers = (0o100644, (1 << 64) - 3, 1 << 63, 1, 0, 0, 900, 5, 5, 5)
    stamp = stamp_of(os.stat_result(numbers, {"st_mtime_ns": 5_000_000_000, "st_ctime_ns": 7_000_000_000}))
    assert stamp == (900, 5_000_000_000, -(1 << 63), -3, 7_000_000_000)
    packed = scanning.STAMP.pack(900, 5_000_000_000, 1 << 63, (1 << 64) - 3, 7_000_000_000)
    assert np.frombuffer(packed, np.int64).tolist() == list(stamp)
    known = listed(tmp_path, {})._replace(stamps=np.array([stamp]))
    (image,) = read_images(known, 3, deep=False)
    assert image.header.fault == "missing" and image.header.inode == (-(1 << 63), -3)
