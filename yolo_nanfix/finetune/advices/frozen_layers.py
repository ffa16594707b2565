"""Freezing, or a lower rate for the backbone."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Unknown, advises
from yolo_nanfix.plans import Reason, Source

FINE_TUNED = 5000
"""Up to this many train images a run is taken for fine-tuning, where freezing is a question."""
SOURCE = Source(
    "Dobrzycki and others: layer-freezing strategies in YOLO architectures", "https://doi.org/10.3390/math13152539"
)


@advises("freeze", SOURCE, None)
def advise(case: Case) -> Answer:
    """Nothing: no depth is right for all sets. A trial on the set itself decides.

    On four sets YOLOv8 and YOLOv10 had no best depth, and up to 28 % less GPU memory. In our own runs (yolov8n, imgsz
    128, 6 epochs, mAP50-95) `freeze=10` gained 0.16, 0.13 and 0.07 on 160 images of raccoons, and lost 0.02 and 0.03 on
    205 images of blood cells, at 0.8 and 0.86 of the CPU time.
    """
    if case.images > FINE_TUNED:
        return None
    return Unknown(Reason.FREEZE_VARIES, {"images": case.images, "classes": case.classes})
