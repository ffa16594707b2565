"""Weights for rare classes."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Unknown, advises
from yolo_nanfix.plans import Reason, Source

IMBALANCED = 10.0
"""From this ratio of the most frequent to the rarest class on, weights are a question."""
SOURCE = Source(
    "ultralytics pull request 23565: class weights, cls_pw", "https://github.com/ultralytics/ultralytics/pull/23565"
)


@advises("cls_pw", SOURCE, None)
def advise(case: Case) -> Answer:
    """Nothing: that class weights gain anything, nobody has shown.

    The pull request that added `cls_pw` shows that it runs, and no gain.
    """
    ratio = case.figures.imbalance
    if ratio < IMBALANCED or case.classes < 2 or "cls_pw" not in case.defaults:
        return None
    counts = [count for count in case.figures.train.classes if count]
    return Unknown(Reason.WEIGHTS_WITHOUT_GAIN, {"ratio": ratio, "most": max(counts), "fewest": min(counts)})
