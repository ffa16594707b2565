"""What the parts of the guard of one run share: its trainer, its copies, what is in force, and the open window."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from yolo_nanfix.events import Check, Event, Point, Source
from yolo_nanfix.guard.divergence import Divergence
from yolo_nanfix.guard.escalation import Ladder
from yolo_nanfix.guard.gradients import Gradients
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.listener import Listener
from yolo_nanfix.guard.lookout import Lookout
from yolo_nanfix.guard.module_state import ModuleState, NormBuffers, NormCopy
from yolo_nanfix.guard.param_groups import Groups, Setting
from yolo_nanfix.guard.policy import Kind
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.guard.snapshots import Snapshots
from yolo_nanfix.numerics.finite import by_design, unwrapped
from yolo_nanfix.verdicts import Verdict

HISTORY = 50
"""So many good micro-batches are remembered for an incident."""
WHOLE = (Point.START, Point.EPOCH_END, Point.VALIDATION, Point.SAVE)
"""Points at which an event concerns no micro-batch."""


@dataclass(frozen=True)
class MicroBatch:
    """What is remembered of a micro-batch until it is judged.

    Attributes:
        batch: the preprocessed batch.
        buffers: BatchNorm statistics and counters before its forward pass (see `NormBuffers.copy`).
        tloss: the epoch's running mean of the loss before it.
        rng: state of torch's random number generator (of the CPU, and of the GPU where it trains on one).
        precision: the dtype of its forward pass, as `incident_writer.precision` names it.
    """

    batch: Mapping[str, Any]
    buffers: NormCopy
    tloss: Any
    rng: Mapping[str, Tensor]
    precision: str


@dataclass(frozen=True)
class Fault:
    """One fault as the guard met it.

    Attributes:
        kind: what was met; None if only the gradient tells, which in DDP may be another rank's.
        point: where in the loop.
        checks: the sensors that fired.
        says, values: what was seen, as `events.Event` has it.
        micro: the micro-batch, where it is still known; its BatchNorm statistics are put back.
        files: the images concerned, where it is not one micro-batch alone.
        dropped: how many micro-batches are lost.
        verdict: the cause, where it is known already; then nothing is looked into.
        settings: those of the optimizer that are not finite.
    """

    kind: Kind | None
    point: Point
    checks: tuple[Check, ...]
    says: str
    values: Mapping[str, Any] = field(default_factory=dict)
    micro: MicroBatch | None = None
    files: tuple[Source, ...] = ()
    dropped: int = 1
    verdict: Verdict | None = None
    settings: tuple[Setting, ...] = ()


class RunState:
    """The state of one run.

    Attributes:
        trainer, model: Ultralytics' trainer, and its model without wrappers.
        by_design: parameters that are infinite and stay so.
        norms, module_state: copies of what a forward pass changes in the model.
        gradients, snapshots: of the window, and of all that training changes.
        groups: the optimizer's settings as they were seen.
        ladder: where the run stands, and what is in force.
        history: loss and gradient norm of the last good micro-batches, oldest first.
        batches_this_epoch: micro-batches so far, the present one included.
        steps, began_at: optimizer steps that count, and how many there were at the start or the last rollback.
        window: the images of each good micro-batch of the open window.
    """

    def __init__(
        self, trainer: Any, settings: GuardSettings, recorder: Recorder, listener: Listener, lookout: Lookout
    ) -> None:
        """Nothing has happened yet."""
        self.trainer, self.settings, self.recorder = trainer, settings, recorder
        self.listener, self.lookout = listener, lookout
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
        """The model's parameters, but for those that are infinite by design."""
        return [(name, p) for name, p in self.model.named_parameters() if name not in self.by_design]

    @property
    def epoch(self) -> int:
        """The present epoch, 1-based; before the first, the one that comes."""
        return int(getattr(self.trainer, "epoch", self.trainer.start_epoch)) + 1

    def event(
        self, point: Point, checks: tuple[Check, ...], says: str, values: Mapping[str, Any], files: tuple[Source, ...]
    ) -> Event:
        """An event of now, about which nothing was done yet."""
        ahead = point is Point.BATCH  # the micro-batch is counted once it is preprocessed
        batch = 0 if point in WHOLE else self.batches_this_epoch + ahead
        return Event(point, checks, self.epoch, batch, files, says, values, step=self.recorder.step + ahead)

    def forget_window(self) -> None:
        """After a rollback: the gradients of the window belong to weights that are gone."""
        self.gradients.clear()
        self.window = []
        self.divergence.reset()
        self.steps = self.began_at = self.snapshots.copies[-1].step
