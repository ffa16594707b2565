"""What is read past the segments that cameras write, against what Pillow tells of the same files."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from linting.cases_images import photo
from PIL import Image as PILImage

from yolo_nanfix.dataset import image_header
from yolo_nanfix.dataset.image_header import Header, read_header

XMP = b"http://ns.adobe.com/xap/1.0/\0"
ICC = b"ICC_PROFILE\0\1\1"
TURNED = b'<rdf:Description tiff:Orientation="6"/>'
SHORT, LONG, RATIONAL, ASCII = 3, 4, 5, 2


def tag(number: int, kind: int, count: int, value: int) -> tuple[int, int, int, int]:
    return number, kind, count, value


def tiff(*tags: tuple[int, int, int, int], order: str = "<", first: int = 8, more: bytes = b"\0" * 64) -> bytes:
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", first) + b"\0" * (first - 8)
    return start + struct.pack(f"{order}H", len(tags)) + b"".join(struct.pack(f"{order}HHLL", *t) for t in tags) + more


def turned(turn: int, order: str = "<") -> tuple[int, int, int, int]:
    return tag(274, SHORT, 1, turn if order == "<" else turn << 16)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content


def exif(content: bytes) -> bytes:
    return segment(0xFFE1, b"Exif\0\0" + content)


def jpeg(*parts: bytes, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    PILImage.fromarray(photo(1, 70, 90)).convert(mode).save(stream, "JPEG")
    sound = stream.getvalue()
    return sound[:2] + b"".join(parts) + sound[2:]


@pytest.fixture
def careful(monkeypatch):
    """Reads a header by Pillow alone."""

    def read(file: Path) -> Header:
        with monkeypatch.context() as patch:
            patch.setattr(image_header, "jpeg_frame", lambda file, head: None)
            return read_header(str(file))

    return read


@pytest.fixture
def by_pillow(monkeypatch):
    """The files that were left to Pillow."""
    left = []
    whole = image_header._by_pillow
    monkeypatch.setattr(image_header, "_by_pillow", lambda file, *rest: left.append(file) or whole(file, *rest))
    return left


THUMBNAIL = b"\xff\xd8\xff\xc0" + b"\0" * 12_000
TOLD = {
    "upright": (exif(tiff(turned(1))), 1),
    "on its side": (exif(tiff(turned(6))), 6),
    "other byte order": (exif(tiff(turned(8, ">"), order=">")), 8),
    "senseless": (exif(tiff(turned(9))), 1),
    "not told": (exif(tiff(tag(271, ASCII, 4, 0x616263))), 1),
    "thumbnail": (exif(tiff(tag(271, ASCII, 30, 20), turned(3), tag(282, RATIONAL, 1, 40), more=THUMBNAIL)), 3),
    "late directory": (exif(tiff(turned(5), first=1200)), 5),
    "maker notes, XMP and ICC": (
        exif(tiff(turned(6), more=THUMBNAIL))
        + segment(0xFFE1, XMP + b"x" * 5000)
        + segment(0xFFE2, ICC + b"y" * 3000)
        + segment(0xFFE2, b"FPXR\0")
        + segment(0xFFEE, b"Adobe\0\x64\0\0\0\0\1")
        + segment(0xFFEB, b"HDR_RI"),
        6,
    ),
    "XMP first": (segment(0xFFE1, XMP + b"x" * 5000) + exif(tiff(turned(2))), 2),
    "XMP alone, which no decoder follows": (segment(0xFFE1, XMP + TURNED), 1),
    "ICC alone": (segment(0xFFE2, ICC + b"y" * 3000), 1),
}
DOUBTFUL = {
    "nothing": exif(b""),
    "no byte order": exif(b"XX*\0" + tiff(turned(6))[4:]),
    "directory too early": exif(b"II*\0" + struct.pack("<LHHHLL", 2, 1, 274, 3, 1, 6)),
    "directory beyond": exif(b"II*\0" + struct.pack("<L", 9000) + b"\0" * 20),
    "too many tags": exif(tiff(turned(6), more=b"")[:-6]),
    "long": exif(tiff(tag(274, LONG, 1, 6))),
    "two values": exif(tiff(tag(274, SHORT, 2, 6))),
    "twice": exif(tiff(turned(6), turned(3))),
    "value beyond": exif(tiff(tag(271, ASCII, 30, 8000), turned(6))),
    "values overlap": exif(tiff(tag(271, ASCII, 80, 8), tag(272, ASCII, 80, 8), turned(6), more=b"")),
    "unknown type": exif(tiff(tag(271, 99, 1, 0), turned(6))),
    "no value": exif(tiff(tag(271, ASCII, 0, 0), turned(6))),
    "two directories": exif(tiff(turned(6))) + exif(tiff(turned(3))),
    "XMP tells": exif(tiff()) + segment(0xFFE1, XMP + TURNED),
    "XMP tells first": segment(0xFFE1, XMP + TURNED) + exif(tiff(tag(271, ASCII, 2, 0x61))),
    "several pictures": exif(tiff(turned(6))) + segment(0xFFE2, b"MPF\0" + b"\0" * 50),
    "short ICC": segment(0xFFE2, b"ICC_PROFILE\0"),
    "short Adobe": segment(0xFFEE, b"Adobe"),
    "Photoshop": segment(0xFFED, b"Photoshop 3.0\0" + b"8BIM"),
    "many segments": exif(tiff(turned(6))) + segment(0xFFEB, b"") * 64,
    "a length of none": exif(tiff(turned(6))) + b"\xff\xeb\0\0",
    "a marker of its own": exif(tiff(turned(6))) + segment(0xFFF0, b""),
    "no marker": exif(tiff(turned(6))) + b"junk",
}


@pytest.mark.parametrize("name", TOLD)
def test_what_cameras_write_is_read_without_pillow(tmp_path: Path, careful, by_pillow, name: str):
    parts, turn = TOLD[name]
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg(parts))
    header = read_header(str(file))
    assert by_pillow == [] and (header.width, header.height, header.turn) == (90, 70, turn)
    assert header.ordinary is (turn == 1)
    assert careful(file)._replace(ordinary=header.ordinary) == header and by_pillow == [str(file)]


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_in_doubt_is_left_to_pillow(tmp_path: Path, careful, by_pillow, name: str):
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg(DOUBTFUL[name]))
    header = read_header(str(file))
    assert by_pillow == [str(file)] and careful(file) == header


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_are_told(tmp_path: Path, careful, by_pillow, mode: str):
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg(exif(tiff(turned(6))), mode=mode))
    header = read_header(str(file))
    assert by_pillow == [] and (header.mode, header.turn, header.ordinary) == (mode, 6, False)
    assert careful(file) == header


def test_a_file_that_goes_meanwhile_is_left_to_pillow(tmp_path: Path):
    assert image_header.jpeg_frame(str(tmp_path / "gone.jpg"), jpeg()[:100]) is None


@pytest.mark.parametrize("seed", range(3))
def test_damage_up_to_the_frame_header_is_told_as_by_pillow(tmp_path: Path, careful, by_pillow, seed: int):
    random = np.random.default_rng(seed)
    sound = [jpeg(part) for part in (b"", *(part for part, _ in TOLD.values()))]
    told = 0
    for i in range(300):
        content = bytearray(sound[i % len(sound)])
        frame = content.rindex(b"\xff\xc0\0\x11")
        for _ in range(random.integers(1, 4)):
            spot = random.integers(4, min(200, frame) if random.random() < 0.8 else frame + 10)
            content[spot] = random.choice((0, 1, 2, 3, 4, 6, 8, 0x49, 0xE1, 0xFE, 0xFF, random.integers(256)))
        file = tmp_path / f"{i:03d}.jpg"
        file.write_bytes(content)
        header = read_header(str(file))
        told += not by_pillow
        assert careful(file)._replace(ordinary=header.ordinary) == header, bytes(content[:200])
        by_pillow.clear()
    assert 60 < told < 290


def test_cut_files_are_never_sound(tmp_path: Path, by_pillow):
    whole = jpeg(TOLD["maker notes, XMP and ICC"][0])
    for end in range(3, len(whole), 331):
        (tmp_path / "a.jpg").write_bytes(whole[:end])
        assert read_header(str(tmp_path / "a.jpg")).fault in ("truncated", "unreadable")
