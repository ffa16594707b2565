"""How long training waits for a better validation."""

from __future__ import annotations

from yolo_nanfix.finetune.advices.val_size import SOURCE, WIDE, half_width
from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Strength


@advises("patience", SOURCE, Strength.MEASURED)
def advise(case: Case) -> Answer:
    """The default patience, where few val images make the mAP of each epoch uncertain.

    Early stopping compares single epochs. Where their mAP is known to a few points only, a short patience ends a run by
    chance; the default of 100 epochs hardly ever ends one.
    """
    width = half_width(case.figures.val.images)
    if width is None or width <= WIDE:
        return None
    return Value(case.defaults["patience"], Reason.VAL_NOISY, {"images": case.figures.val.images, "width": width})
