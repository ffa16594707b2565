"""Small pictures of images with their label rows, for pages that hold them inside."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.files import Within
from yolo_nanfix.handoff.scene import Scene, Shape
from yolo_nanfix.handoff.source_images import pixels_of
from yolo_nanfix.report.html.dataset_facts import Outline, Picture

LONGEST = 320
"""Pixels of the longer side of a picture; smaller images are scaled up to half of that."""
MOST_ROWS = 150
"""So many label rows of an image are drawn, the offending ones first."""
MOST_CORNERS = 60
"""So many corners of a polygon are drawn."""
TOO_MANY = 60_000_000
"""Images of more pixels are not decoded."""
SMALL = 16
"""Pixels of a picture below which a box would be overlooked."""
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 70, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
_EMPTY = (240, 160)


def picture(scene: Scene, guilty: Collection[int], within: Within) -> Picture:
    """An image with its rows; a grey field with the reason where it cannot be shown.

    Args:
        scene: the image.
        guilty: the rows that findings are about, which are never left out.
        within: the folders from which it may be opened.
    """
    refused = dict(scene.refused).get(scene.file)
    if refused is not None:
        return Picture("", *_EMPTY, reason=f"the image is not shown: it is {refused.value}")
    if not scene.width:
        return Picture("", *_EMPTY, reason="the image is missing or cannot be opened")
    area = scene.width * scene.height
    longest = max(scene.width, scene.height)
    scale = min(LONGEST / longest, max(1.0, LONGEST / 2 / longest))
    width, height = (max(1, round(side * scale)) for side in (scene.width, scene.height))
    reason = f"{scene.width}x{scene.height} are too many pixels to show" if area > TOO_MANY else ""
    pixels = None if reason else pixels_of(scene.file, within, area, LONGEST)
    if pixels is None:
        reason = reason or "the image cannot be decoded"
    scales = width / scene.width, height / scene.height
    shown = _outlines(scene.shapes, scales, guilty)
    return Picture(
        uri="" if pixels is None else _uri(pixels, (width, height)),
        width=width,
        height=height,
        scale=scales,
        margin=_margin([shape for shape in scene.shapes if shape.line in guilty], scene, scales),
        outlines=shown,
        left_out=len(scene.shapes) - len(shown),
        reason=reason,
    )


def _uri(pixels: NDArray[np.uint8], size: tuple[int, int]) -> str:
    """The picture as a `data:` URI."""
    way = cv2.INTER_AREA if pixels.shape[1] > size[0] else cv2.INTER_NEAREST
    small = cv2.resize(pixels, size, interpolation=way)
    encoded = cv2.imencode(".jpg", small, _QUALITY)[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode('ascii')}"


def _margin(shapes: Iterable[Shape], scene: Scene, scales: tuple[float, float]) -> tuple[int, int]:
    """Room for boxes that reach out of the image, at most a quarter of a picture at each side."""
    reach = [0.0, 0.0]
    for shape in shapes:
        left, top, right, bottom = shape.box
        reach[0] = max(reach[0], -left * scales[0], (right - scene.width) * scales[0])
        reach[1] = max(reach[1], -top * scales[1], (bottom - scene.height) * scales[1])
    return tuple(round(min(far, LONGEST / 4)) + 4 if far > 1 else 0 for far in reach)  # type: ignore[return-value]


def _outlines(shapes: Iterable[Shape], scales: tuple[float, float], guilty: Collection[int]) -> tuple[Outline, ...]:
    """The rows as paths, in the order of the labels."""
    first = sorted(shapes, key=lambda shape: shape.line not in guilty)[:MOST_ROWS]
    shown = sorted(first, key=lambda shape: shape.line)
    return tuple(Outline(s.line, s.label, _path(s, scales), _centre(s, scales)) for s in shown)


def _centre(shape: Shape, scales: tuple[float, float]) -> tuple[float, float] | None:
    """The centre of a row that is small in the picture."""
    left, top, right, bottom = shape.box
    if max((right - left) * scales[0], (bottom - top) * scales[1]) >= SMALL:
        return None
    return round((left + right) / 2 * scales[0], 1), round((top + bottom) / 2 * scales[1], 1)


def _path(shape: Shape, scales: tuple[float, float]) -> str:
    """SVG path data: the box or polygon, and a point for each keypoint that is labelled."""

    def at(x: float, y: float) -> str:
        return " ".join(f"{round(min(max(v, -LONGEST), 2 * LONGEST), 1):g}" for v in (x * scales[0], y * scales[1]))

    left, top, right, bottom = shape.box
    corners: Iterable[tuple[float, float]] = ((left, top), (right, top), (right, bottom), (left, bottom))
    if len(shape.polygon) > 2:
        corners = shape.polygon[:: -(-len(shape.polygon) // MOST_CORNERS)]
    outline = "L".join(at(x, y) for x, y in corners)
    points = "".join(f"M{at(x, y)}h0" for x, y, visible in shape.keypoints if visible)
    return f"M{outline}Z{points}"


def within(pictures: Mapping[str, Picture]) -> int:
    """Characters that pictures take in a page."""
    return sum(len(picture.uri) + sum(len(o.path) + 40 for o in picture.outlines) for picture in pictures.values())
