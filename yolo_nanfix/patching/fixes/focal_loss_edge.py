"""`FocalLoss.forward` in float32, on logits where its modulating factor has a finite gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.focal import focal_logits
from yolo_nanfix.numerics.precision import widened
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import calling, difference, generator, samples

GAMMA = 1.5
"""Upstream's default where the instance has none: up to 8.3.115, gamma and alpha are arguments of the call."""


@float32_wrapper
def forward(wrapped: Any, instance: Any, pred: Tensor, label: Tensor, *rest: Any, **options: Any) -> Any:
    """Upstream's loss on `focal_logits`; `rest` is (gamma, alpha)."""
    gamma = options.get("gamma", rest[0] if rest else getattr(instance, "gamma", GAMMA))
    label = widened(label)
    logit, moved = focal_logits(pred, label, float(gamma))
    tally.add("focal-loss-edge", moved)
    return wrapped(logit, label, *rest, **options)


def _probe(stock: Any, patched: Any) -> str | None:
    """Logits from -8 to 8, shape (2, 20, 4)."""
    label = (torch.rand(2, 20, 4, generator=generator(9)) > 0.8).float()
    owner = upstream.resolve("ultralytics.utils.loss:FocalLoss").raw
    logits = samples(lambda random: (torch.rand(2, 20, 4, generator=random) * 16 - 8,))
    return difference(stock, patched, calling(label, instance=owner()), logits)


FIX = Fix(wrapper=forward, probe=_probe)
