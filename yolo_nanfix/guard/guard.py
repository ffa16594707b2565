"""The guard of one trainer: checks each point of the training loop, and hands faults to `fault_handling`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from yolo_nanfix import batches
from yolo_nanfix.events import Action, Check, Did, Point, Source
from yolo_nanfix.guard import batched_reads, distributed, head_outputs, initial_state, remedies, sensors
from yolo_nanfix.guard import param_groups as groups
from yolo_nanfix.guard.divergence import Alarm
from yolo_nanfix.guard.fault import Fault, Kind, MicroBatch
from yolo_nanfix.guard.fault_handling import Faults
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.incident_writer import IncidentWriter, precision, random_states
from yolo_nanfix.guard.intake import Intake
from yolo_nanfix.guard.listener import Callbacks
from yolo_nanfix.guard.lookout import Lookout
from yolo_nanfix.guard.param_groups import Setting
from yolo_nanfix.guard.state import RunState
from yolo_nanfix.guard.validation import ValidationGuard
from yolo_nanfix.numerics.finite import first_not_finite, weights

EARLY = (5, 10, 20, 35)
"""Steps after the start or a rollback at which it is also measured how far the weights moved; then at each snapshot."""


class SkipStep(Exception):  # noqa: N818 - control flow between the optimizer's pre-hook and the guarded step
    """Raised inside an optimizer's pre-hook: the gradients of this window must not reach the weights."""


class Guard:
    """Watches one training run. `adapter` connects its methods to the trainer."""

    def __init__(self, trainer: Any, settings: GuardSettings, lookout: Lookout, callbacks: Callbacks) -> None:
        """Check the state that training starts from, and take a first snapshot of it.

        Raises:
            PoisonedState: weights or buffers are not finite and may not be repaired, so no step could be good.
        """
        self.run = run = RunState(trainer, settings, lookout)
        self.faults = Faults(run, IncidentWriter(settings, callbacks))
        self.validation = ValidationGuard(self.faults)
        self.intake = Intake(self.faults)
        self.progress = batched_reads.ProgressReads(trainer)
        self.distributed = distributed.running()
        self.good_this_epoch = self.window_dropped = 0
        self.norm: Tensor | None = None
        self.step_reached = False
        self.optimizer: Any = trainer.optimizer
        self._current: MicroBatch | None = None
        self._pending: MicroBatch | None = None
        self._said: Fault | None = None
        self._alarm: Alarm | None = None
        self._held_back = False
        self._norm_value: float | None = None
        self._norm_to_read: Tensor | None = None
        self._main_group = batched_reads.main_group(trainer.optimizer)
        self._odd_pixels = 0
        self._float_images = True
        self._epoch: int | None = None
        initial_state.check(trainer, run.model, settings.repair, partial(self.faults.note, Point.START))
        if settings.snapshot_every:
            run.snapshots.take(0)

    def epoch_start(self) -> None:
        """Reset the counts of the last epoch; where Ultralytics begins one again, also its open window."""
        if self._epoch is not None and self.run.trainer.epoch <= self._epoch:
            self.run.recorder.epochs_redone += 1
            self._unjudged()
            self.abandon_window()
            self.run.divergence.reset()
        self._epoch = self.run.trainer.epoch
        self.run.batches_this_epoch = self.good_this_epoch = 0
        self.run.ladder.epoch(len(self.run.trainer.train_loader))

    @property
    def training(self) -> bool:
        """Whether the loop has begun: a callback before that may have batches preprocessed to look at them."""
        return self._epoch is not None

    def abandon_window(self) -> None:
        """Drop gradients and micro-batches of a window that upstream has ended."""
        self.run.gradients.kept = []
        self.run.window, self.window_dropped = [], 0
        self._current = self._pending = self._said = None
        self.progress.take_back()

    def before_batch(self, batch: Any) -> Any:
        """BATCH: judge the gradient of the last micro-batch, and leave bad samples out of this one.

        The batch is as the user's loader gives it, which may be anything.
        """
        if not self.training:
            return batch
        self._unjudged()
        self.settle()
        images = batch.get("img") if isinstance(batch, Mapping) else None
        self._float_images = not isinstance(images, Tensor) or images.is_floating_point()
        return self.intake.before(batch)

    def batch(self, batch: Any) -> None:
        """BATCH: remember the sources, the generators and a copy of the BatchNorm buffers."""
        self.run.batches_this_epoch += 1
        self.run.recorder.micro_batches += 1
        self.run.recorder.processes.place = self.run.trainer.epoch + 1, self.run.batches_this_epoch
        self.run.gradients.sizes = {}
        self.progress.take_back()
        self.faults.incidents.tick(self.run.model)
        head_outputs.overhear(self.run.model)
        if not self.good_this_epoch:
            remedies.set_running_loss(self.run.trainer, None)  # only dropped micro-batches so far
        states, dtype = random_states(self.run.trainer.device), precision(self.run.trainer.device.type)
        self.run.module_state.copy()
        held = batch if isinstance(batch, Mapping) else {}
        self._current = MicroBatch(held, self.run.norms.copy(), self.run.trainer.tloss, states, dtype)

    def _unjudged(self) -> None:
        """A micro-batch that upstream itself dropped before backward, as 8.3.210 and 8.3.211 do: put BatchNorm back."""
        current, self._current = self._current, None
        if current is not None:
            self._write_down({})
        if current is None or math.isfinite(float(self.run.norms.sum())):
            return
        done = remedies.put_back(self.run.norms, self.run.module_state, current.buffers, self.run.snapshots)
        files, says = sensors.sources(current.batch), sensors.CHECKS[Check.BATCHNORM]
        lost = Action(Did.DROPPED_UPSTREAM, count=1)
        self.faults.note(Point.AFTER_LOSS, Check.BATCHNORM, says, {}, lost, *done, files=files)

    def after_loss(self, loss: Tensor) -> Tensor:
        """AFTER_LOSS: the loss to run backward on: the given one, or for a bad micro-batch one without effect.

        Raises:
            GuardStop: the policy stops the run.
        """
        micro, self._current = self._current, None
        if micro is None:
            return loss
        look = self._float_images or self.run.batches_this_epoch == 1
        tensors = sensors.step_tensors(
            loss, self.run.norms, micro.batch, head_outputs.take(self.run.model), look_at_pixels=look
        )
        scalars = {name: tensor.detach() for name, tensor in tensors.items()}
        values = sensors.host_values(scalars | self._aside())
        self._write_down(values)
        if (fault := self.intake.take()) is not None:
            return self._drop(replace(fault, micro=micro), loss)
        if settings := self._bad_settings() if self.distributed else ():  # said by the gradient, as all is among ranks
            facts = groups.facts(settings)
            found = Fault(Kind.NOT_FINITE, Point.AFTER_LOSS, (Check.SETTINGS,), *facts, micro, settings=settings)
            return self._drop(found, loss)
        if not all(math.isfinite(values[name]) for name in scalars):
            checks = sensors.fired(sensors.host_values(scalars | sensors.pixel_tensors(micro.batch)))
            says = ", ".join(sensors.CHECKS[check] for check in checks)
            terms = {"terms": sensors.describe_items(self.run.trainer.loss_items)}
            return self._drop(Fault(Kind.NOT_FINITE, Point.AFTER_LOSS, checks, says, terms, micro), loss)
        self._look_at_pixels(values, micro)
        labels = micro.batch.get("cls")
        alarm = self.run.divergence.loss(
            values["loss"], len(labels) if isinstance(labels, Tensor) and labels.dim() else 1
        )
        if alarm is not None and alarm.severe:
            return self._drop(_diverging(Point.AFTER_LOSS, Check.DIVERGENCE, alarm, micro), loss)
        if alarm is not None:
            self.faults.spike(alarm, micro, common=not self.distributed)
        self.progress.hand_over(values)
        self.run.history.append({"loss": values["loss"], "norm": self._norm_value})
        self._pending = micro
        if self.distributed or not self.run.trainer.scaler.is_enabled():
            self.run.gradients.set_aside()
        else:
            self._good(micro)
            self.run.ladder.good_micro_batch()
        return loss

    def _aside(self) -> dict[str, Tensor]:
        """Scalars that are read together with the checks, and not judged."""
        late = {} if self._norm_to_read is None else {batched_reads.NORM: self._norm_to_read}
        scale = batched_reads.scale(self.run.trainer.scaler)
        return {**self.progress.scalars(), **batched_reads.terms(self.run.trainer), **scale, **late}

    def _write_down(self, values: Mapping[str, float]) -> None:
        """Add a row to the step log: this micro-batch, and the gradient norm of the step before it."""
        run, rows = self.run, self.run.recorder.step_log
        if values and self._norm_to_read is not None:
            self._norm_to_read = None
            rows.norm(values[batched_reads.NORM])
        row = {k.removeprefix(batched_reads.ROW): v for k, v in values.items() if k.startswith(batched_reads.ROW)}
        if values:
            row["loss"] = values["loss"]
            groups = run.trainer.optimizer.param_groups
            rate = groups[min(self._main_group, len(groups) - 1)]["lr"]
            if not isinstance(rate, Tensor):
                row["lr"] = rate * run.ladder.rate
        rows.add(run.recorder.step, run.trainer.epoch + 1, run.batches_this_epoch, row)
        if values:
            run.listener.micro_batch()

    def _drop(self, fault: Fault, loss: Tensor) -> Tensor:
        """Deal with a fault found before backward; among several ranks, tell the others by the gradient first."""
        micro = fault.micro
        assert micro is not None
        if self.distributed:
            self._said, self._pending = fault, micro
            remedies.forget_loss(self.run.trainer, loss, micro.tloss)
            self.run.gradients.set_aside()
            return distributed.not_finite(loss)
        self.window_dropped += 1
        neutral = remedies.without_effect(self.run.trainer, loss, micro.tloss)
        self.faults.deal_with(fault)
        return neutral

    def _good(self, micro: MicroBatch) -> None:
        self.good_this_epoch += 1
        self.run.window.append(tuple(Source(str(f)) for f in batches.names(micro.batch)))

    def settle(self, *, stepping: bool = False) -> None:
        """AFTER_BACKWARD: let the last micro-batch's gradient join its window if it is good, else drop it alone.

        A GradScaler judges the window as a whole, for its gradients may overflow while it looks for its scale; with
        one micro-batch to a step the norm before the step tells.
        """
        micro, said = self._pending, self._said
        scaled = self.run.trainer.scaler.is_enabled()
        if micro is None or (not self.distributed and (scaled or (stepping and not self.run.gradients.kept))):
            if micro is not None and scaled:
                self._pending = None
            return
        self._pending = self._said = None
        if not self.run.gradients.apart:
            self._good(micro)  # the norm before the step tells
            self.run.ladder.good_micro_batch()
            return
        probe = self.run.gradients.probe()
        value = sensors.host_values({"gradient": probe})["gradient"] if said is None and probe is not None else 0.0
        if said is None and math.isfinite(value):
            self._good(micro)
            self.run.ladder.good_micro_batch()
            self.run.gradients.join()
            return
        if said is None:
            self.run.recorder.step_log.norm(value)
        says = "the gradient is not finite, the loss is"
        seen = Fault(None, Point.AFTER_BACKWARD, (Check.GRADIENT,), says, micro=micro)
        if self.faults.deal_with(said or seen, left_to_scaler=scaled and said is None):
            self.window_dropped += 1
            self.run.gradients.drop()
        else:
            self.run.gradients.join()

    def optimizer_step(self, step: Callable[[], None]) -> None:
        """BEFORE_STEP: run the trainer's own step, unless the window holds a bad micro-batch or gradient."""
        self.settle(stepping=True)
        micro, self._pending = self._pending, None
        if micro is not None:
            self._good(micro)
        window, dropped = self.run.window, self.window_dropped
        self.run.window, self.window_dropped, self.norm, self.step_reached = [], 0, None, False
        if dropped and not window:
            self.run.recorder.steps_refused += 1
            remedies.skip_step(self.run.trainer)
            return
        if settings := () if self.distributed else self._bad_settings():
            self.run.recorder.steps_refused += 1
            self.good_this_epoch -= len(window)
            try:
                self.faults.refuse(settings, window, micro)
            finally:
                remedies.skip_step(self.run.trainer)
            return
        try:
            with remedies.rates(self.run.trainer, self.run.ladder.rate):
                self._held_back = False
                step()
                if self._held_back:  # a trainer of the user's own caught it
                    raise SkipStep
        except SkipStep:
            self.run.recorder.steps_refused += 1
            try:
                self._skipped(window, micro)  # an incident names the weights whose gradient is bad
            finally:
                remedies.skip_step(self.run.trainer)
            return
        self._stepped(micro)

    def _bad_settings(self) -> tuple[Setting, ...]:
        return self.run.groups.defects(self.run.trainer.optimizer, self.run.trainer.epoch + 1, self.run.steps + 1)

    def _skipped(self, window: list[tuple[Source, ...]], micro: MicroBatch | None) -> None:
        alarm, self._alarm = self._alarm, None
        files = tuple(source for sources in window for source in sources)
        if alarm is not None:
            fault = _diverging(Point.BEFORE_STEP, Check.DIVERGENCE, alarm, micro)
        else:
            says, values = "gradient norm {norm} with a finite loss", {"norm": self._norm_value}
            fault = Fault(Kind.NOT_FINITE, Point.BEFORE_STEP, (Check.GRADIENT,), says, values, micro)
        fault = replace(fault, sources=files, dropped=len(window))
        self._norm_value = None
        self.good_this_epoch -= len(window)
        self.faults.deal_with(fault)

    def _stepped(self, micro: MicroBatch | None) -> None:
        """AFTER_STEP: count the GradScaler's skips, and every so often look how far the weights moved."""
        if self.run.trainer.scaler.is_enabled():
            self._norm_to_read = self.norm
        if self.run.trainer.scaler.is_enabled() and not self.step_reached:
            self.run.recorder.scaler_skips += 1
            self.faults.scaler_skipped(micro)
            return
        self.run.steps += 1
        self.run.recorder.steps_taken += 1
        self.run.ladder.good_step(self._norm_value)
        every = self.run.settings.snapshot_every
        wary = self.run.recorder.rollbacks and self.run.steps % self.run.ladder.wary_steps == 0
        if every and (self.run.steps % every == 0 or wary or self.run.steps - self.run.began_at in EARLY):
            self._measure(micro, keep=self.run.steps % every == 0)

    def _measure(self, micro: MicroBatch | None, *, keep: bool) -> None:
        """Measure how far the weights moved since the last copy; if not too far, copy them.

        `keep`: as a regular copy, from which the next distance is measured; else as a late one.
        """
        self.run.module_state.find()
        changed, size, step = self.run.snapshots.moved()
        if not math.isfinite(changed):
            defect = first_not_finite(weights(self.run.model, self.run.by_design))
            says, values = (defect.says, defect.values) if defect else ("weights not finite", {})
            fault = Fault(Kind.POISONED, Point.AFTER_STEP, (Check.WEIGHTS,), says, values, micro, dropped=0)
            self.faults.deal_with(fault)
            return
        alarm = self.run.divergence.ratio(changed, size, self.run.steps - step)
        if alarm is not None and alarm.severe:
            self.faults.deal_with(replace(_diverging(Point.AFTER_STEP, Check.UPDATE_RATIO, alarm, micro), dropped=0))
            return
        (self.run.snapshots.take if keep else self.run.snapshots.take_late)(self.run.steps)

    def before_optimizer(self) -> None:
        """The optimizer's pre-hook: without a GradScaler, the gradient norm must be finite, and not explode.

        Raises:
            SkipStep: it is not.
        """
        self.step_reached = True
        if self.run.trainer.scaler.is_enabled():
            self._norm_value = None  # the scaler has looked at every gradient and does not call this on a bad one
            return
        if self.norm is None:
            self.norm = sensors.gradient_norm(list(self.run.model.parameters()))
        self._norm_value = sensors.host_values({"norm": self.norm})["norm"]
        self.run.recorder.step_log.norm(self._norm_value)
        alarm = self.run.divergence.step(self._norm_value) if math.isfinite(self._norm_value) else None
        severe = alarm is not None and alarm.severe
        self._held_back = severe or not math.isfinite(self._norm_value)
        if self._held_back:
            self._alarm = alarm if severe else None
            raise SkipStep
        if alarm is not None:
            self.faults.spike(alarm, None)

    def epoch_end(self) -> None:
        """EPOCH_END: weights, BatchNorm and EMA must be finite before validation sees them.

        Raises:
            GuardStop: they are not, and there is nothing to roll back to.
        """
        self.run.recorder.epoch_over(self.run.trainer.epoch + 1)
        late, self._norm_to_read = self._norm_to_read, None
        if late is not None:
            self.run.recorder.step_log.norm(sensors.host_values({batched_reads.NORM: late})[batched_reads.NORM])
        self.settle()
        self.faults.finite_state(Point.EPOCH_END)
        self.faults.ema_trap()
        if self.run.settings.snapshot_every and self.run.steps > self.run.snapshots.last_step:
            self.run.snapshots.take_late(self.run.steps)
        if self.run.ladder.lr_scale != 1.0:
            remedies.lower_reported_rates(self.run.trainer, self.run.ladder.lr_scale)

    def _look_at_pixels(self, values: Mapping[str, float], micro: MicroBatch) -> None:
        odd = sensors.pixel_range(values) if self.run.trainer.args.task != "classify" else None
        if odd and self._odd_pixels != self.run.trainer.epoch + 1:
            self._odd_pixels = self.run.trainer.epoch + 1
            files = sensors.sources(micro.batch)
            self.faults.note(Point.AFTER_LOSS, Check.PIXELS, *odd, Action(Did.REPORTED), files=files)


def _diverging(point: Point, check: Check, alarm: Alarm, micro: MicroBatch | None) -> Fault:
    return Fault(Kind.DIVERGING, point, (check,), alarm.says, alarm.values, micro)
