"""Carries out the decisions of the policy, and holds what stays in force: learning rate, clipping, quarantine."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import Any

from yolo_nanfix.events import Action, Did
from yolo_nanfix.guard import policy, remedies
from yolo_nanfix.guard.fault import Fault
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.policy import Decision, Rung, Standing
from yolo_nanfix.guard.snapshots import Snapshots

WARM_UP = 50
"""Optimizer steps over which the learning rate rises again after a rollback that lowered it."""
WARY = 10
"""See `Ladder.wary_steps`: a fault that recurs then undoes few steps."""
CLIP_STEPS = 500
"""Optimizer steps for which gradients are clipped harder."""


class Ladder:
    """The standing of one run, and what is in force in it."""

    def __init__(self, trainer: Any, settings: GuardSettings, snapshots: Snapshots) -> None:
        self.trainer, self.settings, self.snapshots = trainer, settings, snapshots
        self.standing = Standing()
        self.quarantined: dict[str, int] = {}
        self.lr_scale = 1.0
        self.norms: deque[float] = deque(maxlen=101)
        self._credit_after = policy.CREDIT_STEPS
        self._warm_up = 0
        self._clip_to = float("inf")
        self._clip_left = 0

    def epoch(self, micro_batches: int) -> None:
        """An epoch of so many micro-batches begins: a short one earns the credit for a rollback in fewer steps."""
        self._credit_after = max(1, min(policy.CREDIT_STEPS, micro_batches // 2))

    @property
    def wary_steps(self) -> int:
        """In a run that was rolled back once, a copy of the state is kept after every so many steps."""
        return min(WARY, self._credit_after)

    def judge(self, fault: Fault) -> Decision:
        """Ask the policy, and keep the new standing."""
        decision, self.standing = policy.decide(fault, self.standing, self.settings)
        return decision

    def good_micro_batch(self) -> None:
        """A micro-batch was judged good."""
        if self.standing.bad_in_a_row:
            self.standing = replace(self.standing, bad_in_a_row=0)

    def good_step(self, norm: float | None) -> None:
        """A step was taken."""
        self.standing = self.standing.good_step(self._credit_after)
        self._warm_up = max(0, self._warm_up - 1)
        self._clip_left = max(0, self._clip_left - 1)
        if norm is not None:
            self.norms.append(norm)

    def carry_out(self, decision: Decision, steps: int, *, older: bool = False) -> list[Action]:
        """Do all that was decided, except dropping and stopping, which the guard does.

        `steps` are the optimizer steps so far without those that were undone; `older` is as for `remedies.roll_back`.
        """
        done = []
        if Rung.QUARANTINE in decision:
            self.quarantined |= {image: self.standing.offences[image] for image in decision.quarantine}
            done.append(Action(Did.QUARANTINED, images=decision.quarantine))
        if Rung.LEAVE_FP16 in decision:
            done.append(Action(Did.LEFT_FLOAT16, names=(remedies.leave_float16(self.trainer),)))
        if Rung.CLIP in decision and self.norms:
            self._clip_to, self._clip_left = 3 * median(self.norms), CLIP_STEPS
            done.append(Action(Did.CLIPPED, factor=self._clip_to, count=CLIP_STEPS))
        if Rung.ROLLBACK in decision:
            step = remedies.roll_back(self.snapshots, older=older)
            remedies.skip_step(self.trainer)
            done.append(Action(Did.ROLLED_BACK, step=step, count=steps - step))
        if Rung.LOWER_LR in decision:
            self.lr_scale *= decision.lr_factor
            self._warm_up = WARM_UP
            done.append(Action(Did.LOWERED_RATE, factor=self.lr_scale, count=WARM_UP))
        return done

    def lasting(self) -> dict[str, Any]:
        """What is in force, JSON-ready, for the run that is resumed from here."""
        return {
            "standing": self.standing.as_dict(),
            "quarantined": dict(self.quarantined),
            "lr_scale": self.lr_scale,
            "warm_up": self._warm_up,
            "clip_to": self._clip_to if self._clip_left else 0.0,
            "clip_left": self._clip_left,
        }

    def take_up(self, lasting: Mapping[str, Any]) -> None:
        """Restore what `lasting` gave in an earlier part of this run.

        Raises:
            ValueError, TypeError, KeyError: `lasting` did not write it; nothing was changed.
        """
        standing = Standing.from_dict(lasting["standing"])
        quarantined = {str(image): int(times) for image, times in lasting["quarantined"].items()}
        scale, warm_up = float(lasting["lr_scale"]), int(lasting["warm_up"])
        clip_to, clip_left = float(lasting["clip_to"]), int(lasting["clip_left"])
        if not 0 < scale <= 1 or not 0 <= warm_up <= WARM_UP or not 0 <= clip_left <= CLIP_STEPS:
            raise ValueError("a learning rate, a warm-up or a clipping that the guard never sets")
        self.standing = replace(standing, bad_in_a_row=0, skips_in_a_row=0)
        self.quarantined, self.lr_scale, self._warm_up = quarantined, scale, warm_up
        if clip_left and clip_to > 0:
            self._clip_to, self._clip_left = clip_to, clip_left

    def clipped(self, max_norm: float) -> float:
        """The norm at which gradients are clipped now."""
        return min(max_norm, self._clip_to) if self._clip_left else max_norm

    @property
    def rate(self) -> float:
        """The present factor of all learning rates."""
        return self.lr_scale * (1 - self._warm_up / (WARM_UP + 1))
