"""The tasks, and why a dataset was linted for one of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from yolo_nanfix.json_values import JsonValue

LABELLED = ("detect", "segment", "pose", "obb")
"""The tasks that have label files."""
TASKS = (*LABELLED, "classify")
UNLABELLED = "images"
"""In place of a task for a dataset of images without labels; it cannot be asked for."""


class TaskBasis(str, Enum):
    """What the task was taken from."""

    ASKED = "asked"
    """An option, a setting, or the model that is trained."""
    KPT_SHAPE = "kpt-shape"
    """`kpt_shape` in data.yaml."""
    ROWS = "rows"
    """The columns of the label rows."""
    KEYPOINT_ROWS = "keypoint-rows"
    """Label rows with keypoints, though data.yaml has no `kpt_shape`."""
    CLASS_FOLDERS = "class-folders"
    """Folders of images, one a class."""
    ANNOTATIONS = "annotations"
    """The format of the annotation file, or its contents."""
    IMAGES = "images"
    """Nothing, as there are only images."""
    NO_ROWS = "no-rows"
    """Nothing, as there is no label row."""


@dataclass(frozen=True)
class Basis(JsonValue):
    """What decided the task.

    Attributes:
        kind: what it was taken from.
        guess: the task that the dataset suggests; it differs from the report's only if that was asked for.
        numbers: counts. Of YOLO labels the `files` that were read, their `rows`, and how many of these are `boxes`
            (5 columns), `corners` (9), `polygons` (another odd number from 7 on) or `other`; of rows with keypoints the
            `columns`; of annotation files `annotations`, `polygons` and `keypoints`.
    """

    kind: TaskBasis
    guess: str
    numbers: Mapping[str, int] = field(default_factory=dict)


def option(task: str, guess: str | None) -> str:
    """The option that a printed command needs for a task, with a space before it; empty if it is the dataset's `guess`.

    `guess` is None where it is unknown.
    """
    return "" if task in ("", guess) else f" --task {shlex.quote(task)}"
