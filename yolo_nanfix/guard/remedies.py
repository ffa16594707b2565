"""The only code of the guard that changes the trainer; each function says what it changed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.guard.sensors import NormBuffers


def drop_micro_batch(
    trainer: Any, loss: Tensor, norms: NormBuffers, saved: tuple[Tensor, Tensor], tloss: Any
) -> Tensor:
    """Undo what the forward pass of a bad micro-batch left behind and give back a loss without effect.

    BatchNorm buffers are restored bit for bit, the epoch's running mean of the loss forgets the batch, and the
    trainer's current loss becomes 0, so that upstream's own NaN recovery stays idle.

    Returns:
        A leaf of the loss's device and dtype; its `backward()` reaches no weight, so gradients that earlier
        micro-batches of the window accumulated stay as they are.
    """
    norms.restore(saved)
    trainer.tloss = tloss if tloss is not None else _not_a_number(trainer.tloss)
    neutral = torch.zeros_like(loss.detach(), requires_grad=True)
    trainer.loss = neutral.detach()
    return neutral


def _not_a_number(items: Any) -> Any:
    """Loss terms of an epoch that has had no good micro-batch yet: NaN, for there is no number to report."""
    if isinstance(items, Mapping):
        return {k: torch.full_like(v, float("nan")) for k, v in items.items()}
    return torch.full_like(items, float("nan")) if isinstance(items, Tensor) else items


def skip_step(trainer: Any) -> None:
    """Forget the gradients of a window; optimizer, scaler and EMA are not called, so they stay as they were."""
    trainer.optimizer.zero_grad()


@contextmanager
def interrupt_later() -> Iterator[None]:
    """Hold Ctrl-C back while a checkpoint is being written, then let it through."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *received: waiting.append(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting and callable(before):
            before(*waiting[0])
