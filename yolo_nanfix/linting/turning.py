"""How EXIF turns an image on its way into the training, and what is then its width and its height."""

from __future__ import annotations

from yolo_nanfix.linting.headers import Header

TURNING = (1, 3)
"""Channel counts of models whose images the decoder turns, whatever their format is."""
UNTURNED = ("JPEG", "MPO", "PNG", "WEBP")
"""Formats that are not turned for models of other channel counts."""
QUARTER = 5
"""From this orientation on, width and height change places."""


def turn_of(header: Header, channels: int) -> int:
    """The orientation, 1 (upright) to 8, by which Ultralytics turns an image for a model of so many channels."""
    return header.turn if channels in TURNING or header.format not in UNTURNED else 1


def shown_size(header: Header, channels: int) -> tuple[int, int]:
    """Width and height of the image as it is trained on."""
    size = header.width, header.height
    return size[::-1] if turn_of(header, channels) >= QUARTER else size
