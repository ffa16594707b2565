"""What the parts of the guard of one run share: trainer, copies, ladder and open window."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from yolo_nanfix.events import Check, Event, Point, Source
from yolo_nanfix.guard.divergence import Divergence
from yolo_nanfix.guard.escalation import Ladder
from yolo_nanfix.guard.gradients import Gradients
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.lookout import Lookout
from yolo_nanfix.guard.module_state import ModuleState, NormBuffers
from yolo_nanfix.guard.param_groups import Groups
from yolo_nanfix.guard.snapshots import Snapshots
from yolo_nanfix.numerics.finite import by_design, unwrapped

HISTORY = 50
"""Losses and norms of so many good micro-batches are kept for an incident."""
WHOLE = (Point.START, Point.EPOCH_END, Point.VALIDATION, Point.SAVE)
"""Points at which an event concerns no micro-batch."""


class RunState:
    """The state of one run.

    Attributes:
        trainer, model: Ultralytics' trainer, and its model without wrappers.
        by_design: names of parameters that are infinite by design.
        norms, module_state: copies of what a forward pass changes in the model.
        gradients, snapshots: of the window, and of all that training changes.
        groups: checks the optimizer's settings.
        ladder: carries out decisions, and holds what is in force.
        history: loss and gradient norm of the last good micro-batches, oldest first.
        batches_this_epoch: micro-batches so far, the present one included.
        steps, began_at: optimizer steps that count, and how many there were at the start or the last rollback.
        window: the images of each good micro-batch of the open window.
    """

    def __init__(self, trainer: Any, settings: GuardSettings, lookout: Lookout) -> None:
        self.trainer, self.settings, self.lookout = trainer, settings, lookout
        self.recorder, self.listener = lookout.recorder, lookout.listener
        self.model = unwrapped(trainer.model)
        self.by_design = by_design(self.model)
        self.norms = NormBuffers(self.model)
        self.module_state = ModuleState(self.model, self.norms)
        self.module_state.born_non_finite += tuple(self.by_design)
        self.groups = Groups()
        self.gradients = Gradients(list(self.model.parameters()))
        self.snapshots = Snapshots(trainer, self.model, self.by_design)
        self.ladder = Ladder(trainer, settings, self.snapshots)
        self.divergence = Divergence()
        self.history: deque[dict[str, float | None]] = deque(maxlen=HISTORY)
        self.batches_this_epoch = 0
        self.steps = self.began_at = 0
        self.window: list[tuple[Source, ...]] = []

    def parameters(self) -> list[tuple[str, Tensor]]:
        """The model's parameters, except for those that are infinite by design."""
        return [(name, p) for name, p in self.model.named_parameters() if name not in self.by_design]

    @property
    def epoch(self) -> int:
        """The present epoch, 1-based; before training the first one."""
        return int(getattr(self.trainer, "epoch", self.trainer.start_epoch)) + 1

    def event(
        self, point: Point, checks: tuple[Check, ...], says: str, values: Mapping[str, Any], files: tuple[Source, ...]
    ) -> Event:
        """An event at the present epoch and batch, without actions."""
        ahead = point is Point.BATCH  # the micro-batch is counted once it is preprocessed
        batch = 0 if point in WHOLE else self.batches_this_epoch + ahead
        return Event(point, checks, self.epoch, batch, files, says, values, step=self.recorder.step + ahead)

    def forget_window(self) -> None:
        """After a rollback: clear the gradients of the window, which belong to weights that no longer exist."""
        self.gradients.clear()
        self.window = []
        self.divergence.reset()
        self.steps = self.began_at = self.snapshots.copies[-1].step
