"""A pytest plugin for Ultralytics' own tests: what is patched while they run, and the data they would download.

The variable NANFIX_UNDER says what: `stock`, `patch()` or `patch(guard=False)`.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from make_datasets import make_dataset

import yolo_nanfix

SHIM = "torchvision-operators-missing"
"""What stock needs to train at all where torchvision does not fit torch."""
SETS = {"coco8": "detect", "coco8-seg": "segment", "dota8": "obb"}
MODELS = ("yolo26n", "yolo26n-seg", "yolo26n-pose", "yolo26n-obb", "yolo26n-cls", "yolo26n-sem", "yolo26n-depth")


def pytest_configure() -> None:
    """Patch before a test module imports ultralytics."""
    under = os.environ["NANFIX_UNDER"]
    if under == "stock":
        yolo_nanfix.patch(SHIM, guard=False)
    else:
        yolo_nanfix.patch(guard=under == "patch()")


def stand_ins(folder: Path) -> None:
    """Write weights and small datasets where the tests look for those that they would download.

    The weights are random: what a test finds does not matter, only whether it ends as in stock.
    """
    from ultralytics import YOLO, settings

    data, weights = folder / "datasets", folder / "weights"
    settings.update({"datasets_dir": str(data), "weights_dir": str(weights), "runs_dir": str(folder / "runs")})
    (weights / "path with spaces").mkdir(parents=True)
    for name in MODELS:
        YOLO(f"{name}.yaml").save(weights / f"{name}.pt")
    YOLO("yolo26n.yaml").save(weights / "path with spaces" / "yolo26n.pt")
    for name, task in SETS.items():
        make_dataset(data / name, task=task, n_train=4, n_val=4, size=(64, 64), seed=0)
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(10):
            image = data / "imagenet10" / split / f"class{number}" / "a.jpg"
            image.parent.mkdir(parents=True)
            cv2.imwrite(str(image), random.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    _pose(data / "coco8-pose", random)


def _pose(root: Path, random: np.random.Generator) -> None:
    """People of 17 keypoints, as coco8-pose.yaml wants them."""
    make_dataset(root, n_train=4, n_val=4, size=(64, 64), seed=0)
    for label in root.rglob("labels/*/*.txt"):
        points = [f"{x:.4f} {y:.4f} 2" for x, y in random.uniform(0.3, 0.7, (17, 2))]
        label.write_text(f"0 0.5 0.5 0.6 0.6 {' '.join(points)}\n")
