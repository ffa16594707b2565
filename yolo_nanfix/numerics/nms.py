"""Greedy non-maximum suppression in pure torch, with the contract of `torchvision.ops.nms`."""

from __future__ import annotations

import torch
from torch import Tensor


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
    rest = boxes[order].float()
    area = (rest[:, 2:] - rest[:, :2]).prod(1)
    kept = []
    while order.numel():
        kept.append(order[0])
        corner1 = rest[1:, :2].maximum(rest[0, :2])
        corner2 = rest[1:, 2:].minimum(rest[0, 2:])
        inter = (corner2 - corner1).clamp(0).prod(1)
        stay = inter <= iou_threshold * (area[0] + area[1:] - inter)
        order, rest, area = order[1:][stay], rest[1:][stay], area[1:][stay]
    return torch.stack(kept) if kept else order
