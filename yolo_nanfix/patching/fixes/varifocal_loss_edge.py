"""`VarifocalLoss.forward` in float32, on logits where its weight has a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.bounds import widened
from yolo_nanfix.numerics.focal import varifocal_logits
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper
from yolo_nanfix.patching.probe import difference, generator

GAMMA = 2.0
"""Upstream's default where the instance has none: up to 8.3.115, alpha and gamma are arguments of the call."""


def _wrapper(params: Params) -> Wrapper:
    def forward(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _call(wrapped, instance, *args, **kwargs)

    return forward


def _call(
    wrapped: Any, instance: Any, pred_score: Tensor, gt_score: Tensor, label: Tensor, *rest: Any, **options: Any
) -> Any:
    """`rest` is (alpha, gamma)."""
    gamma = options.get("gamma", rest[1] if len(rest) > 1 else getattr(instance, "gamma", GAMMA))
    with torch.autocast(pred_score.device.type, enabled=False):
        logit, moved = varifocal_logits(pred_score, float(gamma))
        tally.add("varifocal-loss-edge", moved)
        return wrapped(logit, widened(gt_score), widened(label), *rest, **options)


def _healthy() -> Iterator[tuple[Tensor]]:
    """Logits from -8 to 8, shape (2, 20, 4)."""
    for seed in range(3):
        yield (torch.rand(2, 20, 4, generator=generator(seed)) * 16 - 8,)


def _probe(stock: Any, patched: Any) -> str | None:
    random = generator(9)
    label = (torch.rand(2, 20, 4, generator=random) > 0.8).float()
    gt_score = torch.rand(2, 20, 4, generator=random) * label
    owner = upstream.resolve("ultralytics.utils.loss:VarifocalLoss").raw

    def call(function: Any, tensors: Any) -> Tensor:
        bound = function.__get__(owner(), owner) if "self" in function.__code__.co_varnames else function
        result: Tensor = bound(*tensors, gt_score, label)
        return result

    return difference(stock, patched, call, _healthy())


FIX = Fix(wrapper=_wrapper, probe=_probe)
