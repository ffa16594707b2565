"""`v8SegmentationLoss.single_mask_loss` with a positive divisor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.numerics.targets import positive_area
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import difference, generator, samples


@wrapper
def single_mask_loss(
    wrapped: Any, instance: Any, gt_mask: Tensor, pred: Any, proto: Any, xyxy: Any, area: Tensor, *, min_area_px: float
) -> Any:
    """Upstream's loss, divided by at least `min_area_px` mask pixels."""
    floored = positive_area(area, gt_mask.shape[-1] * gt_mask.shape[-2], float(min_area_px))
    tally.add("mask-area-zero", floored > area)
    return wrapped(gt_mask, pred, proto, xyxy, floored)


def _probe(stock: Any, patched: Any) -> str | None:
    """Mask coefficients, shape (4, 32), and prototypes, shape (32, 24, 24)."""
    xyxy = torch.tensor([[2.0, 2, 10, 12], [0, 0, 24, 24], [5, 7, 6, 9], [20, 1, 23, 22]])
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(1) / 24**2
    gt_mask = (torch.rand(4, 24, 24, generator=generator(9)) > 0.5).float()

    def call(function: Any, tensors: Any) -> Tensor:
        result: Tensor = function(gt_mask, *tensors, xyxy, area)
        return result

    inputs = samples(lambda random: (torch.randn(4, 32, generator=random), torch.randn(32, 24, 24, generator=random)))
    return difference(stock, patched, call, inputs)


FIX = Fix(wrapper=single_mask_loss, probe=_probe)
