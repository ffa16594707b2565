"""What follows a fault: it is undone, diagnosed, judged, recorded; where nothing helps, the run stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from yolo_nanfix import stopping, upstream
from yolo_nanfix.errors import GuardStop, PoisonedState, TooManyBadBatches
from yolo_nanfix.events import Action, Check, Did, Event, OnDisk, Point, Source
from yolo_nanfix.guard import checkpoints, distributed, incident_writer, param_groups, randomness, remedies, sensors
from yolo_nanfix.guard.divergence import Alarm
from yolo_nanfix.guard.fault import Fault, Kind, MicroBatch
from yolo_nanfix.guard.incident_writer import IncidentWriter, cause_of
from yolo_nanfix.guard.param_groups import Setting
from yolo_nanfix.guard.policy import Decision, Rung
from yolo_nanfix.guard.sample_checks import Rereading
from yolo_nanfix.guard.state import RunState
from yolo_nanfix.numerics.finite import StateDefect, first_not_finite, other_buffers, state_defect, weights
from yolo_nanfix.verdicts import Cause, Verdict

ALONE = frozenset({Cause.DATA, Cause.LABEL, Cause.NUMERICS})
"""Causes that lie in single images, so that the images of the verdict are offenders."""


class Faults:
    """Deals with the faults of one run, which `Guard`, `Intake` and `ValidationGuard` find."""

    def __init__(self, run: RunState, incidents: IncidentWriter) -> None:
        self.run, self.incidents = run, incidents
        self.rereading = Rereading(getattr(getattr(run.trainer, "train_loader", None), "dataset", None))
        self._reread: tuple[Any, tuple[Source, ...]] = (None, ())

    def note(
        self,
        point: Point,
        check: Check,
        says: str,
        values: Mapping[str, Any],
        *actions: Action,
        files: tuple[Source, ...] = (),
        verdict: Verdict | None = None,
        val_batch: int = 0,
    ) -> None:
        """Record something that needs no decision; arguments as in `events.Event`, `files` are its sources."""
        event = replace(self.run.event(point, (check,), says, values, files), actions=actions, val_batch=val_batch)
        self._record(event, verdict, common=point is Point.START)  # all ranks start from the same state

    def spike(self, alarm: Alarm, micro: MicroBatch | None, *, common: bool = True) -> None:
        """An alarm that is not severe: counted, and nothing lost; gradients are clipped harder if it comes again.

        Of several ranks, one must not clip harder alone: `common` tells whether all of them have this alarm.
        """
        self.run.recorder.spikes += 1
        if not common:
            return
        fault = Fault(Kind.SPIKE, Point.AFTER_LOSS, (Check.DIVERGENCE,), alarm.says, alarm.values)
        if done := self.run.ladder.carry_out(self.run.ladder.judge(fault), self.run.steps):
            files = sensors.sources(micro.batch) if micro else ()
            self.note(Point.AFTER_LOSS, Check.DIVERGENCE, alarm.says, alarm.values, *done, files=files)

    def scaler_skipped(self, micro: MicroBatch | None) -> None:
        """The GradScaler skipped a step: its own business, until it does so over and over."""
        says = "the GradScaler skipped step after step, its scale has fallen to {scale:g}"
        fault = Fault(Kind.SCALER, Point.BEFORE_STEP, (Check.LOSS_SCALE,), says, float16=True)
        decision = self.run.ladder.judge(fault)
        if not decision.rungs:
            return
        event = self._event_of(replace(fault, values={"scale": self.run.trainer.scaler.get_scale()}))
        done = self.run.ladder.carry_out(decision, self.run.steps) or [Action(Did.STOPPED)]
        self._record(replace(event, actions=tuple(done)))
        if Rung.STOP in decision:
            self.stop(event.detail, None)

    def deal_with(self, fault: Fault, *, left_to_scaler: bool = False) -> bool:
        """Undo, diagnose, judge and carry out; among several ranks all take the same decision.

        `left_to_scaler`: leave a gradient that no rank has an explanation for to the GradScaler. Returns whether the
        micro-batch is dropped.

        Raises:
            GuardStop: the policy stops the run.
        """
        run = self.run
        fault = replace(fault, rank=distributed.rank(), sources=self._sources(fault))
        if fault.rank < 0:
            fault = replace(fault, kind=fault.kind or Kind.NOT_FINITE)
        explained = any(one.kind is not None for one in distributed.agree(replace(fault, verdict=None)))
        if left_to_scaler and not explained:
            return False
        undone: tuple[Action, ...] = ()
        if fault.micro is not None and fault.point is not Point.AFTER_STEP:
            undone = remedies.put_back(run.norms, run.module_state, fault.micro.buffers, run.snapshots)
            if fault.point is not Point.AFTER_LOSS:
                before = run.trainer.tloss if fault.micro.tloss is None else fault.micro.tloss
                remedies.set_running_loss(run.trainer, before)
        verdict = self._verdict(fault, beside=fault.kind is None and explained)
        mine = replace(fault, verdict=verdict, incident=self.incidents.written)
        faults = distributed.at_fault(distributed.agree(mine))
        worst = self._worst(faults)
        decision = self._with_proposed_rate(run.ladder.judge(worst), worst.verdict)
        done = run.ladder.carry_out(decision, run.steps, older=worst.kind is Kind.DIVERGING)
        if Rung.ROLLBACK in decision:
            run.forget_window()
        lost = [Action(Did.DROPPED, count=fault.dropped)] if fault.dropped else []
        stopped = [Action(Did.STOPPED)] if Rung.STOP in decision else []
        event = distributed.merged(self._event_of(faults[0]), faults)
        event = replace(event, actions=(*lost, *undone, *done, *stopped))
        for other in faults:
            run.recorder.learn(other.verdict)
        self._record(event, worst.verdict, fault.micro, common=True)
        if Rung.STOP in decision:
            self._stop_for(worst, event.detail)
        return True

    def refuse(self, settings: tuple[Setting, ...], window: list[tuple[Source, ...]], micro: MicroBatch | None) -> None:
        """Do not take a step whose settings would make all weights NaN.

        Raises:
            GuardStop: as many in a row were refused as may be bad micro-batches in a row.
        """
        run = self.run
        facts, files = param_groups.facts(settings), tuple(source for sources in window for source in sources)
        checks = (Check.SETTINGS,)
        fault = Fault(Kind.NOT_FINITE, Point.BEFORE_STEP, checks, *facts, micro, files, len(window), settings=settings)
        if micro is not None:
            remedies.put_back(run.norms, run.module_state, micro.buffers, run.snapshots)
        verdict = self._verdict(fault)
        done = Action(Did.REFUSED_STEP), Action(Did.DROPPED, count=len(window))
        event = replace(self._event_of(replace(fault, incident=self.incidents.written)), actions=done)
        self._record(event, verdict)
        if run.groups.refused_in_a_row >= run.settings.max_bad_in_a_row:
            self.stop(f"{run.groups.refused_in_a_row} steps in a row refused: {event.detail}", verdict)

    def finite_state(self, point: Point) -> None:
        """Check that weights are finite, else roll back; repair BatchNorm and EMA where they are not finite.

        Raises:
            GuardStop: there is nothing to roll back to.
        """
        run = self.run
        alone = point is Point.SAVE and distributed.running()  # rank 0 saves alone; the others learn it with a batch
        if not alone and (defect := state_defect(run.parameters())):
            self.deal_with(Fault(Kind.POISONED, point, (Check.WEIGHTS,), defect.says, defect.values, dropped=0))
        if (defect := first_not_finite(run.norms.tensors())) and len(run.snapshots):
            remedies.norms_from_snapshot(run.norms, run.snapshots)
            done = Action(Did.BATCHNORM_FROM_SNAPSHOT)
            self.note(point, Check.BATCHNORM, defect.says, defect.values, done)
        ema = run.trainer.ema
        defect = self._ema_defect(ema.ema) if ema else None
        if defect and (count := remedies.resync_ema(run.trainer, run.module_state.born_non_finite)):
            self.note(point, Check.EMA, defect.says, defect.values, Action(Did.EMA_COPIED, count=count))

    def _ema_defect(self, ema: nn.Module) -> StateDefect | None:
        """The first tensor of the average that is not finite, except for buffers that are so by design."""
        born = self.run.module_state.born_non_finite
        others = [(name, tensor) for name, tensor in other_buffers(ema) if name not in born]
        return first_not_finite([*weights(ema, self.run.by_design), *others])

    def ema_trap(self) -> None:
        """Say once where Ultralytics' average makes NaN of buffers that are infinite by design."""
        recorder, ema = self.run.recorder, self.run.trainer.ema
        born = self.run.module_state.born_non_finite
        if not ema or not born or recorder.ema_nan:
            return
        state = ema.ema.state_dict()
        recorder.ema_nan = [name for name in born if name in state and bool(state[name].isnan().any())]
        if recorder.ema_nan:
            upstream.log(
                f"yolo-nanfix guard: Ultralytics' averaged model (EMA) makes NaN of infinite values in buffers: "
                f"{', '.join(recorder.ema_nan)}. Training is not touched by it, but validation and checkpoints use the "
                "average. The way out: register_buffer(..., persistent=False), or a large finite number for the Inf"
            )

    def save(self, write: Callable[[], Any]) -> Any:
        """SAVE: let the trainer write its checkpoints; only finite and whole ones replace the old."""
        run = self.run
        self.finite_state(Point.SAVE)
        models = [("weights", run.model), *([("ema", run.trainer.ema.ema)] if run.trainer.ema else [])]
        for what, model in models:
            if defect := state_defect(weights(model, run.by_design)):
                says, values = "{model}: " + defect.says, {"model": what, **defect.values}
                self.note(Point.SAVE, Check.CHECKPOINT, says, values, Action(Did.CHECKPOINT_NOT_WRITTEN))
                return False
        with stopping.later():
            result, torn = checkpoints.whole(run.trainer, write)
        for name, reason in torn:
            done = Action(Did.CHECKPOINT_NOT_REPLACED)
            self.note(Point.SAVE, Check.CHECKPOINT, "{file}: {reason}", {"file": name, "reason": reason}, done)
        return result

    def stop(self, reason: str, verdict: Verdict | None, error: type[GuardStop] = TooManyBadBatches) -> None:
        """Stop the run with a clean checkpoint in place: the last one, or the present state if there is none."""
        run, trainer = self.run, self.run.trainer
        if trainer.args.save and not trainer.last.exists() and distributed.rank() < 1:
            trainer.save_model()
        kept = f"the last clean checkpoint is {trainer.last}" if trainer.last.exists() else "no checkpoint was clean"
        why = f"; verdict: {verdict.summary}" if verdict else ""
        where = f"epoch {self.run.epoch}, batch {run.batches_this_epoch}"
        raise error(f"training stopped in {where}: {reason}{why}; {kept}")

    def _stop_for(self, fault: Fault, detail: str) -> None:
        run = self.run
        bad = run.ladder.standing.bad_in_a_row
        if fault.kind in (Kind.NOT_FINITE, Kind.EMPTY) and bad >= run.settings.max_bad_in_a_row:
            self.stop(f"{bad} bad micro-batches in a row (the last: {detail})", fault.verdict)
        what = "rolling back did not help" if run.ladder.standing.rollbacks else "there is nothing to roll back to"
        damaged = fault.kind is Kind.POISONED or fault.cause is Cause.STATE
        self.stop(f"{detail}; {what}", fault.verdict, PoisonedState if damaged else TooManyBadBatches)

    def _with_proposed_rate(self, decision: Decision, verdict: Verdict | None) -> Decision:
        """Where a range test proposed a lower learning rate than the ladder's next one, take that."""
        now = incident_writer.base_rate(self.run.trainer.optimizer) * self.run.ladder.lr_scale
        if Rung.LOWER_LR not in decision or verdict is None or not verdict.lr0 or not now > 0:
            return decision
        return replace(decision, lr_factor=min(decision.lr_factor, verdict.lr0 / now))

    def _verdict(self, fault: Fault, *, beside: bool = False) -> Verdict | None:
        """The cause of a fault. `beside`: another rank met it; this one did, too, if its replay explains it."""
        if fault.verdict is not None or fault.kind is Kind.EMPTY:
            self.incidents.written = ""
            return fault.verdict
        with randomness.untouched():  # a replay runs the user's own code, too
            return self.incidents.look_into(self.run, self._event_of(fault), fault, beside=beside)

    def _worst(self, faults: list[Fault]) -> Fault:
        """The worst of several ranks' faults, as the policy judges it, with the suspects of the others."""
        judged = [self._judged(fault) for fault in faults]
        worst = max(judged, key=lambda one: (_weight(one), -one.rank))
        others = dict.fromkeys(image for one in judged if one is not worst for image in one.suspects)
        return replace(worst, others=tuple(image for image in others if image not in worst.suspects))

    def _judged(self, fault: Fault) -> Fault:
        """The fault with what the policy asks for: the same on every rank."""
        verdict, trainer = fault.verdict, self.run.trainer
        suspects = tuple(dict.fromkeys(file for s in fault.sources for file in s.blamed))
        if not suspects and verdict and verdict.cause in ALONE:
            innocent = {s.file for s in fault.sources if s.on_disk in (OnDisk.FINITE, OnDisk.UNREADABLE)}
            suspects = tuple(image for image in verdict.images if image not in innocent)
        damaged = not suspects and cause_of(verdict) is not Cause.DATA and first_not_finite(self.run.parameters())
        return replace(
            fault,
            kind=fault.kind or Kind.NOT_FINITE,
            cause=Cause.STATE if damaged else self._cause(verdict),
            suspects=suspects,
            float16=trainer.scaler.is_enabled() or bool(trainer.amp),
            can_roll_back=len(self.run.snapshots) > 0,
        )

    def _cause(self, verdict: Verdict | None) -> Cause | None:
        """The cause; bad state outside of weights counts as `DEFINITION`, for a rollback does not restore it."""
        rolled_back = dict(weights(self.run.model))
        named = verdict is not None and bool(verdict.tensor) and not verdict.tensor.startswith("optimizer.")
        if verdict is not None and verdict.cause is Cause.STATE and named and verdict.tensor not in rolled_back:
            return Cause.DEFINITION
        return cause_of(verdict)

    def _event_of(self, fault: Fault) -> Event:
        event = self.run.event(fault.point, fault.checks, fault.says, fault.values, self._sources(fault))
        return replace(event, incident=fault.incident)

    def _sources(self, fault: Fault) -> tuple[Source, ...]:
        """The images of a fault; the files of suspect ones of its micro-batch are read again, once."""
        if fault.sources or fault.micro is None:
            return fault.sources
        if self._reread[0] is not fault.micro.batch:
            batch = fault.micro.batch
            self._reread = batch, self.rereading.judged(sensors.sources(batch))
        return self._reread[1]

    def _record(
        self,
        event: Event,
        verdict: Verdict | None = None,
        micro: MicroBatch | None = None,
        *,
        common: bool = False,
    ) -> None:
        """Record an event; `common`: all ranks do, else rank 0 receives it with the notes of this rank."""
        if not common and distributed.running():
            event = replace(event, ranks=(distributed.part_of(event, distributed.rank(), verdict),))
            self.run.lookout.notes.add(event, verdict)
        suspects = [s.file for s in event.sources if s.suspect] or list(verdict.images if verdict else ())
        batch = micro.batch if micro is not None else {}
        self.run.recorder.add(event, verdict)
        self.run.listener.event(event, lambda: sensors.pictures(batch, suspects))


def _weight(fault: Fault) -> tuple[int, bool]:
    kinds = (Kind.EMPTY, Kind.NOT_FINITE, Kind.DIVERGING, Kind.POISONED)
    return kinds.index(fault.kind or Kind.NOT_FINITE), not fault.suspects
