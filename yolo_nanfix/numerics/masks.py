"""The area by which a mask loss may be divided."""

from __future__ import annotations

from torch import Tensor


def positive_area(area: Tensor, pixels: int, min_area_px: float) -> Tensor:
    """The box areas, floored to `min_area_px` mask pixels; NaN stays NaN.

    The loss of one instance is mean(crop(bce)) / area. For a box without area the crop is empty, so the numerator
    is 0 and the limit of the quotient is 0; a positive floor under the divisor gives that limit, with gradient 0.
    Areas of at least `min_area_px` mask pixels come back unchanged.

    Args:
        area: fraction of the image that each box covers, shape (N,).
        pixels: number of pixels of the mask, H * W.
        min_area_px: the floor, in mask pixels.
    """
    return area.clamp(min=min_area_px / pixels)
