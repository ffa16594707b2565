"""Makes the lookout of a trainer."""

from __future__ import annotations

from typing import Any

from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.listener import Listener
from yolo_nanfix.guard.lookout import Lookout
from yolo_nanfix.guard.lost_ranks import Limits, Sign
from yolo_nanfix.guard.recorder import Recorder


def of(trainer: Any, recorder: Recorder, settings: GuardSettings, listener: Listener) -> Lookout:
    """The lookout of one trainer; it watches once it is started."""

    def place() -> Sign:
        epoch, batch = recorder.processes.place
        progress = recorder.micro_batches + recorder.processes.val_batches
        return Sign(epoch=epoch, batch=batch, step=recorder.step, progress=progress)

    limits = Limits(settings.rank_timeout, settings.step_timeout)
    return Lookout(recorder, place, limits, lambda: kept(trainer), listener)


def kept(trainer: Any) -> str:
    """Which checkpoint is in place, and how to go on from it."""
    last = getattr(trainer, "last", None)
    if last is None or not last.exists():
        return "no epoch was saved yet"
    return f"the last whole epoch is in {last}; go on from it with model={last} resume=True"
