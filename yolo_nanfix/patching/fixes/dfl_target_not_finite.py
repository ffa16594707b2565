"""`DFLoss.__call__`, in releases up to 8.2.46 `BboxLoss._df_loss`, with targets that are valid indices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.precision import widened
from yolo_nanfix.numerics.targets import MARGIN, indexable
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import calling, difference, generator, samples

BINS = 16


@float32_wrapper
def dfl(wrapped: Any, instance: Any, pred_dist: Tensor, target: Tensor) -> Tensor:
    """A row with a non-finite target gets NaN as loss and gradient, so that it is not hidden."""
    bins = pred_dist.shape[-1]
    safe, finite = indexable(target, bins)
    tally.add("dfl-target-not-finite", ~finite)
    loss = wrapped(widened(pred_dist), safe)
    if instance is not None:  # DFLoss clamps the caller's tensor in place; the older static method does not
        target.clamp_(0, bins - 1 - MARGIN)
    result: Tensor = loss * torch.where(finite, 1.0, torch.nan)
    return result


def _probe(stock: Any, patched: Any) -> str | None:
    """Logits of 12 boxes, shape (48, 16)."""
    target = torch.rand(12, 4, generator=generator(9)) * (BINS - 1.02)
    instance = None
    if stock.__name__ == "__call__":
        instance = upstream.resolve("ultralytics.utils.loss:DFLoss").raw(BINS)
    logits = samples(lambda random: (torch.randn(48, BINS, generator=random),))
    return difference(stock, patched, calling(target, instance=instance), logits)


FIX = Fix(wrapper=dfl, probe=_probe)
