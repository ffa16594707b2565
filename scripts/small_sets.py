"""Small seeded datasets for every task, those included that make_datasets does not draw: classify, semantic, depth."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import yaml
from make_datasets import make_dataset, paths

DRAWN = ("detect", "segment", "pose", "obb")
ALL_TASKS = (*DRAWN, "classify", "semantic", "depth")
SKY, NEAR = 10.0, 3.0
"""Metres: of the background and of the objects in the depth maps."""


def small_set(root: Path, task: str, *, n_train: int = 8, n_val: int = 4, size: int = 64, n_classes: int = 2) -> Path:
    """Write a faultless dataset, and return what to train on: its data.yaml, for classify its folder.

    Args:
        root: the folder to write; replaced if a set of this kind is there.
        task: one of `ALL_TASKS`.
        n_train, n_val: images in each split.
        size: side of the square pictures in pixels, at least 32.
        n_classes: how many classes the objects have.

    Raises:
        DatasetError: it cannot be written there.
    """
    drawn = task if task in DRAWN else "detect"
    data = make_dataset(
        root, task=drawn, n_train=n_train, n_val=n_val, size=(size, size), seed=1, n_classes=n_classes, ext="png"
    )
    if task in DRAWN:
        return data
    if task == "classify":
        return _classes(data.parent, (("train", n_train), ("val", n_val)))
    for split, count in (("train", n_train), ("val", n_val)):
        for index in range(count):
            _map(data.parent, task, split, index)
    settings = yaml.safe_load(data.read_text())
    settings |= {"masks_dir": "masks"} if task == "semantic" else {}
    data.write_text(yaml.safe_dump(settings, sort_keys=False))
    return data


def _classes(root: Path, splits: tuple[tuple[str, int], ...]) -> Path:
    """The drawn pictures in folders by class: every second one is darkened, which is what there is to learn."""
    new = root.with_name(f"{root.name}-classes")
    shutil.rmtree(new, ignore_errors=True)
    for split, count in splits:
        for index in range(count):
            image = cv2.imread(str(paths(root, split, index, "png")[0]))
            folder = new / split / ("dark" if index % 2 else "light")
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{index:04d}.png"), image // 3 if index % 2 else image)
    return new


def _map(root: Path, task: str, split: str, index: int) -> None:
    """A semantic mask (the class of each pixel) or a depth map (metres) of one picture, from its boxes."""
    image, label = paths(root, split, index, "png")
    height, width = cv2.imread(str(image)).shape[:2]
    mask, depth = np.zeros((height, width), np.uint8), np.full((height, width), SKY, np.float32)
    for row in label.read_text().splitlines():
        cls, x, y, w, h = (float(word) for word in row.split()[:5])
        left, right = int((x - w / 2) * width), int((x + w / 2) * width)
        top, bottom = int((y - h / 2) * height), int((y + h / 2) * height)
        mask[top:bottom, left:right] = int(cls)
        depth[top:bottom, left:right] = NEAR + cls
    folder = root / ("masks" if task == "semantic" else "depth") / split
    folder.mkdir(parents=True, exist_ok=True)
    if task == "semantic":
        cv2.imwrite(str(folder / f"{index:04d}.png"), mask)
    else:
        np.save(folder / f"{index:04d}.npy", depth)
