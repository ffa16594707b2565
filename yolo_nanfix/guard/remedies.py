"""The only code of the guard that changes the trainer; each function says what it changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.events import Action, Did
from yolo_nanfix.guard.module_state import ModuleState
from yolo_nanfix.guard.sensors import NormBuffers, NormCopy
from yolo_nanfix.guard.snapshots import Snapshots, unwrapped
from yolo_nanfix.upstream import release, version

BF16_SINCE = (8, 4, 129)
"""The first release whose `amp` may be "bf16"."""


def without_effect(trainer: Any, loss: Tensor, tloss: Any) -> Tensor:
    """A loss without effect in place of a bad one.

    The epoch's running mean of the loss forgets the batch, and the trainer's current loss becomes 0, so that
    upstream's own NaN recovery stays idle.

    Returns:
        A leaf of the loss's device and dtype; its `backward()` reaches no weight, so gradients that earlier
        micro-batches of the window accumulated stay as they are.
    """
    forget_loss(trainer, loss, tloss)
    return torch.zeros_like(loss.detach(), requires_grad=True)


def forget_loss(trainer: Any, loss: Tensor, tloss: Any) -> None:
    """Put the epoch's running mean back to what it was, and the trainer's current loss to 0."""
    trainer.tloss = tloss if tloss is not None else _not_a_number(trainer.tloss)
    trainer.loss = torch.zeros_like(loss.detach())


def _not_a_number(items: Any) -> Any:
    """Loss terms of an epoch that has had no good micro-batch yet: NaN, for there is no number to report."""
    if isinstance(items, Mapping):
        return {k: torch.full_like(v, float("nan")) for k, v in items.items()}
    return torch.full_like(items, float("nan")) if isinstance(items, Tensor) else items


def skip_step(trainer: Any) -> None:
    """Forget the gradients of a window; optimizer, scaler and EMA are not called, so they stay as they were."""
    trainer.optimizer.zero_grad()


def put_back(norms: NormBuffers, others: ModuleState, saved: NormCopy, snapshots: Snapshots) -> tuple[Action, ...]:
    """Statistics and other state of modules as before the forward pass; what was poisoned then, from a snapshot."""
    copies = [copy.weights() for copy in snapshots.newest_first()]
    healed = others.restore(copies)
    more = (Action(Did.STATE_FROM_SNAPSHOT, names=tuple(healed)),) if healed else ()
    norms.restore(saved)
    if bool(norms.sum().isfinite()):
        return Action(Did.BATCHNORM_RESTORED), *more
    if not copies:
        return Action(Did.BATCHNORM_LEFT), *more
    norms.restore_from(copies[0])
    return Action(Did.BATCHNORM_FROM_SNAPSHOT), *more


def resync_ema(trainer: Any, leave: Collection[str] = ()) -> int:
    """Copy the model's tensors over those of the EMA that are not finite; say how many.

    Args:
        trainer: Ultralytics' trainer.
        leave: names of buffers that hold values which are not finite by design.

    Upstream does the same when it saves (from 8.4.84 on); here validation already sees a healthy average.
    """
    model = unwrapped(trainer.model).state_dict()
    mended = 0
    for name, tensor in trainer.ema.ema.state_dict().items():
        if not tensor.is_floating_point() or name not in model or name in leave or bool(tensor.isfinite().all()):
            continue
        if bool(model[name].isfinite().all()):
            tensor.copy_(model[name])
            mended += 1
    return mended


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
