"""Valid input for exporters: pictures with drawn objects, and their annotations as LabelMe, COCO and masks."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 320, 240
NAMES = ("nut", "bolt")
Points = Sequence[tuple[float, float]]


def corners(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """A rectangle's four corners in pixels, from the top left one clockwise."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def turned(x: float, y: float, width: float, height: float, degrees: float) -> list[tuple[float, float]]:
    """The corners of a rectangle around a centre, turned clockwise."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed = np.array(corners(-width / 2, -height / 2, width, height)) @ turn + np.array([x, y])
    return [(float(px), float(py)) for px, py in placed]


def disc(x: float, y: float, radius: float, count: int = 16) -> list[tuple[float, float]]:
    """The corners of a round object."""
    angles = np.arange(count) * 2 * np.pi / count
    return [(float(x + radius * np.cos(a)), float(y + radius * np.sin(a))) for a in angles]


def pixels(seed: int, outlines: Sequence[Points] = (), width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Coarse seeded noise of its own for each seed, with light objects on it."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(20, 130, (height // 20, width // 20, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    for outline in outlines:
        colour = tuple(int(c) for c in draw.integers(150, 250, 3))
        cv2.fillPoly(picture, [np.round(np.array(outline)).astype(np.int32)], colour)
    return picture


def picture(path: Path, seed: int, outlines: Sequence[Points] = (), **size: int) -> Path:
    """The same as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels(seed, outlines, **size))
    return path


def mask(*outlines: Points, holes: Sequence[Points] = (), width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A bool array that is true inside of the outlines and false in the holes."""
    drawn = np.zeros((height, width), np.uint8)
    for value, group in ((1, outlines), (0, holes)):
        for outline in group:
            cv2.fillPoly(drawn, [np.round(np.array(outline)).astype(np.int32)], value)
    return drawn.astype(bool)


def shape(label: str, points: Points, kind: str = "polygon", **more: Any) -> dict[str, Any]:
    """One object as LabelMe writes it."""
    own = {"label": label, "points": [list(p) for p in points], "group_id": None, "shape_type": kind, "flags": {}}
    return {**own, **more}


def labelme(folder: Path, stem: str, seed: int, shapes: Sequence[dict[str, Any]]) -> None:
    """A picture with its LabelMe file (5.5), with the picture's bytes in it as LabelMe does by default."""
    outlines = [s["points"] for s in shapes if s["shape_type"] == "polygon"]
    image = picture(folder / f"{stem}.png", seed, outlines)
    whole = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image.name,
        "imageData": base64.b64encode(image.read_bytes()).decode(),
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    (folder / f"{stem}.json").write_text(json.dumps(whole))


def flat(points: Points) -> list[float]:
    """x y x y ... as COCO holds outlines."""
    return [float(number) for point in points for number in point]


def of_coco(image: int, category: int, outline: Points, **more: Any) -> dict[str, Any]:
    """An annotation of COCO around an outline; its number is given by `coco`."""
    xs, ys = zip(*outline, strict=True)
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    area = float(cv2.contourArea(np.array(outline, np.float32)))
    own = {"image_id": image, "category_id": category, "bbox": [float(b) for b in box], "area": area, "iscrowd": 0}
    return {**own, "segmentation": [flat(outline)], **more}


def coco(
    folder: Path,
    annotations: Sequence[dict[str, Any]],
    images: int,
    categories: dict[int, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Path:
    """Images `0.png` to the last in `images`, and `coco.json` beside that folder; ids of images from 1."""
    width, height = size
    numbered = [{"id": i + 1, **annotation} for i, annotation in enumerate(annotations)]
    records = []
    for i in range(images):
        own = [a for a in annotations if a["image_id"] == i + 1]
        outlines = [corners(*a["bbox"]) for a in own]
        picture(folder / "images" / f"{i}.png", i, outlines, width=width, height=height)
        records.append({"id": i + 1, "file_name": f"{i}.png", "width": width, "height": height})
    names = categories if categories is not None else dict(enumerate(NAMES, 1))
    whole = {
        "info": {},
        "licenses": [],
        "images": records,
        "annotations": numbered,
        "categories": [{"id": i, "name": name, "supercategory": ""} for i, name in names.items()],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(whole))
    return path


def turned_photos(root: Path) -> Path:
    """A healthy YOLO set, its data.yaml returned, of photos 120 x 240 as shown that are stored lying, as phones do."""
    tags = Image.Exif()
    tags[274] = 6
    for i in range(6):
        split = "val" if i > 3 else "train"
        x, y, width, height = 10 + i, 20 + 20 * i, 60, 40
        shown = pixels(i, [corners(x, y, width, height)], width=120, height=240)
        file = root / "photos" / "images" / split / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        lying = Image.fromarray(shown[..., ::-1]).transpose(Image.Transpose.ROTATE_90)
        lying.save(file, quality=95, exif=tags)
        label = root / "photos" / "labels" / split / f"{i}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"0 {(x + width / 2) / 120} {(y + height / 2) / 240} {width / 120} {height / 240}\n")
    return data_yaml(root / "photos", ("nut",))


def layout(root: Path, images: Path, labels: Path, names: Sequence[str], **more: Any) -> Path:
    """The files of an exporter in the folders that Ultralytics wants, the first third for val, with data.yaml."""
    files = sorted(path for path in images.iterdir() if path.suffix in (".png", ".jpg"))
    for i, file in enumerate(files):
        split = "val" if i % 3 == 2 else "train"
        place(file, root / "images" / split / file.name)
        label = labels / f"{file.stem}.txt"
        if label.exists():
            place(label, root / "labels" / split / label.name)
    return data_yaml(root, names, **more)


def place(source: Path, target: Path) -> None:
    """Copy a file, with the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def data_yaml(root: Path, names: Sequence[str], **more: Any) -> Path:
    """The data.yaml that a user writes for a set in `images/train` and `images/val`."""
    path = root / "data.yaml"
    lines = ["train: images/train", "val: images/val", f"names: {json.dumps(list(names))}"]
    path.write_text("\n".join([*lines, *(f"{key}: {json.dumps(value)}" for key, value in more.items())]) + "\n")
    return path
