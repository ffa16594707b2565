"""Boxes and rotated boxes on which Ultralytics' `bbox_iou` and `probiou` have a finite value and gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_nanfix.numerics.precision import HALF, bounded, widened

COORDINATE_LIMIT = 1e7
"""Largest coordinate, far beyond any image. The steepest term, d(GIoU)/d(side) = union * side / area^2 with an
enclosing area of eps = 1e-7, then stays under 1e36, inside float32."""
SMALLEST_SIDE = {False: 2.0**-10, True: 2.0**-14}
"""Smallest side of a half-precision box, by `xywh`: in grid cells for corners, as image fraction for centre and
size. The gradient of the aspect term is at most one over the side, which then stays inside float16."""
CORNER_ROUNDING = 2.0**-20
"""Eight units in the last place of float32, relative to the coordinate."""
SHORT_SIDE = 1e-6
"""With all sides longer than this no height, union or area is 0."""
SINGULAR = 1e-10
"""A height, union or enclosing area below this is singular: its reciprocal times a side overflows float32."""


def regular_boxes(box1: Tensor, box2: Tensor, *, xywh: bool, eps: float = 1e-7) -> tuple[Tensor, Tensor]:
    """Move boxes off the points where the IoU formulas divide by zero; all other boxes come back bit-identical.

    The aspect term of CIoU (Zheng et al., https://arxiv.org/abs/1911.08287) divides width by height, where the
    height of an xyxy box is y2 - y1 + eps; IoU divides by the union, GIoU also by the enclosing area. For boxes
    with positive sides none of them can be 0. For inverted boxes, as heads without DFL predict them, they can:

    - a side of a half-precision box that was rounded away (shorter than half a unit in the last place of its
      coordinates, or than `SMALLEST_SIDE`) becomes that long: as 0 its gradient would overflow float16;
    - a height within 1e-10 of 0 becomes eps, the value that stock gives a box of height 0;
    - where the union or the enclosing area is within 1e-10 of 0, both boxes shrink to points, the limit in
      which IoU is 0.

    The moved value replaces the box in the forward pass only, so the gradient still reaches the prediction.

    Args:
        box1: predictions, shape (..., 4), any floating dtype.
        box2: targets, shape broadcastable to `box1`.
        xywh: centre and size if True, corners if False, as in `bbox_iou`.
        eps: the eps that `bbox_iou` will be called with.

    Returns:
        The two boxes in float32 (or float64), broadcast against each other.
    """
    if _plainly_regular(box1, xywh) and _plainly_regular(box2, xywh):
        return box1, box2
    unit1, unit2 = _rounding(box1), _rounding(box2)
    # float16 loses areas above 65 504 and rounds sides under one unit in the last place to 0; bfloat16 rounds sides too
    (box1, _), (box2, _) = bounded(box1, COORDINATE_LIMIT), bounded(box2, COORDINATE_LIMIT)
    with torch.no_grad():
        moved1 = _nonzero_height(_unrounded(box1, xywh, unit1), xywh, eps)
        moved2 = _nonzero_height(_unrounded(box2, xywh, unit2), xywh, eps)
        singular = _singular(moved1, moved2, xywh, eps)
        moved1 = torch.where(singular, _to_point(moved1, xywh, eps), moved1)
        moved2 = torch.where(singular, _to_point(moved2, xywh, eps), moved2)
    return moved1 + (box1 - box1.detach()), moved2 + (box2 - box2.detach())


def _plainly_regular(box: Tensor, xywh: bool) -> bool:
    """Whether no box has to be moved: float32 boxes in host memory, all sides positive.

    False on a GPU, where the check would be a host read.
    """
    if box.device.type != "cpu" or box.dtype is not torch.float32 or not box.numel():
        return False
    with torch.no_grad():
        side = box[..., 2:] if xywh else box[..., 2:] - box[..., :2]
        low, high = box.aminmax()
        return float(side.min()) > SHORT_SIDE and max(-float(low), float(high)) <= COORDINATE_LIMIT


def _rounding(box: Tensor) -> float:
    """The relative rounding error of a half-precision box; 0 for wider dtypes, whose boxes are taken as they are."""
    return torch.finfo(box.dtype).eps / 2 if box.dtype in HALF else 0.0


def _unrounded(box: Tensor, xywh: bool, unit: float) -> Tensor:
    """The box with sides at least as long as its rounding error; the box as it is for `unit` 0."""
    if not unit:
        return box
    first, second = box[..., :2], box[..., 2:]
    if xywh:  # the side is a number of its own; it must survive centre + side / 2 in float32
        floor = (first.abs() * CORNER_ROUNDING).clamp(min=SMALLEST_SIDE[xywh])
        return torch.cat((first, torch.where(second.abs() < floor, floor, second)), -1)
    floor = (first.abs().maximum(second.abs()) * unit).clamp(min=SMALLEST_SIDE[xywh])
    return torch.cat((first, torch.where((second - first).abs() < floor, first + floor, second)), -1)


def _nonzero_height(box: Tensor, xywh: bool, eps: float) -> Tensor:
    """The box with a height of eps where it was 0; every other box as it is. Shape of `box`."""
    first, last = box[..., 1], box[..., 3]
    if xywh:
        last = torch.where(last.abs() < SINGULAR, eps, last)
    else:
        last = torch.where((last - first + eps).abs() < SINGULAR, first, last)
    return torch.cat((box[..., :3], last.unsqueeze(-1)), -1)


def _to_point(box: Tensor, xywh: bool, eps: float) -> Tensor:
    """The box shrunk to its centre (xywh, height eps) or its first corner (xyxy)."""
    if xywh:
        return torch.cat((box[..., :2], torch.zeros_like(box[..., :1]), torch.full_like(box[..., :1], eps)), -1)
    return torch.cat((box[..., :2], box[..., :2]), -1)


def _corners_and_size(box: Tensor, xywh: bool, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """First corner, second corner and (width, height), each computed as `bbox_iou` computes it."""
    first, second = box[..., :2], box[..., 2:]
    if xywh:
        return first - second / 2, first + second / 2, second
    size = torch.stack((second[..., 0] - first[..., 0], second[..., 1] - first[..., 1] + eps), -1)
    return first, second, size


def _singular(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    """Where union or enclosing area is within 1e-10 of 0; shape (..., 1)."""
    a1, a2, size_a = _corners_and_size(box1, xywh, eps)
    b1, b2, size_b = _corners_and_size(box2, xywh, eps)
    inter = (a2.minimum(b2) - a1.maximum(b1)).clamp(0).prod(-1)
    union = size_a.prod(-1) + size_b.prod(-1) - inter + eps
    enclosing = (a2.maximum(b2) - a1.minimum(b1)).prod(-1) + eps
    return ((union.abs() < SINGULAR) | (enclosing.abs() < SINGULAR)).unsqueeze(-1)


RBOX_LIMIT = 1e5
"""Largest centre or side, in the unit of the boxes (cells in the loss, pixels in the assigner). The determinants of two
such boxes multiply to 1e40 / 144^2 = 5e35, inside float32."""
SHORTEST_SIDE = {False: 1e-3, True: 4e-3}
"""Shortest side, by whether the box came in half precision. The determinants of two boxes of 1e-3 multiply to 5e-29,
far above the smallest float32; the gradient of a side, about 100 over the side, has to fit into float16."""
LARGEST_ASPECT = {False: 1000.0, True: 500.0}
"""Largest ratio of the sides. The determinant a * b - c^2 of a box at 45 degrees is 4 / ratio^2 of a * b,
4e-6 at 1000, where float32 loses about 5e-7: beyond it can come out as 0 or negative. The gradient of the angle, up to
100 times the ratio, has to fit into float16."""


def regular_rboxes(box: Tensor, floor: float = 0.0) -> tuple[Tensor, Tensor]:
    """Move rotated boxes off the points where ProbIoU is singular; all other boxes come back bit-identical.

    ProbIoU (Llerena et al., https://arxiv.org/abs/2106.06072) reads a box of sides w and h as a Gaussian with the
    variances w^2 / 12 and h^2 / 12, and takes the logarithm and the square root of determinants of its covariance.
    The determinant of a box without a side is 0 and the root's gradient there Inf * 0; that of a very long box is a
    difference of nearly equal numbers and may come out negative, whose logarithm is NaN. So centres and sides are
    limited to `RBOX_LIMIT`, and a short side becomes `SHORTEST_SIDE` and at least a `LARGEST_ASPECT`-th of the
    long one. The moved value replaces the box in the forward pass only: the gradient still reaches the prediction.

    Args:
        box: centre, width, height and angle in radians, shape (..., 5), any floating dtype.
        floor: what upstream will add to both variances (its argument of that name, from 8.4.84 on).

    Returns:
        The boxes in float32 (or float64), NaN where they were not finite, and which of them were moved: bool,
        shape (...), or () where none was.
    """
    half, box = box.dtype in HALF, widened(box)
    if _plainly_regular_rboxes(box, half):
        return box, torch.zeros((), dtype=torch.bool)
    with torch.no_grad():
        centre, signed, angle = box[..., :2], box[..., 2:4], box[..., 4:]
        side = signed.abs().clamp(max=RBOX_LIMIT)
        spread = (side.square() + 12 * floor).sqrt()
        shortest = (spread.amax(-1, keepdim=True) / LARGEST_ASPECT[half]).clamp(min=SHORTEST_SIDE[half])
        side = torch.where(spread < shortest, shortest, side).copysign(signed)
        moved = torch.cat((centre.clamp(-RBOX_LIMIT, RBOX_LIMIT), side, angle), -1)
        changed = (moved != box).any(-1) & box.isfinite().all(-1)
    return moved + (box - box.detach()), changed


def _plainly_regular_rboxes(box: Tensor, half: bool) -> bool:
    """Whether no box has to be moved; False on a GPU, where the check would be a host read."""
    if box.device.type != "cpu" or not box.numel():
        return False
    with torch.no_grad():
        low, high = (float(side) for side in box[..., 2:4].abs().aminmax())
        outermost = float(box[..., :4].abs().max())
    return SHORTEST_SIDE[half] <= low and high <= low * LARGEST_ASPECT[half] and outermost <= RBOX_LIMIT
