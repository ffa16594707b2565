"""Connects the guard to Ultralytics' trainers: one wrapper on `BaseTrainer.__init__`, the rest on each trainer.

Wrapping the bound methods of an instance covers user subclasses that override them, and leaves the classes alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from typing import Any

from torch.utils.data import default_collate

from yolo_nanfix import clipping, stopping, upstream
from yolo_nanfix.errors import PatchRefused
from yolo_nanfix.guard import distributed, ownership, randomness, samples, snapshots, validation
from yolo_nanfix.guard.carry_over import CarryOver
from yolo_nanfix.guard.guard import Guard
from yolo_nanfix.guard.guard_settings import GuardSettings, InForce
from yolo_nanfix.guard.listener import Callbacks, Listener
from yolo_nanfix.guard.lookout import Lookout, lookout_of
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.overrides import unguarded_note, unguarded_warning

TRAINER = "ultralytics.engine.trainer:BaseTrainer"
NEEDED = ("preprocess_batch", "optimizer_step", "validate", "save_model", "run_callbacks", "_setup_train")

_undo: list[Callable[[], None]] = []
_in_force: list[InForce] = []
_refusals: list[str] = []


def install(force: InForce, callbacks: Callbacks) -> None:
    """Guard every trainer that is built from now on, or make it log that it is not guarded.

    A second call replaces the settings of the first.

    Raises:
        PatchRefused: the installed release's trainer lacks a method that the guard needs.
    """
    if force.settings is None and in_force() == force:
        return
    uninstall()
    if force.settings is None:
        with suppress(LookupError):
            _wrap_init(lambda trainer: _guard_or_announce(trainer, force, callbacks))
        _in_force.append(force)
        return
    try:
        target = upstream.resolve(f"{TRAINER}.__init__")
    except LookupError as error:
        raise _refused(f"ultralytics {upstream.version()} has no {TRAINER}: {error}") from error
    missing = [name for name in NEEDED if name not in vars(target.owner)]
    if missing:
        raise _refused(f"BaseTrainer of ultralytics {upstream.version()} has no {', '.join(missing)}")

    def build(trainer: Any) -> None:
        doubted = bool(force.doubtful) and callbacks.came_with(trainer, force.doubtful)
        settings = force.instead if doubted else force.settings
        assert settings is not None
        _enlist(trainer, settings, callbacks)

    _wrap_init(build)
    _watch_data()
    _in_force.append(force)


def _guard_or_announce(trainer: Any, force: InForce, callbacks: Callbacks) -> None:
    """Log that a trainer is not guarded, unless the file that switched the guard off came with its dataset."""
    if force.instead is not None and callbacks.came_with(trainer, force.doubtful):
        _watch_data()
        _enlist(trainer, force.instead, callbacks)
    elif not _launches(trainer) and not (distributed.launched() and int(os.environ["RANK"]) > 0):
        trainer.add_callback(
            "on_pretrain_routine_end", lambda _: upstream.log(f"yolo-nanfix: {unguarded_warning(force.off)}")
        )
        trainer.add_callback("teardown", lambda _: upstream.log(f"yolo-nanfix: {unguarded_note(force.off)}"))


def _wrap_init(build: Callable[[Any], None]) -> None:

    def built(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        wrapped(*args, **kwargs)
        build(instance)

    _undo.append(upstream.put_around(f"{TRAINER}.__init__", built))


def _watch_data() -> None:
    """Wrap the datasets, and the validators that run without a trainer."""
    _undo.append(samples.install())
    _undo.append(validation.install_lone())


def uninstall() -> None:
    """Build trainers without a guard again; trainers that have one keep it."""
    while _undo:
        _undo.pop()()
    _in_force.clear()
    _refusals.clear()


def refusal() -> str | None:
    """Why the guard was refused when it was last installed, or None."""
    return _refusals[-1] if _refusals else None


def _refused(reason: str) -> PatchRefused:
    _refusals.append(reason)
    return PatchRefused("guard", reason)


def installed() -> GuardSettings | None:
    """The settings in force, or None if no guard is installed."""
    return _in_force[-1].settings if _in_force else None


def in_force() -> InForce | None:
    """All that is in force; None where the guard was neither installed nor switched off."""
    return _in_force[-1] if _in_force else None


def _enlist(trainer: Any, settings: GuardSettings, callbacks: Callbacks) -> None:
    """Attach the guard once the trainer is set up, and see to it that the run's end is reported."""
    if _launches(trainer):
        return  # it only starts the processes that train; the guard is in each of them
    recorder, earlier = Recorder(), CarryOver(trainer)
    first = not distributed.launched() or int(os.environ["RANK"]) == 0
    listener = callbacks.listen(trainer, recorder) if first else Listener()  # rank 0 writes the report of all
    lookout = lookout_of(trainer, recorder, settings, listener)
    if hasattr(trainer, "_setup_ddp"):
        _around(trainer, "_setup_ddp", partial(_found_each_other, lookout))
    _around(trainer, "_setup_train", lambda call, *args, **kwargs: _set_up(trainer, call, *args, **kwargs))
    here = os.getpid()

    def once(action: Callable[[Any], object]) -> Callable[[Any], None]:
        """Only in this process: newer releases pickle a launcher's callbacks into the workers, which have their own."""

        def here_alone(t: Any) -> None:
            if os.getpid() == here and not _launches(t):
                action(t)

        return here_alone

    if not first:
        recorder.processes.stand_in = lambda: callbacks.listen(trainer, recorder).ends_instead()
    for name in ("_setup_train", "_build_train_pipeline"):
        if earlier.beforehand and hasattr(trainer, name):
            _around(trainer, name, earlier.load)
    trainer.add_callback(
        "on_pretrain_routine_end",
        once(lambda t: attach(t, settings, lookout, earlier, callbacks)),
    )
    trainer.add_callback("on_train_end", once(lambda t: setattr(recorder, "finished", True)))

    def in_flight() -> BaseException | None:
        return None if recorder.finished else sys.exc_info()[1]

    ends = once(lambda t: lookout.teardown(in_flight(), listener.ends))
    trainer.add_callback("teardown", ends)
    _around(trainer, "train", partial(_to_the_end, lambda: ends(trainer)))


def _to_the_end(end: Callable[[], None], train: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Train; older releases do not call `teardown` where training ends with an exception, or a signal interrupts it."""
    try:
        return train(*args, **kwargs)
    except BaseException:
        try:
            end()
        except KeyboardInterrupt:  # a signal as it began: only the first becomes an exception
            end()
            raise
        raise


def _found_each_other(lookout: Lookout, set_up: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = set_up(*args, **kwargs)
    lookout.start()
    return result


def _launches(trainer: Any) -> bool:
    several = getattr(trainer, "ddp", False) or getattr(trainer, "world_size", 0) > 1
    return bool(several) and not distributed.launched()


def attach(
    trainer: Any,
    settings: GuardSettings,
    lookout: Lookout | None = None,
    earlier: CarryOver | None = None,
    callbacks: Callbacks | None = None,
) -> Guard:
    """Put the guard on one trainer whose model, EMA, optimizer, scaler and loaders exist.

    By default with a new lookout, as a run that is not resumed, and without diagnosis.

    Raises:
        PoisonedState: the model holds NaN or Inf already.
    """
    lookout = lookout or lookout_of(trainer, Recorder(), settings, Listener())
    recorder, listener = lookout.recorder, lookout.listener
    earlier = earlier or CarryOver(trainer)
    earlier.take_up(recorder)
    listener.begins()
    with randomness.untouched():  # weights may be made anew
        guard = Guard(trainer, settings, lookout, callbacks or Callbacks())
    if not trainer.start_epoch and distributed.rank() < 1:
        recorder.start = snapshots.checksums(guard.run.model)
    earlier.in_force(guard.run.ladder)
    recorder.in_force = guard.run.ladder.lasting
    trainer.add_callback("on_train_epoch_start", lambda t: guard.epoch_start())
    trainer.add_callback("on_train_epoch_end", lambda t: guard.epoch_end())
    trainer.add_callback("on_train_epoch_end", lambda t: lookout.collect())
    trainer.add_callback("on_train_epoch_end", lambda t: listener.epoch_trained())
    trainer.add_callback("on_fit_epoch_end", lambda t: listener.epoch_done())
    _around(trainer, "preprocess_batch", lambda call, batch: _batch(guard, call(guard.before_batch(batch))))
    _around(trainer, "optimizer_step", partial(_step, guard))
    _around(trainer, "validate", partial(_validate, guard))
    if getattr(trainer, "validator", None) is not None:  # in older releases rank 0 alone has one
        trainer.add_callback("on_val_batch_start", guard.validation.batch_start)
        trainer.add_callback("on_val_batch_end", guard.validation.batch_end)
        _around_validation(guard, trainer.validator)
    _around(trainer, "save_model", partial(_save_model, guard))
    _around(trainer.scaler, "scale", lambda call, loss: call(guard.after_loss(loss)))
    _watch_optimizer(guard)
    trainer.callbacks["on_train_batch_end"].insert(0, lambda t: guard.settle())  # before callbacks look at gradients
    return guard


def _watch_optimizer(guard: Guard) -> None:
    """Look at the steps of the trainer's optimizer; callbacks may replace it by another one."""
    guard.optimizer = optimizer = guard.run.trainer.optimizer

    def cleared(clear: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        guard.run.gradients.kept = []  # who clears the gradients means those that are set aside, too
        clear(*args, **kwargs)

    def asked(step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        guard.before_optimizer()
        return step(*args, **kwargs)

    _around(optimizer, "zero_grad", cleared)
    try:
        optimizer.register_step_pre_hook(lambda *_: guard.before_optimizer())
    except AttributeError:  # optimizers that wrap others often lack what torch's own set up for hooks
        _around(optimizer, "step", asked)


def _around(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Shadow a bound method of one instance with `wrapper(bound, *args)`."""
    bound = getattr(owner, name)
    setattr(owner, name, wraps(bound)(lambda *args, **kwargs: wrapper(bound, *args, **kwargs)))


def _set_up(trainer: Any, set_up: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Wrap what builds datasets and loaders; a trainer that launches others, and is pickled, does not get here."""
    names = ownership.stock(trainer, "get_dataloader")  # then Ultralytics' own code puts the batches together
    for name, wrapper in (("build_dataset", partial(_built, names)), ("get_dataloader", _loader)):
        if hasattr(trainer, name):
            _around(trainer, name, wrapper)
    return set_up(*args, **kwargs)


def _built(names: bool, build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A dataset whose samples are watched from the start: older releases fork its workers at once.

    `names`: samples without a name may be given one.
    """
    with samples.building():
        dataset = build(*args, **kwargs)
    samples.watch(dataset, names=names)
    return dataset


def _loader(build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A loader whose dataset is watched also where it does not come from `build_dataset`."""
    with samples.building():
        loader = build(*args, **kwargs)
    samples.watch(getattr(loader, "dataset", None), names=getattr(loader, "collate_fn", None) is default_collate)
    return loader


def _batch(guard: Guard, batch: Any) -> Any:
    stopping.raise_if_stopped()
    if not guard.training:
        return batch
    batch = guard.intake.after(batch)
    guard.batch(batch)
    return batch


def _save_model(guard: Guard, write: Callable[[], Any]) -> Any:
    guard.run.listener.about_to_save()
    return guard.faults.save(write)


def _around_validation(guard: Guard, validator: Any) -> None:
    watch = guard.validation
    vars(validator)[validation.GUARDED] = True
    wrappers: dict[str, Callable[..., Any]] = {
        "preprocess": lambda call, batch: watch.preprocess(call, validator, batch),
        "postprocess": lambda call, raw: watch.postprocess(call, validator, raw),
        "update_metrics": watch.update_metrics,
    }
    if all(hasattr(validator, name) for name in wrappers):  # a validator of the user's own may be anything
        for name, wrapper in wrappers.items():
            _around(validator, name, wrapper)


def _step(guard: Guard, step: Callable[[], None]) -> None:
    """Run a step, and take the norm that `clip_grad_norm_` computes anyway."""

    def overheard(clip: clipping.Clip, parameters: Any, max_norm: float, *args: Any, **kwargs: Any) -> Any:
        guard.run.gradients.measure()
        guard.norm = clip(parameters, guard.run.ladder.clipped(max_norm), *args, **kwargs)
        return guard.norm

    if guard.run.trainer.optimizer is not guard.optimizer:
        _watch_optimizer(guard)
    with clipping.listen(overheard):
        guard.optimizer_step(step)


def _validate(guard: Guard, validate: Callable[[], Any]) -> Any:
    metrics, fitness = validate()
    return guard.validation.judge(metrics, fitness), fitness
