"""The learning rate of AdamW on small sets."""

from __future__ import annotations

import math

from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

CAP_RATE = 0.002
CAP_IMAGES = 500
"""The rate of AdamW is at most `CAP_RATE * sqrt(images / CAP_IMAGES)`."""
DIGITS = 6
"""Decimals of the rate, as `optimizer=auto` rounds its own."""
SOURCE = Source(
    "ultralytics pull request 25933 (closed): cap the rate of optimizer=auto by dataset size",
    "https://github.com/ultralytics/ultralytics/pull/25933",
)


def automatic_rate(classes: int) -> float:
    """The rate that `optimizer=auto` gives AdamW, by the number of classes."""
    return round(0.002 * 5 / (4 + classes), DIGITS)


def capped(case: Case) -> float | None:
    """The cap of the rate for this many images; None where the automatic rate is below it."""
    cap = round(CAP_RATE * math.sqrt(case.images / CAP_IMAGES), DIGITS)
    return cap if cap < automatic_rate(case.classes) else None


@advises("lr0", SOURCE, Strength.PUBLISHED, by_epochs=True)
def advise(case: Case) -> Answer:
    """A lower rate for AdamW, the fewer train images there are below 500.

    With 25 images of one class AdamW at 0.001 ended at 21.0 mAP50-95, at 0.002 at 11.0, at 0.005 at 1.4, at 0.01 at
    0.9. With the cap 13 images went from 3.5 to 12.6, 35 images from 4.8 to 9.6 (100 epochs, three seeds); from 500
    images on nothing changes. Upstream closed the pull request, and rates of SGD were not tried.
    """
    name = str(case.get("optimizer"))
    if name.lower() not in ("adamw", "auto"):
        return None
    cap, fit, asked = capped(case), automatic_rate(case.classes), "optimizer" in case.given and not case.automatic
    figures = {"images": case.images, "classes": case.classes, "fit": fit, "few": CAP_IMAGES}
    if asked:  # then Ultralytics uses its default, which is for SGD
        return Value(cap or fit, Reason.RATE_FOR_ADAM, {**figures, "default": case.defaults["lr0"]})
    if case.automatic or cap is None:
        return None
    return Value(cap, Reason.RATE_BY_SIZE, figures, default=fit)
