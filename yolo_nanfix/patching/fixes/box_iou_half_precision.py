"""`bbox_iou` in float32, on boxes where its formulas are finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.numerics.iou import regular_boxes
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import calling, difference, generator


@float32_wrapper
def bbox_iou(
    wrapped: Any, instance: Any, box1: Tensor, box2: Tensor, xywh: bool = True, *rest: Any, **options: Any
) -> Any:
    """Upstream's value for `regular_boxes`."""
    moved1, moved2 = regular_boxes(box1, box2, xywh=xywh, eps=float(options.get("eps", 1e-7)))
    for box, moved in ((box1, moved1), (box2, moved2)):
        if moved is not box:
            tally.add("box-iou-half-precision", ((moved - box).detach().abs() > 0).any(-1))
    return wrapped(moved1, moved2, xywh, *rest, **options)


def _healthy() -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of xyxy boxes, shape (64, 4), sides 2 to 400 px, from disjoint to nearly equal."""
    for seed in range(4):
        random = generator(seed)
        corner, size = torch.rand(64, 2, generator=random) * 640, torch.rand(64, 2, generator=random) * 398 + 2
        target = torch.cat((corner, corner + size), 1)
        yield target + torch.rand(64, 4, generator=random) * seed, target


def _probe(stock: Any, patched: Any) -> str | None:
    corners, centres = calling(xywh=False, CIoU=True), calling(xywh=True, GIoU=True)
    return difference(stock, patched, corners, _healthy()) or difference(stock, patched, centres, _healthy())


FIX = Fix(wrapper=bbox_iou, probe=_probe)
