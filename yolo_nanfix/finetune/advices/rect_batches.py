"""Rectangular training batches."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength
from yolo_nanfix.tasks import LABELLED

MUCH_PADDING = 0.25
"""The share of padding in the square input from which on `rect` looks tempting."""
SOURCE = Source("Ultralytics: train settings, rect", "https://docs.ultralytics.com/modes/train/#train-settings")


@advises("rect", SOURCE, Strength.RULE, tasks=LABELLED)
def advise(case: Case) -> Answer:
    """No rectangular batches, also where much of the input is padding: as the defaults have it.

    `rect=True` saves the padding, and in exchange Ultralytics turns off mosaic, MixUp and CutMix, and shuffling where
    batches differ in shape. Mosaics fill the square. Validation uses rectangles anyway.
    """
    if case.figures.padding < MUCH_PADDING or not float(case.get("mosaic")):
        return None
    return Value(False, Reason.RECT_WITHOUT_MOSAIC, {"padding": case.figures.padding, "images": len(case.figures.fill)})
