"""Overlays: each image with its boxes, those with findings red with their codes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from yolo_nanfix.scene import Canvas, Scene, Shape

LONGEST_SIDE = 1280
"""Longer sides are scaled down to so many pixels."""
SHORTEST = 320
"""Smaller images are scaled up, so that codes can be read."""
_RED, _GREEN, _WHITE = (40, 40, 230), (90, 170, 60), (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINES = 6


def draw_overlay(scene: Scene, pixels: Canvas | None) -> bytes:
    """The overlay of one image as JPEG bytes.

    Args:
        scene: the image and its rows.
        pixels: as from `scene.pixels_of`; None draws a grey field with the codes.
    """
    canvas, scale = _canvas(scene, pixels)
    offset = _margin(scene, scale)
    canvas = np.pad(canvas, ((offset[1],) * 2, (offset[0],) * 2, (0, 0)), constant_values=64)
    for shape in sorted(scene.shapes, key=lambda s: bool(s.defects)):
        _shape(canvas, shape, scale, offset)
    codes = dict.fromkeys(f"{f.code} {f.name}" for f in scene.defects)
    for number, text in enumerate(list(codes)[:_LINES]):
        _draw_text(canvas, text, (4, 4 + 18 * number), _RED)
    return bytes(cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())


def _canvas(scene: Scene, pixels: Canvas | None) -> tuple[Canvas, float]:
    """The image as (H, W, 3) uint8 BGR with sides of `SHORTEST` to `LONGEST_SIDE`, and its scale."""
    if pixels is None:
        return np.full((240, SHORTEST, 3), 128, np.uint8), 1.0
    longest = max(scene.width, scene.height)
    scale = min(LONGEST_SIDE / longest, max(1.0, SHORTEST / longest))
    size = (max(1, round(scene.width * scale)), max(1, round(scene.height * scale)))
    way = cv2.INTER_AREA if pixels.shape[1] > size[0] else cv2.INTER_NEAREST
    return cv2.resize(pixels, size, interpolation=way).astype(np.uint8), scale


def _margin(scene: Scene, scale: float) -> tuple[int, int]:
    """How much room boxes outside the image need at its sides, in pixels of the canvas: x, y."""
    sides = [(-s.box[0], s.box[2] - scene.width, -s.box[1], s.box[3] - scene.height) for s in scene.shapes]
    reach = [max(0.0, *(side[i] for side in sides for i in pair)) if sides else 0.0 for pair in ((0, 1), (2, 3))]
    room = [round(min(r * scale, LONGEST_SIDE / 4)) + 4 if r * scale > 1 else 0 for r in reach]
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
        _draw_text(canvas, text, (left, top - 18 if top >= 18 else top + 2), _RED)


def _draw_text(canvas: Canvas, text: str, where: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """White text on a rectangle of the colour, inside the canvas."""
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
