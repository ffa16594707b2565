"""How many images are mosaics."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Unknown, advises
from yolo_nanfix.plans import Reason, Source
from yolo_nanfix.tasks import LABELLED

CROWDED = 100
"""Objects in a mean mosaic of four images from which on the share is a question."""
SOURCE = Source("Ultralytics: augmentation, mosaic", "https://docs.ultralytics.com/guides/yolo-data-augmentation/")


@advises("mosaic", SOURCE, None, tasks=LABELLED)
def advise(case: Case) -> Answer:
    """Nothing: no experiment ties the share of mosaics to a figure of a set.

    Where mosaics would hold very many objects, the figure is shown for those who want to try a lower share.
    """
    train = case.figures.train
    objects = 4 * train.objects / max(train.images, 1)
    if objects < CROWDED or case.get("rect"):
        return None
    return Unknown(Reason.MOSAIC_UNKNOWN, {"objects": objects, "images": train.images})
