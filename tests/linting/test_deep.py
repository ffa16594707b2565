"""What one small decode of an image tells: damage, early ends, hashes; and how that is judged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from linting.cases_images import PHOTO, cut, grey_tail, photo, saved, soft, zeroed
from linting.tiny_set import TinySet, encode, picture, tiff_pages

from yolo_nanfix.dataset.image_stats import LOOKS, Deep, look_all, shrink, small_copy, without_detail
from yolo_nanfix.dataset.images import Image
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.linting.runner import run

TURNED = {
    "as it is": lambda a: a,
    "mirrored": lambda a: a[:, ::-1],
    "flipped upside down": lambda a: a[::-1],
    "turned by 180 degrees": lambda a: np.rot90(a, 2),
    "mirrored and turned left": lambda a: np.rot90(a[:, ::-1]),
    "turned right": lambda a: np.rot90(a, -1),
    "turned left": lambda a: np.rot90(a),
    "mirrored and turned right": lambda a: np.rot90(a[:, ::-1], -1),
}


def _look(tmp_path: Path, content: bytes, suffix: str = "jpg", channels: int = 3) -> Image:
    file = tmp_path / f"x.{suffix}"
    file.write_bytes(content)
    status = file.stat()
    stamp = (status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, 0)
    header, deep, looks, pixels = next(look_all([(str(file), suffix, stamp)], channels))
    return Image(str(file), "train", suffix, "", False, header, None, pixels, looks, deep)


def _deep(tmp_path: Path, content: bytes, suffix: str = "jpg") -> Deep:
    deep = _look(tmp_path, content, suffix).deep
    assert deep is not None
    return deep


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> list[int]:
    return [(one[0] ^ x).bit_count() for x in other]


def _codes(tiny: TinySet) -> list[str]:
    return [f.code for f in run(tiny.root, options=LintOptions(deep=True)).findings if f.split == "train"]


def test_a_photograph_is_sound_in_every_format(tmp_path: Path):
    for suffix in ("jpg", "png", "webp", "bmp", "tiff"):
        seen = _look(tmp_path, encode(f".{suffix}", photo()), suffix)
        assert seen.deep is not None and not seen.deep.damage and seen.deep.tail < 0.02
        assert abs(seen.deep.mean - photo().mean()) < 6 and seen.deep.deviation > 20
        assert (seen.pixels is None) == (suffix == "jpg")
        assert _distance(seen.looks, _look(tmp_path, PHOTO).looks)[0] <= 2


def test_stored_numbers_are_plain(tmp_path: Path):
    import json

    seen = _look(tmp_path, PHOTO)
    assert json.loads(json.dumps([seen.deep, seen.looks])) == [list(seen.deep), list(seen.looks)]
    assert all(0 < x < 1 << 64 for x in seen.looks) and len(seen.looks) == len(LOOKS) == 8


@pytest.mark.parametrize("name", TURNED)
def test_hashes_of_copies_follow_from_the_image(tmp_path: Path, name: str):
    original = _look(tmp_path, PHOTO)
    copy = _look(tmp_path, encode(".jpg", np.ascontiguousarray(TURNED[name](photo()))))
    distance = _distance(copy.looks, original.looks)
    assert int(np.argmin(distance)) == LOOKS.index(name) and min(distance) <= 3
    assert sorted(distance)[1] > 12


def test_hashes_survive_saving_scaling_and_light(tmp_path: Path):
    original = _look(tmp_path, PHOTO).looks
    half = cv2.resize(photo(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for copy in (half, cv2.resize(photo(), (416, 416)), cv2.convertScaleAbs(photo(), alpha=0.9, beta=10)):
        assert _distance(original, _look(tmp_path, encode(".jpg", copy)).looks)[0] <= 3
    low = bytes(cv2.imencode(".jpg", photo(), [cv2.IMWRITE_JPEG_QUALITY, 30])[1])
    assert _distance(original, _look(tmp_path, low).looks)[0] <= 3
    others = [_look(tmp_path, encode(".jpg", photo(seed))).looks for seed in range(1, 30)]
    assert min(min(_distance(original, other)) for other in others) > 8


def test_an_image_that_shows_nothing_has_no_looks(tmp_path: Path):
    assert _look(tmp_path, encode(".jpg", np.full((64, 64, 3), 90, np.uint8))).looks == (0,) * 8


def test_damage_inside_is_found_however_the_file_ends(tmp_path: Path):
    """Of 60 JPEGs with 300 bytes set to 0 all are found; Ultralytics takes each of them."""
    from ultralytics.data.utils import check_image

    random = np.random.default_rng(0)
    for i in range(60):
        at = int(random.integers(900, len(PHOTO) - 400))
        content = PHOTO[:at] + bytes(300) + PHOTO[at + 300 :]
        assert _deep(tmp_path, content).damage, (i, at)
    assert check_image(str(tmp_path / "x.jpg"))[0] == ""


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_with_an_end_marker_is_found(tmp_path: Path, progressive: bool):
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    content = bytes(cv2.imencode(".jpg", photo(), flags)[1])
    deep = _deep(tmp_path, cut(content))
    assert deep.damage
    tiny = TinySet(tmp_path / "set")
    tiny.image(".jpg", cut(content))
    assert _codes(tiny) == ["IM028" if progressive else "IM029"]


def test_a_grey_rest_without_damage_is_found_and_a_black_border_is_not(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.image(".jpg", encode(".jpg", grey_tail(photo())))
    assert _codes(tiny) == ["IM029"]
    for value in (0, 255, 110):
        bordered = photo()
        bordered[-80:] = bordered[:80] = value
        tiny.image(".jpg", encode(".jpg", bordered))
        assert _codes(tiny) == []


def test_padding_and_a_missing_end_marker_are_no_damage(tmp_path: Path):
    padded = PHOTO[:-2] + bytes(8) + PHOTO[-2:]
    assert _deep(tmp_path, padded).damage == ""
    tiny = TinySet(tmp_path / "set")
    tiny.image(".jpg", PHOTO[:-2] + b"\xff\xd9trailing")
    assert _codes(tiny) == ["IM004"]


def test_only_strong_blur_is_told(tmp_path: Path):
    sharp, light = _deep(tmp_path, PHOTO).detail, _deep(tmp_path, encode(".jpg", cv2.blur(photo(), (5, 5)))).detail
    assert sharp > light > 0.02 > _deep(tmp_path, encode(".jpg", soft())).detail > 0


def test_many_bands_floats_and_deep_values_are_looked_at(tmp_path: Path):
    for dtype, top in (("float32", 255), ("uint16", 65535), ("uint8", 255)):
        pages = [picture(channels=1, dtype=dtype, top=top, seed=i) for i in range(6)]
        seen = _look(tmp_path, tiff_pages(pages), "tiff", 6)
        assert seen.deep is not None and 100 < seen.deep.mean < 150 and seen.pixels.shape == (48, 64, 6)
    nan = np.full((40, 40, 2), np.nan, np.float32)
    assert shrink(nan).max() == 0
    assert shrink(picture(3, 4000)).shape == (3, 4000) and shrink(picture(1, 1)).shape == (1, 1)


def test_cmyk_and_undecodable_jpegs_are_left_to_the_other_decoder(tmp_path: Path):
    seen = _look(tmp_path, saved("JPEG", "CMYK"))
    assert seen.deep is not None and seen.pixels.dtype == "uint8"
    gone = next(look_all([(str(tmp_path / "gone.jpg"), "jpg", (900, 1, 1, 1, 0))], 3))
    assert gone[0].fault == "missing" and gone[1:] == (None, (0,) * 8, None)
    assert small_copy(str(tmp_path / "gone.jpg"), 3) is None


def test_a_jpeg_that_no_decoder_takes_crashes_training_and_is_told(tmp_path: Path):
    from ultralytics.data.utils import check_image
    from ultralytics.utils.patches import imread

    tiny = TinySet(tmp_path)
    start = PHOTO.index(b"\xff\xc4")
    file = tiny.image(".jpg", PHOTO[:start] + PHOTO[PHOTO.index(b"\xff\xda") :])
    broken = bytearray(file.read_bytes())
    scan = broken.index(b"\xff\xda") + 5
    broken[scan] = 9  # a component that there is not
    file.write_bytes(bytes(broken))
    assert check_image(str(file))[0] == "" and imread(str(file)) is None
    assert _codes(tiny) == ["IM009"]


def test_without_deep_nothing_is_decoded(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.image(".jpg", zeroed(PHOTO))
    report = run(tiny.root)
    assert report.findings == ()
    assert {"IM028", "SP004"} <= {code for code, _ in report.skipped}


def test_files_larger_than_the_memory_are_read_whole(tmp_path: Path):
    large = PHOTO + bytes(3 << 20)
    with_comments = PHOTO[:2] + (b"\xff\xfe\xff\xff" + bytes(65533)) * 40 + PHOTO[2:]
    for content in (large, with_comments, PHOTO):
        assert _look(tmp_path, content).looks == _look(tmp_path, PHOTO).looks


def test_what_a_damaged_image_leaves_out_is_grey_whatever_the_memory_held(tmp_path: Path):
    content = bytearray(encode(".jpg", picture()))
    content.insert(content.index(b"\xff\xda") + 10, 0x2C)  # the third component asks for a table that is not there
    deep = _deep(tmp_path, bytes(content))
    assert "Huffman table" in deep.damage
    assert (deep.low, deep.high, deep.tail, deep.tail_value) == (128, 128, 1.0, 128)


def test_hashes_do_not_depend_on_what_is_judged_together(tmp_path: Path):
    images = []
    for i, (height, width) in enumerate([(480, 640), (300, 200), (480, 640), (32, 32), (480, 640), (300, 200)]):
        file = tmp_path / f"{i}.jpg"
        file.write_bytes(encode(".jpg", photo(i, height, width)))
        images.append((str(file), "jpg", (file.stat().st_size, 1, 1, 1, 0)))
    together = list(look_all(images, 3))
    assert together == [next(look_all([image], 3)) for image in images]
    assert len({looks for _, _, looks, _ in together}) == len(images)


@pytest.mark.parametrize("off", [-7, 9])
def test_a_file_that_has_changed_since_it_was_listed_is_decoded_as_it_is_now(tmp_path: Path, off: int):
    files = [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.jpg"]
    sizes = [file.write_bytes(encode(".jpg", photo(i))) for i, file in enumerate(files)]
    listed = [(str(file), "jpg", (size, 1, 1, 1, 0)) for file, size in zip(files, sizes, strict=True)]
    now = [look[1:] for look in look_all(listed, 3)]
    listed[1] = str(files[1]), "jpg", (sizes[1] + off, 1, 1, 1, 0)
    assert [look[1:] for look in look_all(listed, 3)] == now and all(deep is not None for deep, *_ in now)


def _scans(content: bytes) -> list[int]:
    """Where the scans of a JPEG begin."""
    return [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"]


@pytest.mark.parametrize("grey", [False, True])
def test_a_progressive_jpeg_without_its_later_scans_is_damaged(tmp_path: Path, grey: bool):
    from ultralytics.data.utils import check_image

    pixels = photo()[..., 0] if grey else photo()
    whole = bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    places = _scans(whole)
    assert len(places) > 3
    tiny = TinySet(tmp_path)
    for content, damaged in ((whole, False), (whole[: places[1]] + b"\xff\xd9", True), (encode(".jpg", pixels), False)):
        file = tiny.image(".jpg", content)
        check_image(str(file))
        assert file.read_bytes() == content, "Ultralytics takes it as it is"
        found = [f for f in run(tmp_path, options=LintOptions(deep=True), cache=False).findings if f.code == "IM028"]
        assert bool(found) == damaged
        assert not damaged or f"{1 if grey else 3} of {1 if grey else 3} colour components" in found[0].message
    for end in range(2, 700, 7):
        assert isinstance(without_detail(whole[:end]), str)
    assert without_detail(whole[: places[4]] + b"\xff\xd9") == ""
