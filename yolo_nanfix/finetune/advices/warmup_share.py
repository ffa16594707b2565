"""The warm-up as a share of the run."""

from __future__ import annotations

from yolo_nanfix.finetune.case import WARMUP_FLOOR, WARMUP_FREE, Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

LONG_SHARE = 0.1
"""The warm-up shall take at most this share of the batches of a run."""
SOURCE = Source(
    "ultralytics pull request 25321: prevent training from ending during warmup",
    "https://github.com/ultralytics/ultralytics/pull/25321",
)


@advises("warmup_epochs", SOURCE, Strength.PUBLISHED, by_epochs=True)
def advise(case: Case) -> Answer:
    """A shorter warm-up where it would take more than a tenth of the run.

    A run that ends in its warm-up never reaches its rate: 10 epochs of 2 batches ended 18 times below it. Releases
    before 8.4.103 warm up for at least 100 batches. In YOLOX issue 418, 1 epoch in place of 5 gave 0.6 AP50 more on a
    short run. The share is ours.
    """
    batches = case.batches * case.epochs
    share = case.warmup / batches
    if share <= LONG_SHARE:
        return None
    floor = WARMUP_FLOOR if case.release < WARMUP_FREE and case.warmup == WARMUP_FLOOR else 0
    figures = {"warmup": case.warmup, "batches": batches, "share": share, "epochs": case.epochs, "floor": floor}
    value = 0.0 if floor > LONG_SHARE * batches else round(LONG_SHARE * case.epochs, 2)
    return Value(value, Reason.WARMUP_LONG, figures)
