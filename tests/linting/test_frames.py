"""Annotations of images that EXIF turns: lint says of each frame what the converter and the loader make of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from linting.tiny_set import turned

from yolo_nanfix.findings import Report
from yolo_nanfix.linting.runner import run

WIDTH, HEIGHT = 120, 72
"""Of the stored pixels."""
BOXES = ((84, 8, 20, 12), (10, 44, 24, 20), (90, 50, 22, 14))
CODES = {
    ("shown", "shown"): None,
    ("shown", "stored"): "AN034",
    ("stored", "stored"): "AN033",
    ("stored", "shown"): "AN033",
}


def on_picture(box: tuple[int, ...], turn: int) -> tuple[int, ...]:
    """x, y, w, h of a box of the stored pixels on the picture that EXIF shows."""
    x, y, w, h = box
    right, below = WIDTH - x - w, HEIGHT - y - h
    x, y = {1: (x, y), 2: (right, y), 3: (right, below), 4: (x, below), 5: (y, x), 6: (below, x), 7: (below, right),
            8: (y, right)}[turn]  # fmt: skip
    return (x, y, w, h) if turn < 5 else (x, y, h, w)


def dataset(root: Path, turn: int, boxes: str, size: str, suffix: str = "jpg") -> Path:
    """Three images with bright objects, two of them turned, as COCO: boxes and sizes in one frame or the other."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y, w, h in BOXES:
        pixels[y : y + h, x : x + w] = 255
    whole = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "sign"}]}
    (root / "images").mkdir(parents=True)
    for k, own in enumerate((turn, 1, turn)):
        name = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF"}[suffix]
        (root / f"images/{k}.{suffix}").write_bytes(turned(pixels, own, name))
        sides = (HEIGHT, WIDTH) if size == "shown" and own > 4 else (WIDTH, HEIGHT)
        whole["images"].append({"id": k, "file_name": f"{k}.{suffix}", "width": sides[0], "height": sides[1]})
        for box in BOXES:
            box = on_picture(box, own) if boxes == "shown" else box
            number = len(whole["annotations"]) + 1
            whole["annotations"].append({"id": number, "image_id": k, "category_id": 1, "bbox": list(box)})
    (root / "instances.json").write_text(json.dumps(whole))
    return root


def brightness(root: Path, suffix: str) -> float:
    """How bright the boxes that `convert_coco` writes are, at least, on the pictures that Ultralytics loads."""
    from ultralytics.data.converter import convert_coco
    from ultralytics.utils.patches import imread

    convert_coco(str(root), str(root / "out"), cls91to80=False)
    found = []
    for k in range(3):
        picture = imread(root / f"images/{k}.{suffix}")
        sides = np.array(picture.shape[1::-1] * 2)
        for row in (root / f"out/labels/instances/{k}.txt").read_text().splitlines():
            x, y, w, h = np.array(row.split()[1:], float) * sides
            inside = picture[max(round(y - h / 2), 0) : round(y + h / 2), max(round(x - w / 2), 0) : round(x + w / 2)]
            found.append(inside.mean() if inside.size else 0.0)
    return min(found)


def codes(report: Report) -> dict[str, int]:
    return {code: n for code, n in report.by_code().items() if code[:2] in ("AN", "BX")}


@pytest.mark.parametrize("turn", range(5, 9))
@pytest.mark.parametrize(("boxes", "size"), CODES)
def test_a_frame_is_named_where_boxes_miss_their_objects(turn: int, boxes: str, size: str, tmp_path: Path):
    root = dataset(tmp_path, turn, boxes, size)
    code = CODES[boxes, size]
    report = run(root)
    found = {key: n for key, n in codes(report).items() if key[:2] == "AN"}
    assert found == ({code: 1} if code else {})
    assert (brightness(root, "jpg") > 240) == (code is None)
    assert not {"IM035", "IM036"} & set(report.by_code())
    if code == "AN034":
        assert codes(report) == {code: 1}, "boxes are judged at the size that is right"


@pytest.mark.parametrize("turn", range(1, 5))
def test_turns_that_keep_the_sides_are_right_if_shown(turn: int, tmp_path: Path):
    root = dataset(tmp_path, turn, "shown", "shown")
    assert codes(run(root)) == {} and brightness(root, "jpg") > 240


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_other_formats_are_judged_alike(suffix: str, tmp_path: Path):
    right = dataset(tmp_path / "right", 8, "shown", "shown", suffix)
    assert codes(run(right)) == {} and brightness(right, suffix) > 240
    assert codes(run(dataset(tmp_path / "swapped", 8, "shown", "stored", suffix))) == {"AN034": 1}
    assert "AN033" in codes(run(dataset(tmp_path / "stored", 8, "stored", "stored", suffix)))


def test_the_finding_has_the_numbers(tmp_path: Path):
    (swapped,) = (f for f in run(dataset(tmp_path, 6, "shown", "stored")).findings if f.code == "AN034")
    assert swapped.place.file == str(tmp_path / "instances.json")
    assert "2 of 3 images" in swapped.message and "0.jpg is 72x120 as shown, 120x72 as stored" in swapped.message


def test_voc_is_judged_as_a_whole(tmp_path: Path):
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    for name, size in (("a", (WIDTH, HEIGHT)), ("b", (HEIGHT, WIDTH)), ("c", (WIDTH, HEIGHT))):
        (tmp_path / f"JPEGImages/{name}.jpg").write_bytes(turned(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 6))
        x, y, w, h = on_picture(BOXES[2], 6)
        corners = f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
        text = f"<filename>{name}.jpg</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        text += f"<object><name>sign</name><bndbox>{corners}</bndbox></object>"
        (tmp_path / f"Annotations/{name}.xml").write_text(f"<annotation>{text}</annotation>")
    report = run(tmp_path)
    assert codes(report) == {"AN034": 1}
    (swapped,) = (f for f in report.findings if f.code == "AN034")
    assert swapped.place.file == str(tmp_path) and "2 of 3 images" in swapped.message


def test_a_turned_image_without_boxes_is_no_finding(tmp_path: Path):
    root = dataset(tmp_path, 6, "shown", "stored")
    whole = json.loads((root / "instances.json").read_text())
    whole["annotations"] = [one for one in whole["annotations"] if one["image_id"] == 1]
    (root / "instances.json").write_text(json.dumps(whole))
    assert codes(run(root)) == {}


def test_boxes_stretched_to_the_stored_sides_are_right_once_divided_by_them(tmp_path: Path):
    """As globox and others make COCO of YOLO labels: they take width and height from the header."""
    root = dataset(tmp_path, 6, "shown", "shown")
    whole = json.loads((root / "instances.json").read_text())
    for one in whole["images"]:
        if one["id"] != 1:
            one["width"], one["height"] = WIDTH, HEIGHT
    for one in whole["annotations"]:
        if one["image_id"] != 1:
            x, y, w, h = one["bbox"]
            across, down = WIDTH / HEIGHT, HEIGHT / WIDTH
            one["bbox"] = [x * across, y * down, w * across, h * down]
    (root / "instances.json").write_text(json.dumps(whole))
    assert codes(run(root)) == {} and brightness(root, "jpg") > 240


def test_any_number_may_stand_in_turned_images(tmp_path: Path):
    root = dataset(tmp_path, 6, "shown", "stored")
    whole = json.loads((root / "instances.json").read_text())
    for one, box in zip(
        whole["annotations"], ([1e308, 1, 1e308, 1], [-1e308, 0, 1, 1e-320], [0, 0, 2**60, 1]), strict=False
    ):
        one["bbox"] = box
    (root / "instances.json").write_text(json.dumps(whole))
    assert "AN034" in codes(run(root))


@pytest.mark.parametrize(("decimals", "accused"), [(6, False), (None, True)])
def test_pixels_made_of_yolo_labels_say_nothing_of_the_frame(decimals: int | None, accused: bool, tmp_path: Path):
    """Divided by the sides of the header, the numbers of the label files come back, whatever was meant there."""
    root = dataset(tmp_path, 6, "stored", "stored")
    whole = json.loads((root / "instances.json").read_text())
    rng = np.random.default_rng(0)
    for one in whole["annotations"]:
        x, y, w, h = rng.uniform((0.1, 0.1, 0.05, 0.05), (0.6, 0.6, 0.2, 0.2))
        if decimals is not None:
            x, y, w, h = np.round((x, y, w, h), decimals)
        one["bbox"] = [(x - w / 2) * WIDTH, (y - h / 2) * HEIGHT, w * WIDTH, h * HEIGHT]
    (root / "instances.json").write_text(json.dumps(whole))
    assert ("AN033" in codes(run(root))) is accused
