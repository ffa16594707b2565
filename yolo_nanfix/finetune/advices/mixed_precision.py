"""Mixed precision on GPUs that do it wrongly."""

from __future__ import annotations

import re

from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

BROKEN = re.compile(r"gtx 16\d\d|quadro t\d+|t(500|550|600|1000|1200|2000)\b|k40m", re.IGNORECASE)
"""Names of GPUs whose float16 convolutions give NaN."""
SOURCE = Source(
    "ultralytics pull request 17977: hardcode failing GPUs in AMP checks",
    "https://github.com/ultralytics/ultralytics/pull/17977",
)


@advises("amp", SOURCE, Strength.PUBLISHED)
def advise(case: Case) -> Answer:
    """No mixed precision on GPUs of the GTX 16 and Quadro T series.

    They pass Ultralytics' own check and then give NaN losses; releases from the end of 2024 on know them by name. For
    other GPUs the default holds, and without a GPU there is no mixed precision.
    """
    if not BROKEN.search(case.machine.gpu):
        return None
    return Value(False, Reason.HALF_BROKEN, {"gpu": case.machine.gpu})
