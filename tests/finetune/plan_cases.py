"""Cases for units of advice: a dataset's figures, a machine and training arguments, without files."""

from __future__ import annotations

from typing import Any

import numpy as np
from ultralytics.utils import DEFAULT_CFG_DICT

from yolo_nanfix.finetune.case import Case
from yolo_nanfix.finetune.figures import Figures, SplitFigures
from yolo_nanfix.finetune.machine import Machine

USUAL = {"train": "images/train", "val": "images/val"}
REAL = {
    "bccd": ("detect", 3, {**USUAL, "test": "images/test"}),
    "raccoon": ("detect", 1, USUAL),
    "yolo_mark10": ("detect", 2, USUAL),
    "cells_dense_clean": (
        "detect",
        1,
        {"train": "train/images", "val": "valid/images", "test": "test/images"},
    ),
    "multispectral_nan": ("detect", 3, USUAL),
    "dota8": ("obb", 15, USUAL),
    "mmpose_coco4": ("pose", 1, USUAL),
}
"""Task, number of classes and folders of the splits of real sets."""
GPU = Machine(8, "NVIDIA L4", 24.0)


def case(
    task: str = "detect",
    *,
    images: int = 100,
    val: int = 400,
    names: tuple[str, ...] = ("cat", "dog"),
    counts: tuple[int, ...] = (150, 150),
    most: tuple[int, int] = (9, 9),
    sides: tuple[float, ...] = (0.1,) * 10,
    longer: int = 640,
    fill: float = 1.0,
    gpu: Machine = Machine(2),  # noqa: B008 - frozen
    release: tuple[int, ...] = (8, 4, 190),
    keypoints: int = 0,
    keypoint_names: tuple[str, ...] = (),
    flip_idx: tuple[int, ...] | None = None,
    shared: int = 0,
    **given: Any,
) -> Case:
    splits = {
        "train": SplitFigures(images, images, 0, sum(counts), most[0], counts),
        "val": SplitFigures(val, val, 0, 2 * val, most[1], counts),
    }
    figures = Figures(
        task,
        names,
        splits,
        shared,
        np.array(sides),
        np.full(images, longer),
        np.full(images, fill),
        keypoints,
        keypoint_names,
        flip_idx,
    )
    return Case(figures, gpu, dict(DEFAULT_CFG_DICT), given, release, "yolo26n.pt")
