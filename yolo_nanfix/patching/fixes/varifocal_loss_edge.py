"""`VarifocalLoss.forward` in float32, on logits where its weight has a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.focal import varifocal_logits
from yolo_nanfix.numerics.precision import widened
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import calling, difference, generator, samples

GAMMA = 2.0
"""Upstream's default where the instance has none: up to 8.3.115, alpha and gamma are arguments of the call."""


@float32_wrapper
def forward(
    wrapped: Any, instance: Any, pred_score: Tensor, gt_score: Tensor, label: Tensor, *rest: Any, **options: Any
) -> Any:
    """Upstream's loss on `varifocal_logits`; `rest` is (alpha, gamma)."""
    gamma = options.get("gamma", rest[1] if len(rest) > 1 else getattr(instance, "gamma", GAMMA))
    logit, moved = varifocal_logits(pred_score, float(gamma))
    tally.add("varifocal-loss-edge", moved)
    return wrapped(logit, widened(gt_score), widened(label), *rest, **options)


def _probe(stock: Any, patched: Any) -> str | None:
    """Logits from -8 to 8, shape (2, 20, 4)."""
    random = generator(9)
    label = (torch.rand(2, 20, 4, generator=random) > 0.8).float()
    gt_score = torch.rand(2, 20, 4, generator=random) * label
    owner = upstream.resolve("ultralytics.utils.loss:VarifocalLoss").raw
    logits = samples(lambda random: (torch.rand(2, 20, 4, generator=random) * 16 - 8,))
    return difference(stock, patched, calling(gt_score, label, instance=owner()), logits)


FIX = Fix(wrapper=forward, probe=_probe)
