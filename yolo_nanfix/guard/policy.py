"""Decides what to do about a fault, from it and the history of the run. A pure function; the measures, mildest first:

drop the micro-batch          always, when something in it is not finite
quarantine the image          it was the suspect of `quarantine_after` dropped micro-batches
leave float16                 float16 alone failed PRECISION_FAULTS times, or the loss scale keeps falling
clip harder                   the gradient norm keeps jumping, finite
roll back in memory           weights, optimizer or EMA are non-finite, or the run diverges
... and lower the rate        by LR_CUT, more at each further rollback, and warm up again
stop with the verdict         nothing above is possible, or the limit of bad micro-batches in a row is reached
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from yolo_nanfix.guard.fault import Fault, Kind
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.json_values import JsonValue
from yolo_nanfix.verdicts import Cause

PRECISION_FAULTS = 3
"""Micro-batches that failed only in float16, before the run leaves float16."""
SCALER_SKIPS = 12
"""Optimizer steps in a row that a GradScaler may skip. From its first scale of 65 536 it has then fallen to 16;
healthy runs find theirs within a few steps."""
UNEXPLAINED = 3
"""Bad micro-batches in a row without a suspect in the data, before the run is rolled back."""
SPIKES = 3
"""Alarms that are not severe, before gradients are clipped harder."""
LR_CUT = 0.5
CREDIT_STEPS = 50
"""After so many good steps (in short epochs: half an epoch) a rollback no longer counts against `max_rollbacks`. One
that lowered the learning rate counts until the warm-up after it is over, so that a run that diverges again and again is
stopped."""


class Rung(str, Enum):
    """One measure of the guard."""

    DROP = "drop"
    QUARANTINE = "quarantine"
    CLIP = "clip"
    ROLLBACK = "rollback"
    LOWER_LR = "lower-lr"
    LEAVE_FP16 = "leave-fp16"
    STOP = "stop"


@dataclass(frozen=True)
class Standing(JsonValue):
    """What the policy remembers of a run."""

    bad_in_a_row: int = 0
    skips_in_a_row: int = 0
    offences: Mapping[str, int] = field(default_factory=dict)
    rollbacks: int = 0
    lowered: bool = False
    good_steps: int = 0
    precision_faults: int = 0
    spikes: int = 0

    def good_step(self, credit_after: int = CREDIT_STEPS) -> Standing:
        """The standing after an optimizer step; after `credit_after` of them one rollback no longer counts."""
        if not self.rollbacks:
            return replace(self, bad_in_a_row=0, skips_in_a_row=0) if self.bad_in_a_row or self.skips_in_a_row else self
        good = self.good_steps + 1
        if good < (CREDIT_STEPS if self.lowered else credit_after):
            return replace(self, bad_in_a_row=0, skips_in_a_row=0, good_steps=good)
        rest, lowered = self.rollbacks - 1, self.lowered and self.rollbacks > 1
        return replace(self, bad_in_a_row=0, skips_in_a_row=0, good_steps=0, rollbacks=rest, lowered=lowered)


@dataclass(frozen=True)
class Decision:
    """What to do, in this order; which images are left out, and the factor of the learning rate."""

    rungs: tuple[Rung, ...]
    quarantine: tuple[str, ...] = ()
    lr_factor: float = 1.0

    def __contains__(self, rung: Rung) -> bool:
        return rung in self.rungs


def decide(fault: Fault, standing: Standing, settings: GuardSettings) -> tuple[Decision, Standing]:
    """What to do about one fault, and the standing afterwards."""
    if fault.others:
        out, standing = _offended(fault.others, standing, settings)
        decision, standing = decide(replace(fault, others=()), standing, settings)
        if not out:
            return decision, standing
        rungs = decision.rungs if Rung.QUARANTINE in decision else (*decision.rungs, Rung.QUARANTINE)
        return replace(decision, rungs=rungs, quarantine=(*decision.quarantine, *out)), standing
    if fault.kind is Kind.NOT_FINITE:
        return _bad_micro_batch(fault, standing, settings)
    if fault.kind is Kind.EMPTY:
        standing = replace(standing, bad_in_a_row=standing.bad_in_a_row + 1)
        over = standing.bad_in_a_row >= settings.max_bad_in_a_row
        return Decision((Rung.DROP, Rung.STOP) if over else (Rung.DROP,)), standing
    if fault.kind is Kind.SCALER:
        standing = replace(standing, skips_in_a_row=standing.skips_in_a_row + 1)
        if standing.skips_in_a_row < SCALER_SKIPS:
            return Decision(()), standing
        return Decision((Rung.LEAVE_FP16 if settings.leave_fp16 else Rung.STOP,)), replace(standing, skips_in_a_row=0)
    if fault.kind is Kind.SPIKE:
        spikes = standing.spikes + 1
        return Decision((Rung.CLIP,) if spikes >= SPIKES else ()), replace(standing, spikes=spikes % SPIKES)
    return _roll_back((), fault, standing, settings, lower=fault.kind is Kind.DIVERGING or standing.rollbacks > 0)


def _offended(images: tuple[str, ...], standing: Standing, settings: GuardSettings) -> tuple[tuple[str, ...], Standing]:
    """Count that images spoilt a micro-batch; return those that are left out from now on."""
    offences = dict(standing.offences)
    for image in images:
        offences[image] = offences.get(image, 0) + 1
    limit = settings.quarantine_after
    return tuple(i for i in images if limit and offences[i] == limit), replace(standing, offences=offences)


def _bad_micro_batch(fault: Fault, standing: Standing, settings: GuardSettings) -> tuple[Decision, Standing]:
    out, standing = _offended(fault.suspects, standing, settings)
    precise = fault.cause is Cause.PRECISION and fault.float16
    standing = replace(
        standing,
        bad_in_a_row=standing.bad_in_a_row + 1,
        precision_faults=standing.precision_faults + precise,
    )
    rungs = (Rung.DROP, *((Rung.QUARANTINE,) if out else ()))
    if precise and settings.leave_fp16 and standing.precision_faults >= PRECISION_FAULTS:
        leave = Decision((*rungs, Rung.LEAVE_FP16), out)
        return leave, replace(standing, precision_faults=0, bad_in_a_row=0)
    if standing.bad_in_a_row >= settings.max_bad_in_a_row:
        return Decision((*rungs, Rung.STOP), out), standing
    if fault.suspects or precise:
        return Decision(rungs, out), standing
    if fault.cause is Cause.STATE:
        return _roll_back(rungs, fault, standing, settings, lower=False)
    unexplained = fault.cause in (None, Cause.UNKNOWN, Cause.GRADIENT) and standing.bad_in_a_row == UNEXPLAINED
    if (fault.cause is Cause.LEARNING_RATE or unexplained) and fault.can_roll_back:
        return _roll_back(rungs, fault, standing, settings, lower=True)
    return Decision(rungs, out), standing


def _roll_back(
    rungs: tuple[Rung, ...], fault: Fault, standing: Standing, settings: GuardSettings, *, lower: bool
) -> tuple[Decision, Standing]:
    """Roll back, with `lower` to a lower learning rate; stop where that is not possible."""
    if not fault.can_roll_back or standing.rollbacks >= settings.max_rollbacks:
        return Decision((*rungs, Rung.STOP)), standing
    standing = replace(standing, rollbacks=standing.rollbacks + 1, lowered=standing.lowered or lower, good_steps=0)
    if not lower:
        return Decision((*rungs, Rung.ROLLBACK)), standing
    factor = LR_CUT**standing.rollbacks  # 1/2, then 1/4 of that, then 1/8: lowers far too high rates fast
    return Decision((*rungs, Rung.ROLLBACK, Rung.LOWER_LR), lr_factor=factor), standing
