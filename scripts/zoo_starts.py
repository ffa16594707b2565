"""Datasets of the zoo, and the models that its cases start from: trained once, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import make_datasets
import releases

SIZE = 64
RECIPE = {"n_train": 24, "n_val": 16, "size": [SIZE, SIZE], "seed": 7}
START = {"n_train": 64, "epochs": 26, "batch": 8, "lr0": 0.002}
"""How a starting model is trained: on more images of the same kind, with AdamW."""


def dataset(root: Path, task: str, changes: Mapping[str, Any]) -> Path:
    """Write the dataset of a case; its data.yaml, or its folder for classify."""
    recipe = {**RECIPE, **changes}
    recipe["size"] = tuple(recipe["size"])
    if task != "classify":
        return make_datasets.make_dataset(root, task=task, **recipe)
    drawn = make_datasets.make_dataset(root / "drawn", task="detect", n_classes=2, **recipe).parent
    for split in ("train", "val"):
        for label in sorted((drawn / "labels" / split).glob("*.txt")):
            _crops(drawn / "images" / split / f"{label.stem}.jpg", label, root / split)
    shutil.rmtree(drawn)
    return root


def _crops(image: Path, label: Path, folder: Path) -> None:
    """Each object of a picture as a picture of its own, in the folder of its class."""
    pixels = cv2.imread(str(image))
    for number, row in enumerate(label.read_text().splitlines()):
        cls, *box = row.split()
        x, y, w, h = (float(v) * SIZE for v in box)
        top, left = max(int(y - h / 2), 0), max(int(x - w / 2), 0)
        crop = pixels[top : int(y + h / 2) + 1, left : int(x + w / 2) + 1]
        (folder / f"class{cls}").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"class{cls}" / f"{image.stem}_{number}.png"), crop)


def start_path(task: str, model: str) -> Path:
    """Where the starting model of a task is kept; another recipe or version of anything has another name."""
    import torch
    import ultralytics

    drawn = hashlib.sha256(Path(make_datasets.__file__).read_bytes()).hexdigest()
    facts = [task, model, SIZE, RECIPE["seed"], START, torch.__version__, ultralytics.__version__, drawn]
    mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return releases.cache() / "zoo" / f"{task}-{Path(model).stem}-{mark}.pt"
