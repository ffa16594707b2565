"""FS: splits with which training does not start, or evaluation cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import DROPPED, IMAGE_DROPPED, Fate
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.causes import Explains
from yolo_nanfix.linting.registry import Hit, rule

Fates = Mapping[str, Fate]
TRAINED = ("train", "val")
"""The splits that are scanned before the first step."""


@rule("FS055", "split-unusable", Severity.FATAL, Effect.CRASHES)
def split_unusable(fates: Fates, table: Table, task: str) -> Iterator[Hit]:
    """Not one image of train, or of val, can be used.

    Why: training does not start.
    Ultralytics: leaves out each image with a line in the log, then raises RuntimeError ("No valid images found"), for
        class folders FileNotFoundError ("No images found in 'val' split").
    Example: a pose dataset whose rows hold boxes without keypoints, or images of 0 bytes.
    Fix: look at the findings in the images and label files of the split; they have one cause, mostly.
    """
    for split in TRAINED:
        if split in fates and fates[split].images and not fates[split].kept:
            error = "FileNotFoundError" if task == "classify" else "RuntimeError"
            message = f"not one of the {fates[split].images} images of '{split}' can be used: {_why(table, split)}"
            message += f"; training does not start: {error}"
            yield Hit(_home(table, split), message, split=split, values={"images": fates[split].images, "error": error})


@rule("FS056", "test-unusable", Severity.WARNING, Effect.CRASHES)
def test_unusable(fates: Fates, table: Table) -> Iterator[Hit]:
    """Not one image of test can be used.

    Why: training runs, but the model cannot be evaluated on the split.
    Ultralytics: raises RuntimeError ("No valid images found") as soon as `split=test` is asked for.
    Example: test images of 0 bytes after a copy that broke off.
    Fix: look at the findings in the images and label files of the split; they have one cause, mostly.
    """
    if "test" in fates and fates["test"].images and not fates["test"].kept:
        message = f"not one of the {fates['test'].images} images of 'test' can be used: {_why(table, 'test')}"
        yield Hit(_home(table, "test"), message, split="test")


@rule("FS058", "set-of-boxes", Severity.FATAL, Effect.CRASHES, ("segment", "obb"))
def set_of_boxes(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """All label files hold plain boxes, and the task needs polygons.

    Why: training does not start; the set is one for detection, or was exported as boxes.
    Ultralytics: raises ValueError ("requires equal numbers of boxes and segments").
    Example: a detection dataset that is linted or trained with the task segment.
    Fix: train the task detect, or export the labels again as polygons (for obb: as four corners).
    """
    rows = np.flatnonzero((table.lines > 0) & table.labelled & ((table.fate & DROPPED) == 0))
    if len(rows) > 1 and not table.polygons.any():
        message = (
            f"all {len(rows)} label files with objects hold boxes of 5 columns, no polygon: the task is not {task}"
        )
        yield Hit(
            str(config.yaml_file), f"{message}; training does not start: ValueError", explains=Explains(("TX009",))
        )


def _why(table: Table, split: str) -> str:
    """Whether images or labels are in the way."""
    listed = table.splits[split]
    images = int(((table.fate[listed] & IMAGE_DROPPED) != 0).sum())
    labels = len(listed) - images
    of_images, of_labels = f"{images} image files are refused", f"the label files of {labels} are refused"
    return " and ".join([of_images] * (images > 0) + [of_labels] * (labels > 0))


def _home(table: Table, split: str) -> str:
    """The folder of the first image of a split."""
    return str(Path(table.files[int(table.splits[split][0])]).parent)
