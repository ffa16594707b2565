"""Counts the figures of a dataset file by file, in plain loops, for comparison with those of the package."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def images_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def rows_of(image: Path, task: str) -> list[tuple[int, float, float]]:
    """Class, width and height of each object of an image, those that are the same left out."""
    parts = list(image.parts)
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    label = Path(*parts).with_suffix(".txt")
    rows: dict[Any, tuple[int, float, float]] = {}
    for line in label.read_text().splitlines() if label.is_file() else []:
        numbers = [float(word) for word in line.split()]
        if not numbers:
            continue
        if task in ("segment", "obb"):
            x, y = numbers[1::2], numbers[2::2]
            key: tuple[float, ...] = (numbers[0], min(x), min(y), max(x), max(y))
            width, height = max(x) - min(x), max(y) - min(y)
        else:
            key, (width, height) = tuple(numbers), numbers[3:5]
        rows[key] = (int(numbers[0]), width, height)
    return list(rows.values())


def size_of(image: Path) -> tuple[int, int]:
    with Image.open(image) as opened:
        return ImageOps.exif_transpose(opened).size if opened.format == "JPEG" else opened.size


def direct(root: Path, splits: dict[str, str], classes: int, task: str) -> dict[str, Any]:
    """The figures of a faultless dataset of label files; `splits` has the folder of images of each split."""
    found: dict[str, Any] = {"splits": {}, "sides": [], "longer": [], "fill": []}
    contents: dict[str, list[bytes]] = {}
    for split, folder in splits.items():
        images = images_of(root / folder)
        rows = [rows_of(image, task) for image in images]
        held = Counter(row[0] for some in rows for row in some)
        contents[split] = [hashlib.sha256(image.read_bytes()).digest() for image in images]
        found["splits"][split] = {
            "images": len(images),
            "distinct": len(set(contents[split])),
            "background": sum(not some for some in rows),
            "objects": sum(len(some) for some in rows),
            "most_objects": max(len(some) for some in rows),
            "classes": [held[number] for number in range(classes)],
        }
        for image, some in zip(images, rows, strict=True) if split == "train" else ():
            width, height = size_of(image)
            found["longer"].append(max(width, height))
            found["fill"].append(min(width, height) / max(width, height))
            found["sides"] += [min(w * width, h * height) / max(width, height) for _, w, h in some]
    found["shared"] = sum(content in contents["train"] for content in contents.get("val", []))
    return found


def direct_classes(root: Path) -> dict[str, Any]:
    """The figures of a faultless dataset of class folders."""
    found: dict[str, Any] = {"splits": {}, "longer": [], "fill": []}
    names = sorted(path.name for path in (root / "train").iterdir())
    contents: dict[str, list[bytes]] = {}
    for split in ("train", "val"):
        by_class = [images_of(root / split / name) for name in names]
        images = [image for some in by_class for image in some]
        contents[split] = [image.read_bytes() for image in images]
        found["splits"][split] = {
            "images": len(images),
            "distinct": len(set(contents[split])),
            "background": 0,
            "objects": len(images),
            "most_objects": 1,
            "classes": [len(some) for some in by_class],
        }
        for image in images if split == "train" else ():
            width, height = size_of(image)
            found["longer"].append(max(width, height))
            found["fill"].append(min(width, height) / max(width, height))
    found["shared"] = sum(content in contents["train"] for content in contents["val"])
    return found
