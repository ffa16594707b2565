"""The last epochs without mosaic, as a share of the run."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength
from yolo_nanfix.tasks import LABELLED

LONG_CLOSED = 0.2
"""The share of the epochs without mosaic above which it is shortened."""
CLOSED = 0.1
"""The share that the defaults have: 10 of 100 epochs."""
SOURCE = Source(
    "ultralytics pull request 26226: fix close_mosaic never firing when epochs < close_mosaic",
    "https://github.com/ultralytics/ultralytics/pull/26226",
)


@advises("close_mosaic", SOURCE, Strength.RULE, tasks=LABELLED, by_epochs=True)
def advise(case: Case) -> Answer:
    """A tenth of the epochs without mosaic, where the default 10 would be more than a fifth of the run.

    The default is a number of epochs, made for runs of 100 and more. Run for 10 epochs or fewer, newer releases never
    use mosaic, and those before pull request 26226 never close it. Runs of fewer than 5 epochs keep it to the end.
    """
    closed, mosaic = int(case.get("close_mosaic")), float(case.get("mosaic"))
    if not mosaic or case.get("rect") or closed <= LONG_CLOSED * case.epochs:
        return None
    figures = {"closed": closed, "epochs": case.epochs}
    least = 1 if LONG_CLOSED * case.epochs >= 1 else 0
    return Value(max(round(CLOSED * case.epochs), least), Reason.MOSAIC_CLOSED_LONG, figures)
