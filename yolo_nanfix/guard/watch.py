"""The guard of one trainer: looks at each point of the loop, asks the policy, calls the remedies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.errors import GuardStop, PoisonedState, TooManyBadBatches
from yolo_nanfix.guard import policy, remedies, sensors
from yolo_nanfix.guard.events import Event, Point, Source
from yolo_nanfix.guard.policy import Decision
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.guard.settings import GuardSettings
from yolo_nanfix.guard.validation import ValidationGuard

Named = list[tuple[str, Tensor]]


class SkipStep(Exception):  # noqa: N818 - control flow between the optimizer's pre-hook and the guarded step
    """Raised inside an optimizer's pre-hook: the gradients of this window must not reach the weights."""


@dataclass
class _MicroBatch:
    batch: Mapping[str, Any]
    buffers: tuple[Tensor, Tensor]
    tloss: Any


class Guard:
    """Watches one training run. `adapter` connects its methods to the trainer."""

    def __init__(self, trainer: Any, settings: GuardSettings, recorder: Recorder) -> None:
        """Check the state that training starts from.

        Raises:
            PoisonedState: weights or buffers are not finite, so no step could be good.
        """
        self.trainer, self.settings, self.recorder = trainer, settings, recorder
        self.model = getattr(trainer.model, "module", trainer.model)
        self.norms = sensors.NormBuffers(self.model)
        self.bad_in_a_row = 0
        self.bad_gradients_in_a_row = 0
        self.scaler_skips_in_a_row = 0
        self.batches_this_epoch = 0
        self.good_this_epoch = 0
        self.validation = ValidationGuard(trainer, self._sick_val_batch)
        self.window: list[tuple[Source, ...]] = []
        self.window_dropped = 0
        self.norm: Tensor | None = None
        self._norm_value = 0.0
        self.step_reached = False
        self._current: _MicroBatch | None = None
        for what, tensors in (*self._states(), ("optimizer", sensors.optimizer_tensors(trainer.optimizer))):
            if defect := sensors.first_not_finite(tensors):
                raise PoisonedState(
                    f"training would start from poisoned {what}: {defect} (model={trainer.args.model}). "
                    "Start from other weights; these give NaN from the first batch."
                )

    def epoch_start(self) -> None:
        """Forget the counts of the last epoch."""
        self.batches_this_epoch = self.good_this_epoch = 0

    def batch(self, batch: Mapping[str, Any]) -> None:
        """BATCH: remember the sources and a copy of the BatchNorm buffers."""
        self._unjudged()
        self.batches_this_epoch += 1
        self.recorder.micro_batches += 1
        if not self.good_this_epoch:
            self.trainer.tloss = None  # only dropped micro-batches so far: the running mean starts here
        self._current = _MicroBatch(batch, self.norms.copy(), self.trainer.tloss)

    def _unjudged(self) -> None:
        """A micro-batch that upstream itself dropped before backward, as 8.3.210 and 8.3.211 do: mend BatchNorm."""
        current, self._current = self._current, None
        if current is None or math.isfinite(float(self.norms.sum())):
            return
        self.norms.restore(current.buffers)
        detail, action = "BatchNorm statistics not finite", "dropped by Ultralytics itself; BatchNorm put back"
        self._record(Point.AFTER_LOSS, "batchnorm", detail, action, sensors.sources(current.batch), dropped=1)

    def after_loss(self, loss: Tensor) -> Tensor:
        """AFTER_LOSS: the loss to run backward on: the given one, or one without effect for a bad micro-batch.

        Raises:
            TooManyBadBatches: the limit of bad micro-batches in a row is reached.
        """
        current, self._current = self._current, None
        if current is None:
            return loss
        flags = sensors.step_flags(loss, self.norms, current.batch)
        decision = policy.judge_micro_batch(flags, self.bad_in_a_row, self.settings)
        if decision is Decision.KEEP:
            self.bad_in_a_row = 0
            self.good_this_epoch += 1
            self.window.append(tuple(Source(str(f)) for f in current.batch.get("im_file", ())))
            return loss
        detail = self._detail(flags)
        neutral = remedies.drop_micro_batch(self.trainer, loss, self.norms, current.buffers, current.tloss)
        self.bad_in_a_row += 1
        self.window_dropped += 1
        self._record(
            Point.AFTER_LOSS,
            "+".join(name for name, good in flags.items() if not good),
            detail,
            "micro-batch dropped, BatchNorm put back",
            sensors.sources(current.batch),
            dropped=1,
        )
        if decision is Decision.STOP:
            self._stop(f"{self.bad_in_a_row} bad micro-batches in a row (the last: {detail})")
        return neutral

    def optimizer_step(self, step: Callable[[], None]) -> None:
        """BEFORE_STEP: run the trainer's own step, unless the window holds no good micro-batch or a bad gradient."""
        window, dropped = self.window, self.window_dropped
        self.window, self.window_dropped, self.norm, self.step_reached = [], 0, None, False
        if dropped and not window:
            remedies.skip_step(self.trainer)
            return
        try:
            step()
        except SkipStep:
            self._drop_window(window)
            return
        self.bad_gradients_in_a_row = 0
        if self.trainer.scaler.is_enabled():
            self._count_scaler()

    def before_optimizer(self) -> None:
        """The optimizer's pre-hook: without a GradScaler, the gradient norm must be finite.

        Raises:
            SkipStep: it is not.
        """
        self.step_reached = True
        if self.trainer.scaler.is_enabled():
            return  # the scaler has looked at every gradient and does not call the optimizer on a bad one
        if self.norm is None:
            self.norm = sensors.gradient_norm(list(self.model.parameters()))
        self._norm_value = float(self.norm)
        if not math.isfinite(self._norm_value):
            raise SkipStep

    def before_validation(self) -> None:
        """EPOCH_END: weights and EMA must be finite before validation sees them.

        Raises:
            GuardStop: they are not; a finite gradient made them so, which a too high learning rate does.
        """
        self._unjudged()
        for check, tensors in self._states():
            if defect := sensors.state_defect(tensors):
                self._record(Point.EPOCH_END, check, defect, "run stopped")
                self._stop(
                    f"{check} at the end of the epoch: {defect}, made so by a finite gradient; lower lr0",
                    PoisonedState,
                )

    def after_validation(self, metrics: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """VALIDATION: the metrics, with val losses over the healthy images; what is still not finite is reported."""
        metrics = self.validation.rescale(metrics)
        bad = [k for k, v in (metrics or {}).items() if float(v) != float(v) or abs(float(v)) == float("inf")]
        if bad:
            self._record(Point.VALIDATION, "val-loss", f"{', '.join(bad)} not finite", "reported as it is")
        return metrics

    def _sick_val_batch(self, detail: str, action: str, files: tuple[Source, ...]) -> None:
        self._record(Point.VALIDATION, "val-batch", detail, action, files)

    def save(self, write: Callable[[], Any]) -> Any:
        """SAVE: let the trainer write its checkpoints, unless they would be NaN or zeros."""
        for check, tensors in self._states():
            if defect := sensors.state_defect(tensors):
                action = "checkpoint not written, the last one stays"
                self._record(Point.SAVE, "checkpoint", f"{check}: {defect}", action)
                return False
        with remedies.interrupt_later():
            return write()

    def _states(self) -> list[tuple[str, Named]]:
        ema = self.trainer.ema
        models = [("weights", self.model), *([("ema", ema.ema)] if ema else [])]
        return [(what, list(model.state_dict().items())) for what, model in models]

    def _epoch(self) -> int:
        return int(self.trainer.epoch) + 1

    def _detail(self, flags: Mapping[str, bool]) -> str:
        parts = [] if flags["loss"] else [f"loss not finite ({sensors.describe_items(self.trainer.loss_items)})"]
        parts += [] if flags["batchnorm"] else ["BatchNorm statistics not finite"]
        parts += [] if flags["targets"] else ["label targets not finite"]
        return ", ".join(parts)

    def _drop_window(self, window: list[tuple[Source, ...]]) -> None:
        remedies.skip_step(self.trainer)
        decision = policy.judge_gradient(self.bad_gradients_in_a_row, len(window), self.settings)
        self.bad_gradients_in_a_row += len(window)
        detail = f"gradient norm {self._norm_value} with a finite loss"
        action = f"step skipped, {len(window)} micro-batch(es) of its window dropped"
        files = tuple(source for micro in window for source in micro)
        self._record(Point.BEFORE_STEP, "gradient", detail, action, files, dropped=len(window))
        if decision is Decision.STOP:
            self._stop(f"{self.bad_gradients_in_a_row} bad micro-batches in a row (the last: {detail})")

    def _count_scaler(self) -> None:
        if self.step_reached:
            self.scaler_skips_in_a_row = 0
            return
        self.recorder.scaler_skips += 1
        self.scaler_skips_in_a_row += 1
        if policy.judge_scaler(self.scaler_skips_in_a_row) is Decision.STOP:
            scale = self.trainer.scaler.get_scale()
            self._stop(f"gradients not finite in {self.scaler_skips_in_a_row} steps in a row (loss scale {scale:g})")

    def _record(
        self,
        point: Point,
        check: str,
        detail: str,
        action: str,
        files: tuple[Source, ...] = (),
        dropped: int = 0,
    ) -> None:
        batch = self.batches_this_epoch if point in (Point.AFTER_LOSS, Point.BEFORE_STEP) else 0
        event = Event(point, check, self._epoch(), batch, files, detail, action)
        self.recorder.add(event, dropped)
        upstream.log(f"yolo-nanfix guard: {event}")

    def _stop(self, reason: str, error: type[GuardStop] = TooManyBadBatches) -> None:
        """Stop the run with a clean checkpoint in place: the last one, or the present state if there is none."""
        trainer = self.trainer
        if trainer.args.save and not trainer.last.exists():
            trainer.save_model()
        kept = f"the last clean checkpoint is {trainer.last}" if trainer.last.exists() else "no checkpoint was clean"
        raise error(f"training stopped in epoch {self._epoch()}, batch {self.batches_this_epoch}: {reason}; {kept}")
