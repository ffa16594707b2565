"""`HungarianMatcher.forward` in float32, with a count of the predictions whose costs upstream sets to 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.precision import in_float32
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import generator

NAME = "rtdetr-matcher-half"


@float32_wrapper
def forward(
    wrapped: Any, instance: Any, pred_bboxes: Tensor, pred_scores: Tensor, *targets: Any, **options: Any
) -> Any:
    """Match in float32, and count the predictions whose costs upstream sets to 0."""
    boxes, scores = in_float32(pred_bboxes.detach()), in_float32(pred_scores.detach())
    tally.add(NAME, ~boxes.isfinite().all(-1) | scores.isnan().any(-1))
    return wrapped(boxes, scores, *targets, **options)


def _probe(stock: Any, patched: Any) -> str | None:
    """Both must match 30 predictions to the same objects."""
    matcher: Any = upstream.resolve("ultralytics.models.utils.ops:HungarianMatcher").raw
    random = generator(0)
    boxes, scores = torch.rand(2, 30, 4, generator=random), torch.randn(2, 30, 5, generator=random)
    targets = torch.rand(3, 4, generator=random), torch.tensor([0, 4, 2]), [2, 1]
    instance = matcher()
    found, ours = (f.__get__(instance, matcher)(boxes, scores, *targets) for f in (stock, patched))
    same = all(torch.equal(a, b) for x, y in zip(found, ours, strict=True) for a, b in zip(x, y, strict=True))
    return None if same else "it matches healthy predictions to other objects than stock"


FIX = Fix(wrapper=forward, probe=_probe)
