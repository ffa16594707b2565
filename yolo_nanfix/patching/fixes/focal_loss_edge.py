"""`FocalLoss.forward` in float32, on logits where its modulating factor has a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.bounds import widened
from yolo_nanfix.numerics.focal import focal_logits
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper
from yolo_nanfix.patching.probe import difference, generator

GAMMA = 1.5
"""Upstream's default where the instance has none: up to 8.3.115, gamma and alpha are arguments of the call."""


def _wrapper(params: Params) -> Wrapper:
    def forward(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _call(wrapped, instance, *args, **kwargs)

    return forward


def _call(wrapped: Any, instance: Any, pred: Tensor, label: Tensor, *rest: Any, **options: Any) -> Any:
    """`rest` is (gamma, alpha)."""
    gamma = options.get("gamma", rest[0] if rest else getattr(instance, "gamma", GAMMA))
    with torch.autocast(pred.device.type, enabled=False):
        label = widened(label)
        logit, moved = focal_logits(pred, label, float(gamma))
        tally.add("focal-loss-edge", moved)
        return wrapped(logit, label, *rest, **options)


def _healthy() -> Iterator[tuple[Tensor]]:
    """Logits from -8 to 8, shape (2, 20, 4)."""
    for seed in range(3):
        yield (torch.rand(2, 20, 4, generator=generator(seed)) * 16 - 8,)


def _probe(stock: Any, patched: Any) -> str | None:
    label = (torch.rand(2, 20, 4, generator=generator(9)) > 0.8).float()
    owner = upstream.resolve("ultralytics.utils.loss:FocalLoss").raw

    def call(function: Any, tensors: Any) -> Tensor:
        bound = function.__get__(owner(), owner) if "self" in function.__code__.co_varnames else function
        result: Tensor = bound(*tensors, label)
        return result

    return difference(stock, patched, call, _healthy())


FIX = Fix(wrapper=_wrapper, probe=_probe)
