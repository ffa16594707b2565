"""`DFLoss.__call__`, in releases up to 8.2.46 `BboxLoss._df_loss`, with targets that can be indices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.bounds import widened
from yolo_nanfix.numerics.dfl import MARGIN, indexable
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper
from yolo_nanfix.patching.probe import difference, generator

BINS = 16


def _wrapper(params: Params) -> Wrapper:
    def dfl(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _call(wrapped, instance, *args, **kwargs)

    return dfl


def _call(wrapped: Any, instance: Any, pred_dist: Tensor, target: Tensor) -> Tensor:
    """A row with a target that is not finite has NaN as loss and as gradient, so that it cannot pass unseen."""
    bins = pred_dist.shape[-1]
    safe, finite = indexable(target, bins)
    tally.add("dfl-target-not-finite", ~finite)
    with torch.autocast(pred_dist.device.type, enabled=False):
        loss = wrapped(widened(pred_dist), safe)
    if instance is not None:  # DFLoss limits the caller's tensor in place; the static method before it did not
        target.clamp_(0, bins - 1 - MARGIN)
    result: Tensor = loss * torch.where(finite, 1.0, torch.nan)
    return result


def _healthy() -> Iterator[tuple[Tensor]]:
    """Logits of 12 boxes, shape (48, 16)."""
    for seed in range(3):
        yield (torch.randn(48, BINS, generator=generator(seed)),)


def _probe(stock: Any, patched: Any) -> str | None:
    target = torch.rand(12, 4, generator=generator(9)) * (BINS - 1.02)
    owner = None
    if stock.__name__ == "__call__":
        owner = upstream.resolve("ultralytics.utils.loss:DFLoss").raw
    instance = owner and owner(BINS)

    def call(function: Any, tensors: Any) -> Tensor:
        bound = function.__get__(instance, owner) if instance else function
        result: Tensor = bound(*tensors, target.clone())
        return result

    return difference(stock, patched, call, _healthy())


FIX = Fix(wrapper=_wrapper, probe=_probe)
