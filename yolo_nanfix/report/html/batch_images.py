"""Images of a micro-batch as the model saw them: JPEG in `data:` URIs, boxes and sick pixels to be drawn over it."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TINT = (200, 0, 255)
"""What pixels that are not finite are painted with, as BGR."""
QUALITY = 80
LARGE, SMALL = 480, 176
"""Longest side in pixels, of a guilty image and of others."""
SIZE = 1000
"""Boxes are given in thousandths of width and height."""
REACH = 0.5
"""Boxes are cut this share of the picture outside of it."""

Floats = NDArray[Any]


@dataclass(frozen=True)
class Picture:
    """One image.

    Attributes:
        uri: the JPEG.
        width, height: of the image as the model saw it.
        sick: how many values are not finite.
        area: the smallest rectangle around them in thousandths: x, y, width, height; None if there are none.
        odd: what is unusual about its values, in words.
    """

    uri: str
    width: int
    height: int
    sick: int
    area: tuple[int, int, int, int] | None
    odd: str = ""


def picture(pixels: Floats, longest: int) -> Picture:
    """The picture of one image.

    Args:
        pixels: (C, H, W), floating; 0 to 1, RGB as Ultralytics gives it to the model.
        longest: longer sides are scaled down to so many pixels.

    Raises:
        ValueError: it is not of that shape, or cannot be encoded.
    """
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.dtype.kind not in "fiu":
        raise ValueError(f"an image of shape {tuple(pixels.shape)} and type {pixels.dtype} cannot be drawn")
    with np.errstate(over="ignore"):
        healthy = bool(np.isfinite(pixels.sum(dtype=np.float64)))
    bad = np.zeros(pixels.shape[1:], bool) if healthy else np.asarray(~np.isfinite(pixels).all(axis=0))
    values = pixels[: 3 if len(pixels) >= 3 else 1].astype(np.float32)
    values = values if healthy else np.where(np.isfinite(values), values, np.float32(0))
    low, high = float(values.min()), float(values.max())
    height, width = bad.shape
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in values]
    shown, odd = _stretched(np.stack(planes[::-1] if len(planes) == 3 else planes * 3, axis=2), low, high)
    canvas = np.ascontiguousarray(shown)
    if bad.any():
        reach = math.ceil(1 / scale)
        wide = cv2.dilate(np.asarray(bad, np.uint8), np.ones((reach, reach), np.uint8))
        canvas[cv2.resize(wide, size, interpolation=cv2.INTER_NEAREST) > 0] = TINT
    done, jpeg = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError("the image cannot be encoded")
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
    return Picture(uri, width, height, 0 if healthy else int((~np.isfinite(pixels)).sum()), _area(bad), odd)


def _stretched(values: Floats, low: float, high: float) -> tuple[NDArray[np.uint8], str]:
    """The pixels in 8 bits; if they do not lie between 0 and 1, they are stretched, which is said."""
    odd = ""
    if low < -0.01 or high > 1.01:
        odd = f"values from {low:.4g} to {high:.4g}, shown stretched"
        values = (values.astype(np.float64) - low) / max(high - low, 1e-30)
    return np.rint(np.clip(np.nan_to_num(values), 0.0, 1.0) * 255).astype(np.uint8), odd


def _area(bad: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    if not bad.any():
        return None
    rows, columns = np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0))
    height, width = bad.shape
    left, top = SIZE * columns[0] / width, SIZE * rows[0] / height
    right, bottom = SIZE * (columns[-1] + 1) / width, SIZE * (rows[-1] + 1) / height
    return math.floor(left), math.floor(top), math.ceil(right - left), math.ceil(bottom - top)


def box_path(box: Iterable[float]) -> str:
    """The SVG path of a box: centre, width and height as shares, for turned boxes an angle in radians.

    Empty where a number is not finite, or there are not four or five.
    """
    numbers = [float(v) for v in box]
    if len(numbers) not in (4, 5) or not all(map(math.isfinite, numbers)):
        return ""
    x, y, width, height, *angle = numbers
    sine, cosine = math.sin(angle[0] if angle else 0.0), math.cos(angle[0] if angle else 0.0)
    corners = []
    for across, down in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        a, b = across * width / 2, down * height / 2
        corners.append((_place(x + a * cosine - b * sine), _place(y + a * sine + b * cosine)))
    return "M" + "L".join(f"{px} {py}" for px, py in corners) + "Z"


def _place(share: float) -> int:
    return round(SIZE * min(max(share, -REACH), 1 + REACH))
