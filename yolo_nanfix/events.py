"""The points of the training loop at which the guard checks, and the value that records what it saw.

set up                       ── START        weights, BatchNorm, EMA, optimizer, loss scale finite?
batch from loader            ── BATCH        leave out bad samples; keep a copy of the BatchNorm buffers
loss, items = model(batch)   ── AFTER_LOSS   loss, BatchNorm, targets, pixels, outputs finite? loss in its usual range?
scaler.scale(loss).backward()
next batch, or the step      ── AFTER_BACKWARD  the gradient of this micro-batch finite? then it joins the window
optimizer_step()             ── BEFORE_STEP  the norm that clip_grad_norm_ returns tells all gradients
  optimizer.step, ema.update ── AFTER_STEP   every 50 steps: a snapshot; how far did the weights move?
end of epoch                 ── EPOCH_END    weights and EMA finite, before validation sees them?
  each val batch             ── VALIDATION   its loss finite?
save_model()                 ── SAVE         what is about to be written finite, not all zeros; written whole?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from yolo_nanfix import wording
from yolo_nanfix.json_values import JsonValue


class Point(str, Enum):
    """Point of the loop."""

    START = "start"
    BATCH = "batch"
    AFTER_LOSS = "after-loss"
    AFTER_BACKWARD = "after-backward"
    BEFORE_STEP = "before-step"
    AFTER_STEP = "after-step"
    EPOCH_END = "epoch-end"
    VALIDATION = "validation"
    SAVE = "save"


class Check(str, Enum):
    """The sensors; `docs/sensors.yaml` says what each checks, when, and what follows."""

    SAMPLES = "samples"
    LOSS = "loss"
    BATCHNORM = "batchnorm"
    TARGETS = "targets"
    PIXELS = "pixels"
    OUTPUTS = "outputs"
    GRADIENT = "gradient"
    SETTINGS = "settings"
    LOSS_SCALE = "loss-scale"
    DIVERGENCE = "divergence"
    UPDATE_RATIO = "update-ratio"
    WEIGHTS = "weights"
    OPTIMIZER = "optimizer"
    EMA = "ema"
    VAL_BATCH = "val-batch"
    VAL_LOSS = "val-loss"
    VAL_PREDICTIONS = "val-predictions"
    CHECKPOINT = "checkpoint"


class Level(str, Enum):
    """How bad an event is, by what was done about it, from the worst down."""

    FATAL = "fatal"
    """The run ended, or did not begin."""
    ERROR = "error"
    """Something was lost or undone: a micro-batch, steps, a checkpoint."""
    WARNING = "warning"
    """Something was left out or repaired, and training lost nothing else."""
    INFO = "info"
    """Reported only."""


class Did(str, Enum):
    """One kind of thing that the guard does; `report.event_text.DONE` says each, with the fields of its `Action`."""

    DROPPED = "dropped"
    DROPPED_UPSTREAM = "dropped-upstream"
    """Ultralytics itself dropped micro-batches before the backward pass (count)."""
    REFUSED_STEP = "refused-step"
    BATCHNORM_RESTORED = "batchnorm-restored"
    BATCHNORM_FROM_SNAPSHOT = "batchnorm-from-snapshot"
    BATCHNORM_LEFT = "batchnorm-left"
    """BatchNorm statistics were non-finite before, and there is no snapshot to take them from."""
    STATE_FROM_SNAPSHOT = "state-from-snapshot"
    QUARANTINED = "quarantined"
    LEFT_FLOAT16 = "left-float16"
    CLIPPED = "clipped"
    ROLLED_BACK = "rolled-back"
    """All that training changes is as it was at an earlier step (step, count is the number of steps undone)."""
    LOWERED_RATE = "lowered-rate"
    """The learning rate is lowered (factor of what was asked for, count is the number of warm-up steps)."""
    STOPPED = "stopped"
    NOT_STARTED = "not-started"
    CHANNELS_RESET = "channels-reset"
    OPTIMIZER_RESET = "optimizer-reset"
    SCALE_RESET = "scale-reset"
    WEIGHTS_RESET = "weights-reset"
    LEFT_AS_IS = "left-as-is"
    EMA_COPIED = "ema-copied"
    CHECKPOINT_NOT_WRITTEN = "checkpoint-not-written"
    CHECKPOINT_NOT_REPLACED = "checkpoint-not-replaced"
    """The new file cannot be read back, so the last one stays."""
    REPORTED = "reported"
    SAMPLES_LEFT_OUT = "samples-left-out"
    FILLED_UP = "filled-up"
    """A micro-batch of one image got another one beside it (images)."""
    REPLACED_IN_MIX = "replaced-in-mix"
    """Another image has the place of one in a mosaic or mix-up."""
    READ_AGAIN = "read-again"
    CAME_BACK = "came-back"
    """An image that could not be read can be read again."""
    ROWS_LEFT_OUT = "rows-left-out"
    """Label rows that belong to no image are left out."""
    VAL_IMAGES_LEFT_OUT = "val-images-left-out"
    VAL_BATCH_LEFT_OUT = "val-batch-left-out"
    VAL_LOSS_OF_OTHERS = "val-loss-of-others"
    PREDICTIONS_LEFT_OUT = "predictions-left-out"
    """Predictions are left out of the metrics (count is the number of rows, None for whole images)."""


LOSSES = frozenset((Did.DROPPED, Did.DROPPED_UPSTREAM))
"""What costs micro-batches."""
_UNDONE = (Did.REFUSED_STEP, Did.ROLLED_BACK, Did.CHECKPOINT_NOT_WRITTEN, Did.CHECKPOINT_NOT_REPLACED)
LEVELS: Mapping[Did, Level] = {
    **dict.fromkeys((Did.STOPPED, Did.NOT_STARTED), Level.FATAL),
    **dict.fromkeys((*LOSSES, *_UNDONE), Level.ERROR),
    Did.REPORTED: Level.INFO,
}
"""How bad each kind is; others are warnings."""


@dataclass(frozen=True)
class Action(JsonValue):
    """One thing that the guard did about an event; `Did` says which fields are set.

    Attributes:
        did: what.
        images: image files that it concerns.
        step: the optimizer step that it leads to.
        factor: a norm, a factor or a scale.
        count: how many micro-batches, steps, tensors, images or rows.
        names: names of tensors, or of a precision.
    """

    did: Did
    images: tuple[str, ...] = ()
    step: int | None = None
    factor: float | None = None
    count: int | None = None
    names: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """How bad this alone is."""
        return LEVELS.get(self.did, Level.WARNING)

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of the fields that are set."""
        return {name: value for name, value in super().as_dict().items() if value not in (None, [])}


class Defect(str, Enum):
    """Kind of defect of a sample."""

    VALUES = "values"
    """Pixels or label rows that are not finite."""
    CLASS = "class"
    """A class that does not exist: the loss raises, or a GPU stops with an assertion."""


class OnDisk(str, Enum):
    """State of a file of a suspect sample when it was read again."""

    FINITE = "finite"
    """Pixels, label rows and depth are finite, and all classes exist: the defect came later."""
    NOT_FINITE = "not-finite"
    """They are not: the file is to blame."""
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"
    """It was not read again, or the dataset has no known reader."""


@dataclass(frozen=True)
class Source(JsonValue):
    """One image of a micro-batch.

    Attributes:
        file: the image file.
        suspect: what is wrong with it as the model saw it, or empty.
        parents: other image files that mosaic and mix-up put into it.
        on_disk: state of the worst of its files when they were read again, as those of suspect images are.
        blamed: those of its files that are non-finite, or have classes that do not exist, on disk.
        defect: kind of defect, where it was seen before the forward pass.
    """

    file: str
    suspect: str = ""
    parents: tuple[str, ...] = ()
    on_disk: OnDisk = OnDisk.UNKNOWN
    blamed: tuple[str, ...] = ()
    defect: Defect | None = None


@dataclass(frozen=True)
class RankFault(JsonValue):
    """What one rank of several met in an event.

    Attributes:
        rank: the rank.
        checks: the sensors that fired on it.
        says, values: what it saw, as in `Event`.
        images: the images it suspects.
        cause: the class of cause that its diagnosis found (a `verdicts.Cause`), empty where there is none.
        incident: the name of its incident file, where one was written.
    """

    rank: int
    checks: tuple[Check, ...]
    says: str
    values: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    cause: str = ""
    incident: str = ""

    @property
    def detail(self) -> str:
        """What it saw, as a sentence."""
        return wording.sentence(self.says, self.values)

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict, with `detail` for readers that do not know `says`."""
        return {**super().as_dict(), "detail": self.detail}


@dataclass(frozen=True)
class Event(JsonValue):
    """One thing the guard saw and what it did about it.

    Attributes:
        point: where in the loop.
        checks: the sensors that fired.
        epoch: 1-based, as Ultralytics prints it.
        batch: 1-based within the epoch, 0 where the event concerns the epoch as a whole.
        sources: the images concerned.
        says: format text of what was seen, with the names of `values` in braces (see `wording.sentence`).
        values: the numbers, texts and tuples of them that were seen, by name.
        actions: what was done.
        step: how many micro-batches the run had had, this one included; 0 before the first.
        incident: the name of its incident file, where one was written.
        ranks: in a distributed run, what each rank met that met something; else empty. Then `checks` and `sources`
            are those of all of them, and `says`, `values` and `incident` are the first's.
        val_batch: 1-based within the validation, where the event concerns one batch of it; else 0.
    """

    point: Point
    checks: tuple[Check, ...]
    epoch: int
    batch: int
    sources: tuple[Source, ...]
    says: str
    values: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    step: int = 0
    incident: str = ""
    ranks: tuple[RankFault, ...] = ()
    val_batch: int = 0

    @property
    def level(self) -> Level:
        """The worst of its actions; a warning where nothing was done yet."""
        order = list(Level)
        return min((action.level for action in self.actions), key=order.index, default=Level.WARNING)

    @property
    def detail(self) -> str:
        """What was seen, as a sentence; of several ranks, what each of them saw."""
        if self.ranks:
            return "; ".join(f"rank {part.rank}: {part.detail}" for part in self.ranks)
        return wording.sentence(self.says, self.values)

    def did(self, *kinds: Did) -> list[Action]:
        """Its actions of some kinds."""
        return [action for action in self.actions if action.did in kinds]

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict, with `level` and `detail` for readers that do not know `Did` and `says`."""
        return {**super().as_dict(), "level": self.level.value, "detail": self.detail}
