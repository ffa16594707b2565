"""The number of epochs."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Unknown, advises
from yolo_nanfix.plans import Reason, Source

SOURCE = Source(
    "Ultralytics: tips for best training results, epochs",
    "https://docs.ultralytics.com/yolov5/tutorials/tips_for_best_training_results/",
)


@advises("epochs", SOURCE, None, by_epochs=True, silenced_by=("time",))
def advise(case: Case) -> Answer:
    """Nothing: no experiment ties the number of epochs to the size of a set.

    The guide says to begin with 300 epochs and to take fewer if the model overfits before; the default is 100. The
    experiments on 12 to 59 images in pull request 25933 ran 100.
    """
    figures = {"images": case.images, "epochs": case.epochs, "batches": case.batches * case.epochs}
    return Unknown(Reason.EPOCHS_UNKNOWN, figures)
