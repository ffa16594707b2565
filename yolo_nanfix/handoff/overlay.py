"""Pictures of what is wrong: each image with its boxes, the offending ones red with their codes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps

from yolo_nanfix import decoders
from yolo_nanfix.handoff.scene import Scene, Shape

LONGEST = 1280
"""Longer sides are scaled down to so many pixels."""
SHORTEST = 320
"""Smaller images are scaled up, so that codes can be read."""
_TOO_MANY = 120_000_000
_RED, _GREEN, _WHITE = (40, 40, 230), (90, 170, 60), (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINES = 6

Canvas = NDArray[np.uint8]


def draw(scene: Scene) -> bytes:
    """The overlay of one image as JPEG bytes; a grey field with the reason where it cannot be decoded."""
    canvas, scale = _canvas(scene)
    offset = _margin(scene, scale)
    canvas = np.pad(canvas, ((offset[1],) * 2, (offset[0],) * 2, (0, 0)), constant_values=64)
    for shape in sorted(scene.shapes, key=lambda s: bool(s.defects)):
        _shape(canvas, shape, scale, offset)
    codes = dict.fromkeys(f"{f.code} {f.name}" for f in scene.defects)
    for number, text in enumerate(list(codes)[:_LINES]):
        _text(canvas, text, (4, 4 + 18 * number), _RED)
    return bytes(cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())


def _canvas(scene: Scene) -> tuple[Canvas, float]:
    """The image as 8-bit BGR, scaled sensibly, and the scale."""
    pixels = pixels_of(scene.file, scene.width * scene.height, LONGEST)
    if pixels is None:
        return np.full((240, SHORTEST, 3), 128, np.uint8), 1.0
    longest = max(scene.width, scene.height)
    scale = min(LONGEST / longest, max(1.0, SHORTEST / longest))
    size = (max(1, round(scene.width * scale)), max(1, round(scene.height * scale)))
    way = cv2.INTER_AREA if pixels.shape[1] > size[0] else cv2.INTER_NEAREST
    return cv2.resize(pixels, size, interpolation=way).astype(np.uint8), scale


def pixels_of(file: str, area: int, longest: int) -> Canvas | None:
    """An image as it is shown, EXIF rotation applied, as (H, W, 3) 8-bit BGR.

    Args:
        file: the image.
        area: pixels that its header speaks of; too many are not decoded.
        longest: a JPEG may be decoded at less than its size, down to this longer side.

    Returns:
        None if it cannot be decoded.
    """
    if not 0 < area <= _TOO_MANY:
        return None
    if file.lower().endswith((".tif", ".tiff")):
        return _tiff(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PILImage.open(file) as opened:
                opened.draft("RGB", (longest, longest))
                turned = ImageOps.exif_transpose(opened)
                return _bytes(np.asarray(turned if turned.mode.startswith(("I", "F")) else turned.convert("RGB")))
    except Exception:  # Pillow's readers raise anything on damaged files
        return None


def _tiff(file: str) -> Canvas | None:
    """A TIFF by OpenCV, which can be told not to print what it thinks of damaged ones."""
    try:
        with decoders.silent():
            pixels = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        return None
    if pixels is None or (pixels.ndim == 3 and pixels.shape[2] < 3):
        return None if pixels is None else _bytes(pixels[..., 0])
    return _bytes(pixels if pixels.ndim == 2 else pixels[..., 2::-1])


def _bytes(pixels: NDArray[Any]) -> Canvas:
    """Pixels of any type as 8-bit BGR; numbers beyond 8 bits are stretched from their lowest to their highest."""
    if pixels.dtype != np.uint8:
        finite = np.nan_to_num(pixels.astype(np.float64), posinf=0, neginf=0)
        low, high = float(finite.min()), float(finite.max())
        pixels = ((finite - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


def _margin(scene: Scene, scale: float) -> tuple[int, int]:
    """How much room boxes outside the image need at its sides, in pixels of the canvas: x, y."""
    sides = [(-s.box[0], s.box[2] - scene.width, -s.box[1], s.box[3] - scene.height) for s in scene.shapes]
    reach = [max(0.0, *(side[i] for side in sides for i in pair)) if sides else 0.0 for pair in ((0, 1), (2, 3))]
    room = [round(min(r * scale, LONGEST / 4)) + 4 if r * scale > 1 else 0 for r in reach]
    return room[0], room[1]


def _shape(canvas: Canvas, shape: Shape, scale: float, offset: tuple[int, int]) -> None:
    """One row: green, or red and thick with its codes."""
    colour, thick = (_RED, 2) if shape.defects else (_GREEN, 1)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * scale) + offset[0], round(y * scale) + offset[1]

    if len(shape.polygon) > 2:
        corners = np.array([at(x, y) for x, y in shape.polygon], np.int32)
        cv2.polylines(canvas, [corners], True, colour, thick, cv2.LINE_AA)
    else:
        cv2.rectangle(canvas, at(*shape.box[:2]), at(*shape.box[2:]), colour, thick)
    for x, y, visible in shape.keypoints:
        if visible:
            cv2.circle(canvas, at(x, y), 3, colour, -1 if visible > 1 else 1, cv2.LINE_AA)
    if shape.defects:
        left, top = at(*shape.box[:2])
        text = " ".join(dict.fromkeys(f.code for f in shape.defects))
        _text(canvas, text, (left, top - 18 if top >= 18 else top + 2), _RED)


def _text(canvas: Canvas, text: str, where: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """White on a field of the colour, inside the canvas."""
    text = text.encode("ascii", "replace").decode()
    (width, height), base = cv2.getTextSize(text, _FONT, 0.45, 1)
    x = max(0, min(where[0], canvas.shape[1] - width - 4))
    y = max(0, min(where[1], canvas.shape[0] - height - base - 4))
    cv2.rectangle(canvas, (x, y), (x + width + 4, y + height + base + 2), colour, -1)
    cv2.putText(canvas, text, (x + 2, y + height + 1), _FONT, 0.45, _WHITE, 1, cv2.LINE_AA)


def name_of(scene: Scene, number: int) -> str:
    """The overlay's file name: the number of the image, and its stem in letters that every system takes."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in Path(scene.name).stem)
    return f"{number:05d}-{stem[:80]}.jpg"
