"""Rotated boxes on which `ultralytics.utils.metrics.probiou` has a finite value and gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_nanfix.numerics.bounds import HALF, widened

COORDINATE_LIMIT = 1e5
"""Largest centre or side let through, in the unit of the boxes (cells in the loss, pixels in the assigner). The
determinants of two such boxes multiply to 1e40 / 144^2 = 5e35, inside float32."""
SHORTEST_SIDE = {False: 1e-3, True: 4e-3}
"""Shortest side let through, by whether the box came in half precision. The determinants of two boxes of 1e-3 multiply
to 5e-29, far above the smallest float32; the gradient of a side, about 100 over the side, has to fit into float16."""
LARGEST_ASPECT = {False: 1000.0, True: 500.0}
"""Largest ratio of the sides let through. The determinant a * b - c^2 of a box at 45 degrees is 4 / ratio^2 of a * b,
4e-6 at 1000, where float32 loses about 5e-7: beyond it can come out as 0 or negative. The gradient of the angle, up to
100 times the ratio, has to fit into float16."""


def regular_rboxes(box: Tensor, floor: float = 0.0) -> tuple[Tensor, Tensor]:
    """Move rotated boxes off the points where ProbIoU is singular; all other boxes come back bit-identical.

    ProbIoU (Llerena et al., https://arxiv.org/abs/2106.06072) reads a box of sides w and h as a Gaussian with the
    variances w^2 / 12 and h^2 / 12, and takes the logarithm and the square root of determinants of its covariance.
    The determinant of a box without a side is 0 and the root's gradient there Inf * 0; that of a very long box is a
    difference of nearly equal numbers and may come out negative, whose logarithm is NaN. So centres and sides are
    limited to `COORDINATE_LIMIT`, and a short side becomes `SHORTEST_SIDE` and at least a `LARGEST_ASPECT`-th of the
    long one. The moved value replaces the box in the forward pass only: the gradient still reaches the prediction.

    Args:
        box: centre, width, height and angle in radians, shape (..., 5), any floating dtype.
        floor: what upstream will add to both variances (its argument of that name, from 8.4.84 on).

    Returns:
        The boxes in float32 (or float64), NaN where they were not finite, and which of them were moved: bool,
        shape (...), or () where none was.
    """
    half, box = box.dtype in HALF, widened(box)
    if _plainly_regular(box, half):
        return box, torch.zeros((), dtype=torch.bool)
    with torch.no_grad():
        centre, signed, angle = box[..., :2], box[..., 2:4], box[..., 4:]
        side = signed.abs().clamp(max=COORDINATE_LIMIT)
        spread = side if floor == 0 else (side.square() + 12 * floor).sqrt()
        shortest = (spread.amax(-1, keepdim=True) / LARGEST_ASPECT[half]).clamp(min=SHORTEST_SIDE[half])
        side = torch.where(spread < shortest, shortest, side).copysign(signed)
        moved = torch.cat((centre.clamp(-COORDINATE_LIMIT, COORDINATE_LIMIT), side, angle), -1)
        changed = (moved != box).any(-1) & box.isfinite().all(-1)
    return moved + (box - box.detach()), changed


def _plainly_regular(box: Tensor, half: bool) -> bool:
    """Whether nothing has to be done, where asking is cheap; on a GPU it would stop the host, and the answer is no."""
    if box.device.type != "cpu" or not box.numel():
        return False
    with torch.no_grad():
        low, high = (float(side) for side in box[..., 2:4].abs().aminmax())
        outermost = float(box[..., :4].abs().max())
    return SHORTEST_SIDE[half] <= low and high <= low * LARGEST_ASPECT[half] and outermost <= COORDINATE_LIMIT
