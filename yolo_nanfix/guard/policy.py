"""The guard's decisions as pure functions: readings and counts in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from yolo_nanfix.guard.settings import SCALER_SKIPS, GuardSettings


class Decision(Enum):
    """What to do with a micro-batch or a step."""

    KEEP = "keep"
    DROP = "drop"
    STOP = "stop"


def judge_micro_batch(flags: Mapping[str, bool], bad_before: int, settings: GuardSettings) -> Decision:
    """Keep a micro-batch whose readings are all finite, else drop it; stop at the limit of bad ones in a row."""
    if all(flags.values()):
        return Decision.KEEP
    return Decision.STOP if bad_before + 1 >= settings.max_bad_in_a_row else Decision.DROP


def judge_gradient(bad_before: int, window: int, settings: GuardSettings) -> Decision:
    """Drop an accumulation window of `window` micro-batches whose gradient is not finite, or stop at the limit."""
    return Decision.STOP if bad_before + window >= settings.max_bad_in_a_row else Decision.DROP


def judge_scaler(skipped_in_a_row: int) -> Decision:
    """A GradScaler skips steps while it looks for its scale; past the limit the gradients are not finite."""
    return Decision.STOP if skipped_in_a_row >= SCALER_SKIPS else Decision.KEEP
