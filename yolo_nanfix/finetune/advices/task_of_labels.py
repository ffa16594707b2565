"""The task, from the labels."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

SOURCE = Source("Ultralytics: tasks", "https://docs.ultralytics.com/tasks/")


@advises("task", SOURCE, Strength.MEASURED, silenced_by=("model",))
def advise(case: Case) -> Answer:
    """The task that the label rows are for.

    A model of another task refuses the labels, or trains on a part of them only. Ultralytics takes the task from the
    model, and a model of `detect` if none is named.
    """
    train = case.figures.train
    figures = {"task": case.figures.task, "objects": train.objects, "images": train.images}
    return Value(case.figures.task, Reason.LABELS_READ, figures)
