"""Greedy non-maximum suppression in pure torch, with the contract of `torchvision.ops.nms`."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 256
"""Boxes per block; the overlaps of a block with all kept boxes are one matrix."""


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes kept by greedy NMS, by falling score.

    A box is dropped when its IoU with a kept box of higher score is *greater than* the threshold, as in
    torchvision (https://docs.pytorch.org/vision/stable/generated/torchvision.ops.nms.html). Equal scores keep
    their order.

    Args:
        boxes: corners (x1, y1, x2, y2), shape (N, 4), floating dtype.
        scores: shape (N,).
        iou_threshold: in [0, 1].

    Returns:
        int64 indices into `boxes`, shape (M,), on the device of `boxes`.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order].float()
    kept, kept_boxes = [order[:0]], ranked[:0]
    for first in range(0, len(ranked), BLOCK):
        block, index = ranked[first : first + BLOCK], order[first : first + BLOCK]
        free = ~_overlap(kept_boxes, block, iou_threshold).any(0)
        block, index = block[free], index[free]
        stay = _greedy(_overlap(block, block, iou_threshold).triu(1))
        kept.append(index[stay])
        kept_boxes = torch.cat((kept_boxes, block[stay]))
    return torch.cat(kept)


def _greedy(over: Tensor) -> Tensor:
    """Which of n boxes stay: those that no staying box before them overlaps.

    Iterated to the fixed point; after k rounds the first k boxes are right, and few rounds are needed.

    Args:
        over: bool, shape (n, n), above the diagonal only: box i overlaps the later box j.
    """
    stay = torch.ones(len(over), dtype=torch.bool, device=over.device)
    while True:
        judged = ~(over & stay[:, None]).any(0)
        if torch.equal(judged, stay):
            return stay
        stay = judged


def _overlap(a: Tensor, b: Tensor, threshold: float) -> Tensor:
    """Whether the IoU of each pair is greater than the threshold: bool, shape (len(a), len(b))."""
    corner1 = a[:, None, :2].maximum(b[:, :2])
    corner2 = a[:, None, 2:].minimum(b[:, 2:])
    inter = (corner2 - corner1).clamp_(0).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b))
    return inter > threshold * (area_a[:, None] + area_b - inter)
