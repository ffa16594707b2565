"""How far the val set can tell two models apart."""

from __future__ import annotations

import math

from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

Z = 1.959964
"""Quantile of the normal distribution for an interval of 95 %."""
WIDE = 0.05
"""Half width of the interval above which more val images are advised."""
SOURCE = Source(
    "Wilson: probable inference, the law of succession, and statistical inference",
    "https://doi.org/10.1080/01621459.1927.10502953",
)


def half_width(draws: int) -> float | None:
    """Half the width of Wilson's interval of 95 % for a share of one half among `draws`; None for no draw."""
    return Z / (2 * math.sqrt(draws + Z * Z)) if draws else None


def needed(width: float) -> int:
    """The fewest draws of which the interval is at most that wide on each side."""
    return math.ceil((Z / (2 * width)) ** 2 - Z * Z)


@advises("val images", SOURCE, Strength.MEASURED)
def advise(case: Case) -> Answer:
    """How many val images an mAP needs to be known to 5 points; it changes no training argument.

    The interval is that of a recall of one half at one threshold (Wilson, 95 %): with each val image as one draw, as
    objects of an image are found or missed together, and with each object as one draw, which is the narrower bound. The
    mAP of the set lies between. It is no interval of a trained model: that takes its predictions.
    """
    val = case.figures.val
    figures = {
        "images": val.images,
        "distinct": val.distinct,
        "objects": val.objects,
        "shared": case.figures.shared,
        "by_images": half_width(val.images),
        "by_objects": half_width(val.objects),
        "width": WIDE,
    }
    if not val.images:
        return Value(needed(WIDE), Reason.VAL_NONE, figures, default=0)
    wide = half_width(val.images) or 1.0
    if wide <= WIDE:
        return Value(val.images, Reason.VAL_ENOUGH, figures, default=val.images)
    reason = Reason.VAL_ONE if val.images == 1 else Reason.VAL_SMALL
    return Value(needed(WIDE), reason, figures, default=val.images)
