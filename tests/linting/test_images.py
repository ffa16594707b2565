"""Headers and pixels of odd files: what they are is said, nothing is raised, shown or decoded that should not be."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from linting.cases_images import PHOTO, bomb, photo, saved
from linting.tiny_set import TinySet, encode, picture, tiff_pages

from yolo_nanfix.dataset.decode import decode, read_image, too_large
from yolo_nanfix.dataset.image_header import BOMB_PIXELS, read_header, what_instead
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import SUFFIX_FORMATS
from yolo_nanfix.linting.runner import run


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf\n <HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"<?xml version='1.0'?><svg/>", "XML"),
        (b'{"message": "Not Found"}', "JSON"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"\x00\x00\x00\x18ftypmp42", "MP4"),
        ("Zugriff verweigert: für Gäste".encode(), "text ('Zugriff"),
        (("ü" * 3000).encode()[:4095], "text"),
        (b"\x00\x01\x02\x03", ""),
        (b"\xff\xd8\xff\xe0", ""),
        (b"", ""),
    ],
)
def test_what_is_no_image_is_named(head: bytes, name: str):
    assert what_instead(head).find(name) >= 0 and bool(what_instead(head)) == bool(name)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_turns_are_those_of_ultralytics(tmp_path: Path, kind: str, turn: int):
    from ultralytics.data.utils import check_image
    from ultralytics.utils.patches import imread

    file = tmp_path / f"x.{kind.lower()}"
    file.write_bytes(saved(kind, turn=turn))
    header = read_header(str(file))
    assert header.turn == turn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        size = check_image(str(file))[1]
        assert imread(str(file)).shape[:2] == size == ((64, 48) if turn > 4 else (48, 64))


def test_of_cmyk_palette_alpha_and_frames_ultralytics_makes_three_channels(tmp_path: Path):
    from ultralytics.utils.patches import imread

    for name, content in {
        "cmyk.jpg": saved("JPEG", "CMYK"),
        "palette.png": saved("PNG", "P"),
        "alpha.png": saved("PNG", "RGBA"),
        "frames.webp": saved("WEBP", pages=2),
        "frames.tif": saved("TIFF", pages=2),
        "deep.png": encode(".png", picture(dtype="uint16", top=65535)),
    }.items():
        file = tmp_path / name
        file.write_bytes(content)
        pixels = imread(str(file))
        assert pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8, name
        assert read_header(str(file)).frames == (2 if "frames" in name else 1)


def test_bits_of_samples(tmp_path: Path):
    for name, bits in (("uint8", 8), ("uint16", 16)):
        for suffix in (".png", ".tiff"):
            file = tmp_path / f"{name}{suffix}"
            file.write_bytes(encode(suffix, picture(dtype=name)))
            assert read_header(str(file)).bits == bits, file.name
    (tmp_path / "f.tiff").write_bytes(encode(".tiff", picture(channels=1, dtype="float32")))
    assert read_header(str(tmp_path / "f.tiff")).bits == 32


def test_bombs_are_refused_as_ultralytics_refuses_them(tmp_path: Path, monkeypatch):
    from ultralytics.data.utils import check_image

    def never(*_: object) -> None:
        raise AssertionError("a bomb was decoded")

    monkeypatch.setattr(cv2, "imdecode", never)
    tiny = TinySet(tmp_path)
    content = bytearray(PHOTO)
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = (20000).to_bytes(2, "big") * 2
    for suffix, data in ((".jpg", bytes(content)), (".png", bomb())):
        file = tiny.image(suffix, data)
        report = run(tiny.root, options=LintOptions(deep=True))
        assert [f.code for f in report.findings if f.split == "train"] == ["FS055", "IM018"], report.findings
        with pytest.raises(Exception, match="decompression bomb"):
            check_image(str(file))
        file.unlink()


def test_stacks_of_pages_are_large_too(tmp_path: Path):
    file = tmp_path / "x.tiff"
    file.write_bytes(tiff_pages([picture(channels=1)] * 3))
    header = read_header(str(file))
    assert header.frames == 3 and not too_large(header)
    assert too_large(header._replace(width=10_000, height=10_000, frames=40))
    assert too_large(header._replace(width=BOMB_PIXELS + 1, height=1))


def test_decoders_say_nothing_and_are_asked_once(tmp_path: Path, capfd, monkeypatch):
    asked = []
    real = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *a: asked.append(a) or real(*a))
    broken = bytearray(encode(".png", photo()))
    broken[len(broken) // 2] ^= 0xFF
    (tmp_path / "x.png").write_bytes(bytes(broken))
    read_image(str(tmp_path / "x.png"), "png", 3)
    (tmp_path / "y.png").write_bytes(encode(".png", picture(dtype="uint16", top=9000)))
    pixels, stored = decode(str(tmp_path / "y.png"), "png", 3)
    assert pixels.dtype == "uint16" and stored is not None and 8000 < pixels.high < 9000
    assert len(asked) == 2
    assert capfd.readouterr() == ("", "")


def test_a_closed_stderr_is_no_reason_to_fail(tmp_path: Path):
    import subprocess
    import sys

    (tmp_path / "y.png").write_bytes(encode(".png", picture()))
    code = (
        "import os, sys; os.close(2); from yolo_nanfix.dataset.decode import read_image;"
        "print(read_image(sys.argv[1], 'png', 3).dtype)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "y.png")]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip() == "uint8"


def test_hostile_files_end_in_findings(tmp_path: Path, capfd):
    """Cut, flipped and mixed up bytes of every format, empty files, folders and links named like images."""
    tiny, random = TinySet(tmp_path), np.random.default_rng(0)
    sources = {"jpg": PHOTO, "png": encode(".png", photo()), "bmp": encode(".bmp", picture()), "webp": saved("WEBP")}
    sources |= {"tif": tiff_pages([picture(channels=1)] * 3), "avif": saved("AVIF"), "jp2": encode(".jp2", picture())}
    count = 0
    for suffix, content in sources.items():
        for i in range(9):
            data = bytearray(content)
            for at in random.integers(0, min(len(data), 60 if i % 2 else len(data)), 3).tolist():
                data[at] = int(random.integers(256))
            tiny.put(f"images/train/{i}.{suffix}", bytes(data[: len(data) - i * len(data) // 12 * (i % 3)]))
            count += 1
    (tmp_path / "images/train/folder.jpg").mkdir()
    (tmp_path / "images/train/nowhere.png").symlink_to("nothing")
    (tmp_path / "images/train/loop.png").symlink_to("loop.png")
    tiny.put("images/train/none.jpg", b"")
    before = tiny.state()
    report = run(tmp_path, options=LintOptions(deep=True))
    assert report.counts["train"]["images"] >= count
    assert {"IM001", "IM002"} <= set(report.by_code())
    assert capfd.readouterr() == ("", "")
    after = tiny.state()
    assert {path: content for path, (_, content) in after.items()} == {p: content for p, (_, content) in before.items()}


@pytest.mark.shared
def test_odd_images_are_counted(shared: Path, tmp_path: Path, capfd):
    """Against what is known of the folder, of which Ultralytics lists the files of 13 suffixes.

    Known: 90 palette (with those of one bit), 4 CMYK, 34 turned by EXIF, of which 2 by XMP alone, which no decoder
    heeds; 12 of 16 bits by Pillow's mode, to which come those of three channels; 27 under 10 pixels, 10 of them GIFs.
    """
    files = [f for f in sorted((shared / "data/odd_images").rglob("*")) if f.suffix[1:].lower() in SUFFIX_FORMATS]
    for i, file in enumerate(f for f in files if f.is_file()):
        (tmp_path / "images/train").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, tmp_path / f"images/train/{i:03d}_{file.name}")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a]\n")
    report = run(tmp_path)
    codes = report.by_code()
    assert report.counts["train"]["images"] == 668
    palettes = [dict(f.values)["images"] for f in report.findings if f.code == "IM022"]
    assert (palettes, codes["IM021"], codes["IM020"]) == ([90], 4, 32)
    assert codes["IM005"] == 18 and codes["IM018"] == 2 and codes["IM025"] == 22
    broken = {f.place.file for f in report.findings if f.code in ("IM001", "IM003", "IM009", "IM018")}
    assert len(broken) == codes["IM001"] + codes["IM003"] + codes["IM009"] + codes["IM018"] >= 47
    names = " ".join(Path(file).name[4:] for file in broken)
    for name in ("truncated_image.png", "truncated_jpeg.jpg", "broken.png", "crash-2020-10-test.tif", "10ct_32bit_128"):
        assert name in names
    assert capfd.readouterr() == ("", "")
