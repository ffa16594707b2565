"""`KeypointLoss.forward` in float32, with divisors that are not 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.keypoint_loss import COORDINATE_LIMIT, area_not_negative, positive_sigmas
from yolo_nanfix.numerics.precision import HALF, bounded
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import calling, difference, generator, samples


@float32_wrapper
def forward(wrapped: Any, instance: Any, pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor) -> Any:
    """Upstream's loss; it reads the sigmas from its instance, where they are replaced during the call."""
    stock = instance.sigmas
    sigmas, short = positive_sigmas(stock)
    area, small = area_not_negative(area, pred_kpts.dtype in HALF or gt_kpts.dtype in HALF)
    pred_kpts, far = bounded(pred_kpts, COORDINATE_LIMIT)
    gt_kpts, away = bounded(gt_kpts, COORDINATE_LIMIT)
    for moved in (short, small, far, away):
        tally.add("keypoint-area-zero", moved)
    instance.sigmas = sigmas
    try:
        return wrapped(pred_kpts, gt_kpts, kpt_mask, area)
    finally:
        instance.sigmas = stock


def _probe(stock: Any, patched: Any) -> str | None:
    """Predicted keypoints, shape (16, 5, 3), in grid cells."""
    random = generator(9)
    gt_kpts, area = torch.rand(16, 5, 3, generator=random) * 20, torch.rand(16, 1, generator=random) * 300 + 1
    kpt_mask = torch.rand(16, 5, generator=random) > 0.3
    instance = upstream.resolve("ultralytics.utils.loss:KeypointLoss").raw(sigmas=torch.full((5,), 0.1))
    keypoints = samples(lambda random: (torch.rand(16, 5, 3, generator=random) * 20,))
    return difference(stock, patched, calling(gt_kpts, kpt_mask, area, instance=instance), keypoints)


FIX = Fix(wrapper=forward, probe=_probe)
