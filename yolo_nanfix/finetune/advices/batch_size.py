"""The batch size against the memory."""

from __future__ import annotations

from yolo_nanfix.finetune.case import Answer, Case, Unknown, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

LITTLE_MEMORY = 8.0
"""GiB of GPU memory below which the default batch may not fit."""
AUTOBATCH = -1
"""Ultralytics measures the memory of the model, and takes the batch that fills 60 % of the GPU."""
SOURCE = Source("Ultralytics: train settings, batch", "https://docs.ultralytics.com/modes/train/#train-settings")


@advises("batch", SOURCE, Strength.RULE)
def advise(case: Case) -> Answer:
    """AutoBatch on a GPU with little memory; else nothing, as no figure of a set decides it.

    What fits depends on the model and is measured in seconds. That another batch than the default trains better, nobody
    has shown for small sets: gradients are gathered over `nbs` images anyway.
    """
    figures = {"images": case.images, "batch": case.batch, "batches": case.batches, "gpu": case.machine.gpu}
    if 0 < case.machine.gpu_memory < LITTLE_MEMORY:
        return Value(AUTOBATCH, Reason.LITTLE_MEMORY, {**figures, "memory": case.machine.gpu_memory})
    return Unknown(Reason.BATCH_UNKNOWN, figures)
