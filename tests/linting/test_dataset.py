"""Images, labels and pixels are read as Ultralytics reads them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture
from PIL import Image as PILImage

from yolo_nanfix.dataset.config import read_config
from yolo_nanfix.dataset.image_header import read_header
from yolo_nanfix.dataset.images import Part, read_images
from yolo_nanfix.dataset.index import survey
from yolo_nanfix.dataset.label_parser import LabelReader, read_labels
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.listing import Folders, list_images
from yolo_nanfix.dataset.paths import label_path
from yolo_nanfix.errors import DataError


def _read(tiny: TinySet, task: str = "detect") -> SimpleNamespace:
    config = read_config(tiny.root)
    seen = survey(config, Folders())
    npys = seen.npys(np.arange(len(seen.files)))
    splits_of = [seen.split_names[split] for split in seen.split]
    stamps = seen.stamps(np.arange(len(seen.files)))
    listed = Part(seen.files, splits_of, seen.labels, seen.labelled.tolist(), npys, stamps)
    images = read_images(listed, config.channels, deep=False)
    labels = read_labels(seen.labels, range(len(images)), task, config.kpt_shape)
    splits = {name: tuple(listed.tolist()) for name, listed in seen.splits.items()}
    return SimpleNamespace(config=config, images=images, splits=splits, labels=labels, strays=seen.strays)


def _labels(tmp_path: Path, content: bytes, task: str = "detect", kpt: tuple[int, int] | None = None) -> Labels:
    file = tmp_path / "x.txt"
    file.write_bytes(content)
    reader = LabelReader(task, kpt)
    assert reader.read(str(file), 0)
    return reader.finish()


def test_the_tables(tmp_path: Path):
    data = _read(TinySet(tmp_path))
    image = data.images[0]
    assert (image.split, image.suffix, image.labelled, image.npy, image.pixels) == (
        "train",
        "jpg",
        True,
        None,
        None,
    )
    assert (image.header.width, image.header.height, image.header.format, image.header.mode) == (
        64,
        48,
        "JPEG",
        "RGB",
    )
    assert data.splits == {"train": (0,), "val": (1,)}
    assert data.labels.cls.tolist() == [0, 1, 0, 1]
    assert data.labels.line.tolist() == [1, 2, 1, 2]
    assert data.labels.file.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(data.labels.box[1], np.float32([0.3, 0.3, 0.1, 0.2]))


def test_lists_and_folders_as_ultralytics_lists_them(tmp_path: Path):
    from ultralytics.data.base import BaseDataset

    for name in (
        "a.jpg",
        "b.PNG",
        "c.txt",
        "deep/d.tif",
        ".hidden.jpg",
        ".cache/e.jpg",
        "f [1].webp",
        "g.jpg.bak",
    ):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    listing = tmp_path / "list.txt"
    listing.write_text(f"./images/a.jpg\n{tmp_path}/images/deep/d.tif\nimages/a.jpg\nREADME\n\n", encoding="utf-8-sig")
    stock = object.__new__(BaseDataset)
    stock.fraction, stock.prefix = 1.0, ""
    for paths in ([tmp_path / "images"], [listing], [tmp_path / "images", listing]):
        assert list_images(tuple(paths), Folders(), {}) == stock.get_img_files([str(p) for p in paths])


def test_label_paths_as_ultralytics_derives_them():
    from ultralytics.data.utils import img2label_paths

    for image in (
        "/d/images/train/a.b.jpg",
        "/d/images/x/images/a.jpg",
        "/d/pics/a.jpg",
        "images/a.jpg",
        "/a/images/b",
    ):
        if "." in image:
            assert label_path(image) == img2label_paths([image])[0]


def test_an_unreadable_list_is_refused(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put("train.txt", "ä".encode("latin-1"))
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    with pytest.raises(DataError, match="list of images"):
        _read(tiny)


def test_a_file_listed_twice_is_read_once(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put("train.txt", "./images/train/a.jpg\n./images/train/a.jpg\n")
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    data = _read(tiny)
    assert data.splits["train"] == (0, 0) and len(data.images) == 2


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"comment": b"x" * 200}, {"exif": b"Exif\0\0" + b"x" * 6000}]
)
def test_jpeg_headers_agree_with_pillow(tmp_path: Path, mode: str, options: dict):
    file = tmp_path / "x.jpg"
    PILImage.new(mode, (31, 17)).save(file, "JPEG", **options)
    header = read_header(str(file))
    assert (header.width, header.height, header.format, header.mode, header.fault) == (
        31,
        17,
        "JPEG",
        mode,
        "",
    )


def test_what_is_no_image_file(tmp_path: Path):
    (tmp_path / "dir.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert read_header(str(tmp_path / "dir.jpg")).fault == "unreadable"
    assert read_header(str(tmp_path / "pipe.jpg")).fault == "unreadable"
    assert read_header(str(tmp_path / "none.jpg")).fault == "missing"
    assert read_header("\0.jpg").fault == "unreadable"
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    assert "pi-heif" in read_header(str(tmp_path / "x.heic")).reason


def test_a_decompression_bomb_is_a_finding_not_an_error(tmp_path: Path, monkeypatch):
    from yolo_nanfix.linting.runner import run

    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", 1000)
    assert {f.code for f in run(TinySet(tmp_path / "jpeg").root).findings} == {"IM008"}
    tiny = TinySet(tmp_path / "png")
    tiny.image(".png", encode(".png", picture()))
    (finding,) = [f for f in run(tiny.root).findings if f.code == "IM018"]
    assert "exceeds limit" in finding.message


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("0 0.5 0.5 0.2", ["columns"]),
        ("0 a 0.5 0.2 0.2\n0,1 2 3 4 5\n# hi\n0 1 1 1 1 # hi", ["number", "comma", "comment", "comment"]),
        ("0 0 0 1 1\n0 .1 .1 .2 .1 .2 .2\n0 0 0 1 1", ["mixed"]),
        ("0 .1 .1 .2 .1 .2 .2\n0 1 1 1 1 1", ["columns"]),
        ("\u0660 0.5 0.5 0.2 0.2", ["spelling"]),
    ],
)
def test_bad_rows(tmp_path: Path, text: str, kinds: list[str]):
    assert [bad.kind for bad in _labels(tmp_path, text.encode()).bad] == kinds


def test_polygons_become_the_boxes_of_ultralytics(tmp_path: Path):
    from ultralytics.data.utils import verify_image_label

    image = tmp_path / "x.jpg"
    image.write_bytes(encode(".jpg", picture()))
    points = np.random.default_rng(1).random((6, 9, 2))
    text = "\n".join(f"{i} " + " ".join(f"{v:.7f}" for v in p.ravel()) for i, p in enumerate(points))
    ours = _labels(tmp_path, text.encode())
    stock = verify_image_label((str(image), str(tmp_path / "x.txt"), "", False, 9, 0, 0, False))[1]
    np.testing.assert_array_equal(np.column_stack([ours.cls, ours.box]), stock)


def test_pose_rows(tmp_path: Path):
    row = "0 0.5 0.5 0.2 0.2" + " 0.5 0.5 2" * 2
    assert not _labels(tmp_path, row.encode(), "pose", (2, 3)).bad
    assert [b.kind for b in _labels(tmp_path, ROWS.encode(), "pose", (2, 3)).bad] == ["columns"] * 2
    boxes = _labels(tmp_path, row.encode(), "detect", (2, 3))
    assert boxes.box.shape == (1, 4) and not boxes.polygons[0]
    assert np.isnan(_labels(tmp_path, row.replace(" 2", " nan", 1).encode(), "pose", (2, 3)).extra).all()
