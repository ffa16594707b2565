"""The only code of the guard that changes the trainer, its optimizer, scaler, models and their state.

Except that `adapter` wraps methods when a run is set up, `head_outputs` wraps the loss, `gradients` keeps the gradients
of micro-batches apart, and `validation` corrects sums of a validator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix.events import Action, Did
from yolo_nanfix.guard.module_state import ModuleState, NormBuffers, NormCopy
from yolo_nanfix.guard.snapshots import Snapshots, parameters
from yolo_nanfix.numerics.finite import unwrapped
from yolo_nanfix.upstream import release, version

BF16_SINCE = (8, 4, 129)
"""The first release whose `amp` may be "bf16"."""


def without_effect(trainer: Any, loss: Tensor, tloss: Any) -> Tensor:
    """A loss without effect in place of a bad one.

    The epoch's running mean of the loss is reset to before the batch, and the trainer's current loss becomes 0, so that
    upstream's own NaN recovery does nothing.

    Returns:
        A leaf of the loss's device and dtype; its `backward()` reaches no weight, so gradients that earlier
        micro-batches of the window accumulated stay as they are.
    """
    forget_loss(trainer, loss, tloss)
    return torch.zeros_like(loss.detach(), requires_grad=True)


def forget_loss(trainer: Any, loss: Tensor, tloss: Any) -> None:
    """Restore the epoch's running mean of the loss, and set the trainer's current loss to 0."""
    set_running_loss(trainer, tloss if tloss is not None else _not_a_number(trainer.tloss))
    trainer.loss = torch.zeros_like(loss.detach())


def set_running_loss(trainer: Any, tloss: Any) -> None:
    """Set the epoch's running mean of the loss; with None it starts with the next micro-batch."""
    trainer.tloss = tloss


def lower_reported_rates(trainer: Any, factor: float) -> None:
    """Multiply the learning rates that the trainer writes to results.csv."""
    trainer.lr = {name: rate * factor for name, rate in trainer.lr.items()}


@contextmanager
def rates(trainer: Any, factor: float) -> Iterator[None]:
    """Multiply the learning rates for one step; the trainer's own schedule goes on underneath."""
    groups = trainer.optimizer.param_groups if factor != 1.0 else []
    before = [group["lr"] for group in groups]
    for group in groups:
        group["lr"] = group["lr"] * factor
    try:
        yield
    finally:
        for group, rate in zip(groups, before, strict=True):
            group["lr"] = rate


@torch.no_grad()
def roll_back(snapshots: Snapshots, *, older: bool = False) -> int:
    """Restore the newest clean copy in place, drop all others, and return its step.

    `older`: take the older of the regular ones, for damage that may have begun before the newer ones.
    """
    trainer, copy = snapshots.trainer, snapshots.chosen(older=older)
    if trainer.ema:
        trainer.ema.updates = copy.scalars["ema.updates"]
    optimizer = trainer.optimizer
    for i, parameter in enumerate(parameters(optimizer)):
        state = optimizer.state.get(parameter, {})
        if any(isinstance(t, Tensor) and f"optimizer.{i}.{k}" not in copy.tensors for k, t in state.items()):
            del optimizer.state[parameter]  # begun after the copy was taken
    for name, tensor in snapshots.live().items():
        if name in copy.tensors:  # a GradScaler makes its tensors with the first step
            _put(tensor, copy.tensors[name], resize=name not in copy.scalars["parameters"])
    for parameter, saved in zip(parameters(optimizer), copy.scalars["optimizer"], strict=False):
        if parameter in optimizer.state:
            optimizer.state[parameter].update(saved)
    snapshots.copies, snapshots.late = [copy], None
    return copy.step


def _put(tensor: Tensor, values: Tensor, *, resize: bool) -> None:
    """Write values in place; a tensor that cannot be written to (expanded, of inference mode) was not changed."""
    with suppress(RuntimeError):
        if tensor.shape != values.shape:
            if not resize:
                return  # another parameter by now
            tensor.resize_(values.shape)  # an observer had seen nothing yet
        tensor.copy_(values, non_blocking=True)


def _not_a_number(items: Any) -> Any:
    """Loss terms of an epoch that has had only bad micro-batches so far: NaN, for there is no number to report."""
    if isinstance(items, Mapping):
        return {k: torch.full_like(v, float("nan")) for k, v in items.items()}
    return torch.full_like(items, float("nan")) if isinstance(items, Tensor) else items


def skip_step(trainer: Any) -> None:
    """Clear the gradients of a window; optimizer, scaler and EMA are not called, so they do not change."""
    trainer.optimizer.zero_grad()


def put_back(norms: NormBuffers, others: ModuleState, saved: NormCopy, snapshots: Snapshots) -> tuple[Action, ...]:
    """Restore statistics and other state as before the forward pass; from a snapshot where that was non-finite."""
    copies = [copy.weights() for copy in snapshots.newest_first()]
    healed = others.restore(copies)
    more = (Action(Did.STATE_FROM_SNAPSHOT, names=tuple(healed)),) if healed else ()
    norms.restore(saved)
    if bool(norms.sum().isfinite()):
        return Action(Did.BATCHNORM_RESTORED), *more
    if not copies:
        return Action(Did.BATCHNORM_LEFT), *more
    norms_from_snapshot(norms, snapshots)
    return Action(Did.BATCHNORM_FROM_SNAPSHOT), *more


def norms_from_snapshot(norms: NormBuffers, snapshots: Snapshots) -> None:
    """Restore BatchNorm statistics from the newest snapshot."""
    norms.restore_from(snapshots.newest_first()[0].weights())


def resync_ema(trainer: Any, leave: Collection[str] = ()) -> int:
    """Copy the model's tensors over those of the EMA that are not finite, but for buffers `leave`; return how many.

    Upstream does the same when it saves (from 8.4.84 on); here validation already sees a healthy average.
    """
    model = unwrapped(trainer.model).state_dict()
    copied = 0
    for name, tensor in trainer.ema.ema.state_dict().items():
        if not tensor.is_floating_point() or name not in model or name in leave or bool(tensor.isfinite().all()):
            continue
        if bool(model[name].isfinite().all()):
            tensor.copy_(model[name])
            copied += 1
    return copied


def leave_float16(trainer: Any) -> str:
    """Compute in bfloat16 where device and release can, else in float32, from the next micro-batch on.

    Returns:
        The precision that the run has now.
    """
    unscale = 1 / trainer.scaler.get_scale()  # a power of two: what the window has so far keeps every bit
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad.mul_(unscale)
    trainer.scaler._enabled = False
    known = release(version()) >= BF16_SINCE
    if known and trainer.device.type == "cuda" and torch.cuda.is_bf16_supported():
        trainer.args.amp, trainer.amp = "bf16", True
        return "bfloat16"
    trainer.args.amp, trainer.amp = False, False
    return "float32"


def reset_channels(mean: Tensor, var: Tensor, bad: Tensor) -> None:
    """Set BatchNorm channels to mean 0 and variance 1, as in a new layer."""
    mean[bad], var[bad] = 0.0, 1.0


def reset_optimizer(optimizer: torch.optim.Optimizer, of: Iterable[Tensor]) -> None:
    """Set the state of parameters to 0: the optimizer begins it again."""
    for parameter in of:
        for key, value in optimizer.state[parameter].items():
            if isinstance(value, Tensor) and value.dim():
                optimizer.state[parameter][key] = torch.zeros_like(value)


def reset_scale(scaler: Any, scale: float) -> None:
    """Set the scale of a GradScaler."""
    scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": 0})


def reset_weights(models: Sequence[nn.Module], names: Sequence[str], new: Mapping[str, Tensor]) -> None:
    """Give named tensors of models the values of a state_dict."""
    for model in models:
        state = model.state_dict()
        for name in names:
            state[name].copy_(new[name])
