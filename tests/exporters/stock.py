"""What Ultralytics itself does with a dataset: how many images each split keeps, or how it fails at the start."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def dataset(data: Path, task: str, split: str) -> Any:
    """A split as Ultralytics' trainer loads it; with an error it is the trainer that wraps it in a RuntimeError.

    Raises:
        Exception: what Ultralytics raises.
    """
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = check_det_dataset(str(data), autodownload=False, split="val")
        return YOLODataset(read[split], data=read, task=task, imgsz=64, augment=split == "train", hyp=get_cfg())


def kept(data: Path, task: str) -> str:
    """`train 4 of 5, val 2 of 2`: images that are trained on and those that lie there; or the error at the start."""
    told = []
    for split in ("train", "val"):
        try:
            made = dataset(data, task, split)
        except Exception as error:
            return type(error).__name__
        told.append(f"{split} {len(made.labels)} of {len(made.get_img_files(made.img_path))}")
    return ", ".join(told)
