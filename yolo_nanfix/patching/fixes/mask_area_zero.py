"""`v8SegmentationLoss.single_mask_loss` with a positive divisor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.numerics.masks import positive_area
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper
from yolo_nanfix.patching.probe import difference, generator


def _wrapper(params: Params) -> Wrapper:
    min_area_px = float(params["min_area_px"])

    def single_mask_loss(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _call(wrapped, min_area_px, *args, **kwargs)

    return single_mask_loss


def _call(
    wrapped: Any, min_area_px: float, gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor
) -> Any:
    floored = positive_area(area, gt_mask.shape[-1] * gt_mask.shape[-2], min_area_px)
    tally.add("mask-area-zero", floored > area)
    return wrapped(gt_mask, pred, proto, xyxy, floored)


def _healthy() -> Iterator[tuple[Tensor, Tensor]]:
    """Mask coefficients, shape (4, 32), and prototypes, shape (32, 24, 24)."""
    for seed in range(3):
        random = generator(seed)
        yield torch.randn(4, 32, generator=random), torch.randn(32, 24, 24, generator=random)


def _probe(stock: Any, patched: Any) -> str | None:
    xyxy = torch.tensor([[2.0, 2, 10, 12], [0, 0, 24, 24], [5, 7, 6, 9], [20, 1, 23, 22]])
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(1) / 24**2
    gt_mask = (torch.rand(4, 24, 24, generator=generator(9)) > 0.5).float()

    def call(function: Any, tensors: Any) -> Tensor:
        result: Tensor = function(gt_mask, *tensors, xyxy, area)
        return result

    return difference(stock, patched, call, _healthy())


FIX = Fix(wrapper=_wrapper, probe=_probe)
