"""`RLELoss.forward` in float32, with a positive sigma."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.keypoint_loss import RLE_LIMIT, positive_sigma
from yolo_nanfix.numerics.precision import bounded
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import calling, difference, generator


@float32_wrapper
def forward(
    wrapped: Any, instance: Any, sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor | None = None
) -> Any:
    """Upstream's loss on a positive sigma and bounded errors."""
    floored, small = positive_sigma(sigma)
    log_phi, unlikely = bounded(log_phi, RLE_LIMIT)
    error, far = bounded(error, RLE_LIMIT)
    for moved in (small, unlikely, far):
        tally.add("rle-sigma-zero", moved)
    return wrapped(floored, log_phi, error, target_weight)


def _healthy() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Sigma in (0.05, 1), log_phi and error of 32 keypoints."""
    for seed in range(3):
        random = generator(seed)
        sigma = torch.rand(32, 2, generator=random) * 0.95 + 0.05
        yield sigma, torch.randn(32, generator=random), torch.randn(32, 2, generator=random) * 5


def _probe(stock: Any, patched: Any) -> str | None:
    instance = upstream.resolve("ultralytics.utils.loss:RLELoss").raw()
    return difference(stock, patched, calling(torch.linspace(0.5, 1.5, 32), instance=instance), _healthy())


FIX = Fix(wrapper=forward, probe=_probe)
