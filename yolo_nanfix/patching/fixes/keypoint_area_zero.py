"""`KeypointLoss.forward` in float32, with divisors that are not 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.bounds import bounded
from yolo_nanfix.numerics.keypoint_loss import COORDINATE_LIMIT, any_half, area_not_negative, positive_sigmas
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper
from yolo_nanfix.patching.probe import difference, generator


def _wrapper(params: Params) -> Wrapper:
    def forward(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _call(wrapped, instance, *args, **kwargs)

    return forward


def _call(wrapped: Any, instance: Any, pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor) -> Any:
    """Upstream's function reads the constants from its instance, so they are swapped there for the call."""
    stock = instance.sigmas
    with torch.autocast(pred_kpts.device.type, enabled=False):
        sigmas, short = positive_sigmas(stock)
        area, small = area_not_negative(area, any_half(pred_kpts, gt_kpts))
        pred_kpts, far = bounded(pred_kpts, COORDINATE_LIMIT)
        gt_kpts, away = bounded(gt_kpts, COORDINATE_LIMIT)
        for moved in (short, small, far, away):
            tally.add("keypoint-area-zero", moved)
        instance.sigmas = sigmas
        try:
            return wrapped(pred_kpts, gt_kpts, kpt_mask, area)
        finally:
            instance.sigmas = stock


def _healthy() -> Iterator[tuple[Tensor]]:
    """Predicted keypoints, shape (16, 5, 3), in grid cells."""
    for seed in range(3):
        yield (torch.rand(16, 5, 3, generator=generator(seed)) * 20,)


def _probe(stock: Any, patched: Any) -> str | None:
    random = generator(9)
    gt_kpts, area = torch.rand(16, 5, 3, generator=random) * 20, torch.rand(16, 1, generator=random) * 300 + 1
    kpt_mask = torch.rand(16, 5, generator=random) > 0.3
    owner = upstream.resolve("ultralytics.utils.loss:KeypointLoss").raw
    instance = owner(sigmas=torch.full((5,), 0.1))

    def call(function: Any, tensors: Any) -> Tensor:
        result: Tensor = function.__get__(instance, owner)(*tensors, gt_kpts, kpt_mask, area)
        return result

    return difference(stock, patched, call, _healthy())


FIX = Fix(wrapper=_wrapper, probe=_probe)
