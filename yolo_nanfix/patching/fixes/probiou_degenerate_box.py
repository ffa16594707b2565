"""`probiou` in float32, on rotated boxes where its formulas are finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.numerics.iou import regular_rboxes
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import calling, difference, generator


@float32_wrapper
def probiou(wrapped: Any, instance: Any, obb1: Tensor, obb2: Tensor, *rest: Any, **options: Any) -> Any:
    """Releases before 8.4.84 have no floor; the aspect term of CIoU divides by the sides themselves."""
    given = {**dict(zip(("CIoU", "eps", "floor"), rest, strict=False)), **options}
    floor = 0.0 if given.get("CIoU") else float(given.get("floor", 0.0))
    box1, moved1 = regular_rboxes(obb1, floor)
    box2, moved2 = regular_rboxes(obb2, floor)
    tally.add("probiou-degenerate-box", moved1)
    tally.add("probiou-degenerate-box", moved2)
    return wrapped(box1, box2, *rest, **options)


def _healthy() -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of rotated boxes, shape (64, 5), sides 2 to 200, from nearly equal to disjoint."""
    for seed in range(4):
        random = generator(seed)
        centre, size = torch.rand(64, 2, generator=random) * 640, torch.rand(64, 2, generator=random) * 198 + 2
        target = torch.cat((centre, size, torch.rand(64, 1, generator=random) * 3), 1)
        yield target + torch.rand(64, 5, generator=random) * seed, target


def _probe(stock: Any, patched: Any) -> str | None:
    plain = difference(stock, patched, calling(), _healthy())
    return plain or difference(stock, patched, calling(CIoU=True), _healthy())


FIX = Fix(wrapper=probiou, probe=_probe)
