"""The tasks, and why a dataset was linted for one of them: what was asked, or what the set itself speaks for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

LABELLED = ("detect", "segment", "pose", "obb")
"""The tasks that have label files."""
TASKS = (*LABELLED, "classify")
UNLABELLED = "images"
"""What stands for a task where there are images alone: it cannot be asked for."""


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
    """The form of the annotation file, or what it holds."""
    IMAGES = "images"
    """Nothing: there are images alone."""
    NO_ROWS = "no-rows"
    """There is no label row that could tell it."""


@dataclass(frozen=True)
class Basis:
    """What decided the task.

    Attributes:
        kind: what it was taken from.
        guess: the task that the set itself speaks for; another one than the report's only if that was asked.
        numbers: what was counted. Of YOLO labels the `files` that were looked at, their `rows`, and how many of these
            are `boxes` (5 columns), `corners` (9), `polygons` (another odd number from 7 on) or `other`; of rows with
            keypoints the `columns`; of annotation files `annotations`, `polygons` and `keypoints`.
    """

    kind: TaskBasis
    guess: str
    numbers: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {"kind": self.kind.value, "guess": self.guess, "numbers": dict(self.numbers)}

    @classmethod
    def from_dict(cls, values: Any) -> Basis:
        """What `as_dict` wrote.

        Raises:
            ValueError: it was not written by `as_dict`.
        """
        try:
            kind, guess, numbers = TaskBasis(values["kind"]), values["guess"], dict(values["numbers"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the basis of a task is kind, guess and numbers: {error!r}") from None
        if not isinstance(guess, str) or not all(type(number) is int for number in numbers.values()):
            raise ValueError("the basis of a task has a guess that is no text, or numbers that are not whole")
        return cls(kind, guess, numbers)


def option(task: str, guess: str | None) -> str:
    """The words that a printed command needs to come to a task, with a space before; empty where the set speaks for it.

    Args:
        task: the task.
        guess: the task that the set itself speaks for; None where that is not known.
    """
    return "" if task in ("", guess) else f" --task {shlex.quote(task)}"
