"""The size of the model."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Unknown, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

SOURCE = Source(
    "Ultralytics: tips for best training results, model selection",
    "https://docs.ultralytics.com/yolov5/tutorials/tips_for_best_training_results/",
)


@advises("model", SOURCE, Strength.RULE)
def advise(case: Case) -> Answer:
    """The smallest model where there is no GPU; else nothing, as no figure of a set decides it.

    Larger models are better in nearly all published tables and cost more memory and time. How much of that is left on a
    small set, nobody has published.
    """
    figures = {"images": case.images, "cores": case.machine.cores, "gpu": case.machine.gpu}
    if case.machine.gpu:
        return Unknown(Reason.SCALE_UNKNOWN, figures)
    return Value(case.default_model, Reason.NO_GPU, figures, default=case.default_model)
