#!/usr/bin/env python3
"""Draw small seeded YOLO datasets, and plant known faults in them.

    python scripts/make_datasets.py demo OUT [--seed N] [--clean]

`demo` follows datasets/demo.yaml. Tests use `make_dataset` and `plant`. Every picture has a generator of its
own, seeded by (seed, split, number), so the same versions of NumPy and OpenCV write the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import yaml

TASKS = ("detect", "segment", "pose", "obb")
SHAPES = ("nut", "coin", "seed", "plate")
LABEL_FAULTS = ("label_nan", "label_class", "label_comma", "label_zero_box", "label_duplicate", "label_spill")
FILE_FAULTS = ("nan_pixels", "png16", "orphan_label", "missing_label", "truncated_jpeg", "png_as_jpg")
MARKER = ".made_by_make_datasets.json"
OWN_NAMES = {"images", "labels", "data.yaml", MARKER}  # a made folder that holds more is never replaced
DEMO_SPEC = Path(__file__).resolve().parent.parent / "datasets" / "demo.yaml"
SUPERSAMPLE = 4  # outlines are drawn this much finer, then averaged, for smooth edges in the right place


class DatasetError(Exception):
    """Something the caller asked for cannot be written; the message says what and why."""


@dataclass(frozen=True)
class Item:
    """One object: its class and where it lies, in pixels with (0, 0) at the image's upper left corner."""

    cls: int
    centre: tuple[float, float]
    radius: float
    angle: float

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points of the object's own frame (radius 1, unturned) as image coordinates."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return points @ np.array([[c, s], [-s, c]]) * self.radius + self.centre

    @property
    def outline(self) -> np.ndarray:
        """The outline as an (n, 2) array of image coordinates."""
        return self.place(shape_outline(self.cls))

    @property
    def corners(self) -> np.ndarray:
        """The four corners of the tight rectangle turned with the object."""
        (left, top), (right, bottom) = shape_outline(self.cls).min(0), shape_outline(self.cls).max(0)
        return self.place(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))

    @property
    def keypoints(self) -> np.ndarray:
        """Centre, painted mark and the point opposite to it."""
        return self.place(np.array([[0.0, 0.0], [0.72, 0.0], [-0.72, 0.0]]))


class Scene(NamedTuple):
    """A picture (float32, 0 to 255, height x width x 3), the same without its objects, and the objects."""

    image: np.ndarray
    background: np.ndarray
    items: list[Item]


def shape_outline(cls: int) -> np.ndarray:
    """Outline of a class in its own frame; classes beyond the four shapes repeat them in other colours."""
    shape = SHAPES[cls % len(SHAPES)]
    if shape == "plate":
        return np.array([[1.0, 0.6], [-1.0, 0.6], [-1.0, -0.6], [1.0, -0.6]])
    turn = np.linspace(0, 2 * np.pi, 6 if shape == "nut" else 24, endpoint=False)
    points = np.stack([np.cos(turn), np.sin(turn)], 1)
    if shape == "seed":
        points[:, 1] *= 0.6 - 0.2 * points[:, 0]  # one end blunt, one pointed
    return points


def class_names(n_classes: int) -> list[str]:
    """One name for each class: nut, coin, seed, plate, nut_2, coin_2, ..."""
    rounds = [""] + [f"_{n}" for n in range(2, n_classes + 1)]
    return [shape + suffix for suffix in rounds for shape in SHAPES][:n_classes]


def coverage(item: Item, size: tuple[int, int]) -> np.ndarray:
    """Share of each pixel that the object covers, 0 to 1, as a (height, width) float32 array."""
    fine = np.zeros((size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE), np.uint8)
    cv2.fillPoly(fine, [np.round(item.outline * SUPERSAMPLE - 0.5).astype(np.int32)], 255)
    return cv2.resize(fine, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _octaves(rng: np.random.Generator, size: tuple[int, int], cells: Sequence[int]) -> np.ndarray:
    """Smooth noise of about unit spread: coarse grids enlarged and added, each finer one weaker."""
    total = np.zeros(size, np.float32)
    for step, n in enumerate(cells):
        grid = rng.normal(0, 0.65**step, (n, n)).astype(np.float32)
        total += cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)
    return total


def _background(rng: np.random.Generator, size: tuple[int, int], light: np.ndarray) -> np.ndarray:
    """A sheet of material: a tone, mottling, faint rolling lines, light falling from one side, and grain."""
    y, x = np.mgrid[0 : 1 : complex(size[0]), 0 : 1 : complex(size[1])].astype(np.float32)
    lines = np.sin((x * np.cos(t := rng.uniform(0, np.pi)) + y * np.sin(t)) * rng.uniform(60, 120))
    shade = 1 + 0.08 * _octaves(rng, size, (3, 6, 12, 24)) + 0.03 * lines
    shade *= 1 + rng.uniform(0.1, 0.35) * ((x - 0.5) * light[0] + (y - 0.5) * light[1])
    tone = rng.uniform(85, 150) * (1 + rng.uniform(-0.12, 0.12, 3))
    grain = rng.normal(0, rng.uniform(2, 6), (*size, 1)) + rng.normal(0, 1.5, (*size, 3))
    return (tone * shade[..., None] + grain).astype(np.float32)


def _colour(rng: np.random.Generator, cls: int) -> np.ndarray:
    """Body colour in BGR: brass, steel or copper for the first four classes, a hue of its own for others."""
    if cls < len(SHAPES):
        metal = np.array([[95, 185, 215], [205, 205, 200], [85, 125, 200]], np.float32)[rng.integers(3)]
        return metal * rng.uniform(0.85, 1.1)
    hue = (cls // len(SHAPES)) * 47 % 180
    return cv2.cvtColor(np.array([[[hue, 170, 210]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)


def _paint(canvas: np.ndarray, item: Item, rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """The canvas with one object on it: shadow, bevelled and brushed body, hole, painted mark."""
    size = canvas.shape[:2]
    cover = coverage(item, size)
    shift = np.float32([[1, 0, -light[0] * item.radius * 0.2], [0, 1, -light[1] * item.radius * 0.2]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(cover, shift, size[::-1]), (0, 0), max(0.8, item.radius * 0.1))
    canvas = canvas * (1 - 0.5 * shadow[..., None])

    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    x, y = (x + 0.5 - item.centre[0]) / item.radius, (y + 0.5 - item.centre[1]) / item.radius
    c, s = np.cos(item.angle), np.sin(item.angle)
    u, v = x * c + y * s, y * c - x * s  # the object's own frame
    depth = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / item.radius
    slope_y, slope_x = np.gradient(np.minimum(depth, 0.22) * item.radius)
    brushed = np.sin(v * rng.uniform(15, 30) + rng.uniform(0, 6)) * 0.04 + rng.normal(0, 0.03, size)
    shade = 0.85 - 0.35 * (slope_x * light[0] + slope_y * light[1]) + brushed
    body = _colour(rng, item.cls) * shade[..., None]
    body = np.where(np.hypot(u - 0.72, v)[..., None] < 0.14, np.float32([40, 40, 190]), body)
    solid = cover[..., None]
    if SHAPES[item.cls % len(SHAPES)] == "nut":
        hole = np.clip((0.5 - np.hypot(u, v)) * item.radius + 0.5, 0, 1)[..., None]
        body = body * (1 - hole) + canvas * 0.45 * hole
    return canvas * (1 - solid) + body * solid


def draw_scene(rng: np.random.Generator, size: tuple[int, int], n_classes: int) -> Scene:
    """One picture with 1 to 4 objects that lie apart and wholly inside, their turned rectangles too."""
    turn = rng.uniform(0, 2 * np.pi)
    light = np.array([np.cos(turn), np.sin(turn)])
    canvas = background = _background(rng, size, light)
    items: list[Item] = []
    wanted = int(rng.integers(1, 5))
    for _ in range(40):
        if len(items) == wanted:
            break
        radius = float(rng.uniform(0.1, 0.19) * min(size))
        x, y = (float(rng.uniform(radius + 1, side - radius - 1)) for side in (size[1], size[0]))
        item = Item(int(rng.integers(n_classes)), (x, y), radius, float(rng.uniform(0, 2 * np.pi)))
        apart = all(np.hypot(x - o.centre[0], y - o.centre[1]) > 1.15 * (radius + o.radius) for o in items)
        if apart and (item.corners >= 0).all() and (item.corners <= size[::-1]).all():
            canvas = _paint(canvas, item, rng, light)
            items.append(item)
    return Scene(canvas.clip(0, 255), background.clip(0, 255), items)


def label_row(item: Item, task: str, size: tuple[int, int]) -> str:
    """The object's line in a YOLO label file, six decimals."""
    scale = np.array([size[1], size[0]], float)
    low, high = item.outline.min(0) / scale, item.outline.max(0) / scale
    values = [f"{v:.6f}" for v in (*(low + high) / 2, *(high - low))]
    if task == "pose":
        values += [text for x, y in item.keypoints / scale for text in (f"{x:.6f}", f"{y:.6f}", "2")]
    elif task != "detect":
        points = item.outline if task == "segment" else item.corners
        values = [f"{v:.6f}" for v in (points / scale).reshape(-1)]
    return " ".join([str(item.cls), *values])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a dataset holds. `size` is (height, width); channel counts other than 1 and 3 need ext "tif"."""

    n_train: int
    n_val: int
    seed: int
    task: str = "detect"
    size: tuple[int, int] = (128, 128)
    channels: int = 3
    n_classes: int = 1
    ext: str = "jpg"

    def __post_init__(self) -> None:
        """Refuse what could not be drawn, before anything is written."""
        if self.task not in TASKS:
            raise DatasetError(f"task {self.task!r} is not one of {', '.join(TASKS)}")
        if min(self.n_train, self.n_val, self.n_classes, self.channels) < 1:
            raise DatasetError("there must be at least one image in each split, one class and one channel")
        if min(self.size) < 32:
            raise DatasetError(f"size {self.size} is too small: at least 32 pixels are needed each way")
        if self.seed < 0:
            raise DatasetError(f"seed {self.seed} is negative")
        if self.channels not in (1, 3) and self.ext not in ("tif", "tiff"):
            raise DatasetError(f"{self.channels} channels can only be stored as tif, not as {self.ext}")


def paths(root: Path, split: str, index: int, ext: str = "jpg") -> tuple[Path, Path]:
    """Where the image with this number and its label file lie."""
    return root / "images" / split / f"{index:04d}.{ext}", root / "labels" / split / f"{index:04d}.txt"


def _save(path: Path, image: np.ndarray, channels: int = 3) -> None:
    """Write a picture as grey, BGR, or one TIFF page for each of any other number of channels."""
    pages = [image] if channels == 3 else [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)]
    if channels not in (1, 3):  # bands: the three colours in turn, each darker than the one before
        pages = [cv2.convertScaleAbs(image[..., i % 3], alpha=0.97**i) for i in range(channels)]
    if not (cv2.imwritemulti(str(path), pages) if len(pages) > 1 else cv2.imwrite(str(path), pages[0])):
        raise DatasetError(f"cannot write {path}: OpenCV has no writer for this format or size")


@contextmanager
def _replacing(root: Path) -> Iterator[Path]:
    """A new folder beside `root`, moved to `root` once the block ends well and removed when it does not.

    An earlier folder at `root` is replaced only if it is empty, or holds the marker and nothing foreign.
    """
    names = {p.name for p in root.iterdir()} if root.is_dir() else set()
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root} is a file; name a new folder")
    if names and (MARKER not in names or names - OWN_NAMES):
        raise DatasetError(f"{root} holds files that this script did not write; name a new or empty folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        (work / "new").mkdir()
        yield work / "new"
        if root.exists():
            root.rename(work / "old")
        (work / "new").rename(root)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fill(root: Path, recipe: Recipe) -> None:
    """Write pictures, labels, data.yaml and the marker into an empty folder."""
    started = time.monotonic()
    for number, (split, count) in enumerate((("train", recipe.n_train), ("val", recipe.n_val))):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for i in range(count):
            scene = draw_scene(np.random.default_rng([recipe.seed, number, i]), recipe.size, recipe.n_classes)
            image, label = paths(root, split, i, recipe.ext)
            _save(image, np.round(scene.image).astype(np.uint8), recipe.channels)
            rows = [label_row(item, recipe.task, recipe.size) for item in scene.items]
            label.write_text("\n".join(rows) + "\n")
            if time.monotonic() - started > 2 and i % 50 == 49:
                print(f"  {split}: {i + 1} of {count} images", file=sys.stderr)
    names = dict(enumerate(class_names(recipe.n_classes)))
    data: dict[str, Any] = {"train": "images/train", "val": "images/val", "names": names}
    if recipe.task == "pose":
        data |= {"kpt_shape": [3, 3], "flip_idx": [0, 1, 2]}
    if recipe.channels != 3:
        data["channels"] = recipe.channels
    # No `path` key, so that the folder may be moved.
    (root / "data.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    (root / MARKER).write_text(json.dumps(asdict(recipe)) + "\n")


def make_dataset(root: Path | str, **recipe: Any) -> Path:
    """Write a faultless dataset with exact labels to `root` and return the path of its data.yaml.

    The keywords are the fields of `Recipe`. Raises DatasetError for what cannot be made or overwritten.
    """
    root = Path(root).resolve()
    checked = Recipe(**recipe)
    with _replacing(root) as fresh:
        _fill(fresh, checked)
    return root / "data.yaml"


def _with_field(rows: list[str], field: int, value: str) -> list[str]:
    """The rows with one field of the first row replaced."""
    fields = rows[0].split()
    return [" ".join([*fields[:field], value, *fields[field + 1 :]]), *rows[1:]]


def _label_fault(fault: str, rows: list[str], n_classes: int) -> list[str]:
    """The rows of a detect label file with one fault added."""
    x = float(rows[0].split()[1])
    return {
        "label_nan": _with_field(rows, 2, "nan"),
        "label_class": _with_field(rows, 0, str(n_classes)),
        "label_comma": [rows[0].replace(" ", ","), *rows[1:]],
        "label_zero_box": [*rows, " ".join([*rows[0].split()[:3], "0", "0"])],
        "label_duplicate": [*rows, rows[0]],
        "label_spill": _with_field(rows, 3, f"{2 * min(x, 1 - x) + 0.08:.6f}"),  # 4 % past the nearer side
    }[fault]


def _file_fault(fault: str, image: Path, label: Path) -> Path:
    """Put one fault into the files of a jpg picture; return the file that now has it."""
    pixels = cv2.imread(str(image))
    if fault == "nan_pixels":  # a float copy beside the picture: Ultralytics prefers it, unless it is older
        holed = pixels.astype(np.float32)
        y, x = holed.shape[0] // 2, holed.shape[1] // 2
        holed[y - 4 : y + 4, x - 4 : x + 4] = np.nan
        np.save(copy := image.with_suffix(".npy"), holed)
        os.utime(copy, (newer := image.stat().st_mtime + 1, newer))
        return copy
    if fault == "png16":  # 12-bit data in a 16-bit file: black to a reader that keeps the upper 8 bits
        _save(deep := image.with_suffix(".png"), pixels.astype(np.uint16) * 16)
        image.unlink()
        return deep
    if fault == "orphan_label":  # a label file whose name no picture has
        return Path(shutil.copyfile(label, label.with_name(f"{label.stem}_old.txt")))
    if fault == "missing_label":
        label.unlink()
        return label
    if fault == "truncated_jpeg":  # as a broken download leaves it
        content = image.read_bytes()
        image.write_bytes(content[: len(content) * 6 // 10])
    else:  # png_as_jpg
        image.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return image


def plant(root: Path | str, fault: str, *, index: int, split: str = "train") -> Path:
    """Plant one of LABEL_FAULTS (detect only) or FILE_FAULTS in a jpg dataset; return the file it is in."""
    root = Path(root)
    recipe = json.loads((root / MARKER).read_text())
    if fault not in LABEL_FAULTS + FILE_FAULTS:
        raise DatasetError(f"no fault is called {fault!r}; known: {', '.join(LABEL_FAULTS + FILE_FAULTS)}")
    if recipe["ext"] != "jpg" or (fault in LABEL_FAULTS and recipe["task"] != "detect"):
        raise DatasetError(f"{fault!r} cannot be planted in a {recipe['task']} set of {recipe['ext']} files")
    image, label = paths(root, split, index)
    if not (image.is_file() and label.is_file()):
        raise DatasetError(f"fault {fault!r}: {split} image {index} is missing or has lost a file to a fault")
    if fault in FILE_FAULTS:
        return _file_fault(fault, image, label)
    rows = _label_fault(fault, label.read_text().splitlines(), recipe["n_classes"])
    label.write_text("\n".join(rows) + "\n")
    return label


def make_demo(root: Path | str, *, seed: int | None = None, clean: bool = False) -> Path:
    """Write the dataset that datasets/demo.yaml describes, faults included unless `clean`."""
    root = Path(root).resolve()
    spec = yaml.safe_load(DEMO_SPEC.read_text())
    recipe = dict(spec["dataset"], size=tuple(spec["dataset"]["size"]))
    if seed is not None:
        recipe["seed"] = seed
    checked = Recipe(**recipe)
    with _replacing(root) as fresh:
        _fill(fresh, checked)
        for fault in [] if clean else spec["faults"]:
            plant(fresh, fault["fault"], index=fault["image"])
    return root / "data.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 when the request cannot be met."""
    parser = argparse.ArgumentParser(description="Draw small seeded YOLO datasets with known faults.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="the demo dataset of datasets/demo.yaml")
    demo.add_argument("out", type=Path, metavar="OUT", help="folder to write; replaced if made by this script")
    demo.add_argument("--seed", type=int, metavar="N", help="draw other pictures (default: the spec's seed)")
    demo.add_argument("--clean", action="store_true", help="plant no faults")
    arguments = parser.parse_args(argv)
    try:
        print(make_demo(arguments.out, seed=arguments.seed, clean=arguments.clean))
    except (DatasetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
