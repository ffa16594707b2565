"""How a dataset is linted, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yolo_nanfix.tasks import LABELLED as LABELLED
from yolo_nanfix.tasks import TASKS as TASKS
from yolo_nanfix.tasks import UNLABELLED as UNLABELLED


@dataclass(frozen=True)
class LintOptions:
    """What rules may ask for besides the data.

    Attributes:
        task: the task whose label format is expected: `detect`, `segment`, `pose`, `obb` or `classify`; None to read
            it from the set. Where rules are asked, it is settled.
        deep: also decode every image.
        root: the folder in which images are looked for, in the place of the one that data.yaml or annotations name.
        imgsz: the image size of the training that is planned, in pixels; sizes of boxes are judged at it.
    """

    task: str | None = None
    deep: bool = False
    imgsz: int = 640
    root: Path | None = None

    @property
    def settled(self) -> str:
        """The task, once it is known.

        Raises:
            ValueError: it is not yet.
        """
        if self.task is None:
            raise ValueError("the task is to be read from the set first")
        return self.task
