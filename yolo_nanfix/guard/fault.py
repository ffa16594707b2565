"""One fault, from the check that finds it to the decision about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from torch import Tensor

from yolo_nanfix.events import Check, Point, Source
from yolo_nanfix.guard.module_state import NormCopy
from yolo_nanfix.guard.param_groups import Setting
from yolo_nanfix.verdicts import Cause, Verdict


class Kind(str, Enum):
    """What kind of fault was met."""

    NOT_FINITE = "not-finite"
    """A micro-batch: its loss, gradient, BatchNorm statistics, targets, pixels or outputs."""
    POISONED = "poisoned"
    """Weights, optimizer state or EMA hold values that are not finite."""
    DIVERGING = "diverging"
    """Finite, but learning has broken down: a severe alarm."""
    SPIKE = "spike"
    """Finite and not severe."""
    SCALER = "scaler"
    """The GradScaler skipped a step."""
    EMPTY = "empty"
    """A micro-batch without a usable image; its samples are reported already."""


@dataclass(frozen=True)
class MicroBatch:
    """A micro-batch until it is judged.

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
    """One fault. The check that found it gives the first fields; `fault_handling` adds the others.

    Attributes:
        kind: what was met; None if only the gradient shows it, which in DDP may be another rank's.
        point, checks, says, values: where in the loop, which sensors fired, what they saw; see `events.Event`.
        micro: the micro-batch, where it is still known; its BatchNorm statistics are restored.
        sources: the images concerned; by default those of `micro`.
        dropped: how many micro-batches are lost.
        verdict: the cause; a fault that has one from the start is not diagnosed.
        settings: those of the optimizer that are not finite.
        rank: which rank met it; -1 where this process trains alone.
        incident: the name of its incident file, where one was written.
        cause: the class of cause by which it is judged, None where nothing was diagnosed.
        suspects: image files that are known to be the reason.
        others: image files that spoilt the micro-batches of other ranks in the same step.
        float16: whether the run computes in float16 (or scales its loss for it).
        can_roll_back: whether a snapshot exists.
    """

    kind: Kind | None
    point: Point
    checks: tuple[Check, ...]
    says: str
    values: Mapping[str, Any] = field(default_factory=dict)
    micro: MicroBatch | None = None
    sources: tuple[Source, ...] = ()
    dropped: int = 1
    verdict: Verdict | None = None
    settings: tuple[Setting, ...] = ()
    rank: int = -1
    incident: str = ""
    cause: Cause | None = None
    suspects: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    float16: bool = False
    can_roll_back: bool = True
