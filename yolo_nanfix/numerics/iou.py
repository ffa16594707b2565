"""Box inputs on which the IoU of `ultralytics.utils.metrics.bbox_iou` has a finite value and gradient."""

from __future__ import annotations

import torch
from torch import Tensor

COORDINATE_LIMIT = 1e9
"""Largest coordinate let through: the square of twice this is far inside float32, beyond any image in pixels."""
SINGULAR = 1e-10
"""A height, union or enclosing area below this is singular: its reciprocal times a side overflows float32."""


def full_precision(box: Tensor) -> Tensor:
    """The box in float32 (float64 stays), coordinates limited to ±1e9; NaN and Inf stay NaN, never hidden.

    float16 loses areas above 65 504 and rounds sides under one unit in the last place to 0; bfloat16 keeps the
    range but rounds sides too.
    """
    box = box if box.dtype in (torch.float32, torch.float64) else box.float()
    return box.clamp(-COORDINATE_LIMIT, COORDINATE_LIMIT) + (box - box).detach()


def regular_boxes(box1: Tensor, box2: Tensor, *, xywh: bool, eps: float = 1e-7) -> tuple[Tensor, Tensor]:
    """Move boxes off the points where the IoU formulas divide by zero; all other boxes come back bit-identical.

    The aspect term of CIoU (Zheng et al., https://arxiv.org/abs/1911.08287) divides width by height, where the
    height of an xyxy box is y2 - y1 + eps; IoU divides by the union, GIoU also by the enclosing area. For boxes
    with positive sides none of them can be 0. For inverted boxes, as heads without DFL predict them, they can:

    - a height within 1e-10 of 0 becomes eps, the value that stock gives a box of height 0;
    - where the union or the enclosing area is within 1e-10 of 0, both boxes shrink to points, the limit in
      which IoU is 0.

    The moved value is added as a constant, so the gradient still reaches the prediction.

    Args:
        box1: predictions, shape (..., 4), any floating dtype.
        box2: targets, shape broadcastable to `box1`.
        xywh: centre and size if True, corners if False, as in `bbox_iou`.
        eps: the eps that `bbox_iou` will be called with.

    Returns:
        The two boxes in float32 (or float64), same shapes.
    """
    box1, box2 = full_precision(box1), full_precision(box2)
    with torch.no_grad():
        flat1, flat2 = _nonzero_height(box1, xywh, eps), _nonzero_height(box2, xywh, eps)
        moved1, moved2 = box1 + flat1, box2 + flat2
        singular = _singular(_corners(moved1, xywh), _corners(moved2, xywh), 0.0 if xywh else eps, eps)
        shift1 = torch.where(singular, _to_point(moved1, xywh, eps) - box1, flat1)
        shift2 = torch.where(singular, _to_point(moved2, xywh, eps) - box2, flat2)
    return box1 + shift1, box2 + shift2


def _nonzero_height(box: Tensor, xywh: bool, eps: float) -> Tensor:
    """What to add to a box so that its height is not 0; zeros for every other box. Shape of `box`."""
    shift = torch.zeros_like(box)
    if xywh:
        height = box[..., 3]
        shift[..., 3] = torch.where(height.abs() < SINGULAR, eps - height, 0.0)
    else:
        height = box[..., 3] - box[..., 1]
        shift[..., 3] = torch.where((height + eps).abs() < SINGULAR, -height, 0.0)
    return shift


def _to_point(box: Tensor, xywh: bool, eps: float) -> Tensor:
    """The box shrunk to its centre (xywh, height eps) or its first corner (xyxy)."""
    if xywh:
        return torch.cat((box[..., :2], torch.zeros_like(box[..., :1]), torch.full_like(box[..., :1], eps)), -1)
    return torch.cat((box[..., :2], box[..., :2]), -1)


def _corners(box: Tensor, xywh: bool) -> Tensor:
    if not xywh:
        return box
    centre, half = box[..., :2], box[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def _singular(a: Tensor, b: Tensor, pad: float, eps: float) -> Tensor:
    """Where union or enclosing area is within 1e-10 of 0; shape (..., 1)."""
    a1, a2, b1, b2 = a[..., :2], a[..., 2:], b[..., :2], b[..., 2:]
    size_a, size_b = a2 - a1, b2 - b1
    inter = (a2.minimum(b2) - a1.maximum(b1)).clamp(0).prod(-1)
    union = size_a[..., 0] * (size_a[..., 1] + pad) + size_b[..., 0] * (size_b[..., 1] + pad) - inter + eps
    enclosing = (a2.maximum(b2) - a1.minimum(b1)).prod(-1) + eps
    return ((union.abs() < SINGULAR) | (enclosing.abs() < SINGULAR)).unsqueeze(-1)
