"""How many detections are kept in an image."""

from __future__ import annotations

import math

from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength
from yolo_nanfix.tasks import LABELLED

HEADROOM = 1.5
"""Detections for each object of the fullest image: some are wrong, and take the place of right ones."""
ROUNDED = 100
SOURCE = Source("Ultralytics: validation settings, max_det", "https://docs.ultralytics.com/modes/val/")


@advises("max_det", SOURCE, Strength.MEASURED, tasks=LABELLED)
def advise(case: Case) -> Answer:
    """More detections where an image has more objects than are kept.

    With more objects than `max_det` no model can find them all, and the mAP of validation is too low. Newer releases
    raise the default to the number of objects, which leaves no room for a wrong detection. The headroom is ours.
    """
    most = max(case.figures.train.most_objects, case.figures.val.most_objects)
    if most <= int(case.get("max_det")):
        return None
    figures = {
        "most": most,
        "train": case.figures.train.most_objects,
        "val": case.figures.val.most_objects,
        "kept": int(case.get("max_det")),
    }
    return Value(math.ceil(HEADROOM * most / ROUNDED) * ROUNDED, Reason.IMAGES_CROWDED, figures)
