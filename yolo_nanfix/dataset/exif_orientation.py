"""How EXIF turns an image on its way into the training, and what is then its width and its height."""

from __future__ import annotations

from base64 import b64decode
from functools import lru_cache

from yolo_nanfix.dataset.image_header import Header

TURNING = (1, 3)
"""Channel counts of models whose images the decoder turns, whatever their format is."""
UNTURNED = ("JPEG", "MPO", "PNG", "WEBP")
"""Formats that are not turned for models of other channel counts."""
QUARTER = 5
"""From this orientation on, width and height change places."""
_WEBP = b64decode(
    "UklGRk4AAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TA4AAAAvAQAAAAcQEf0PRET/A0VYSUYaAAAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA="
)
"""A WebP of 2x1 pixels with the orientation 6."""


def turn_of(header: Header, channels: int) -> int:
    """The orientation, 1 (upright) to 8, by which Ultralytics turns an image for a model of so many channels."""
    if header.turn == 1 or (channels not in TURNING and header.format in UNTURNED):
        return 1
    return header.turn if header.format != "WEBP" or turns_webp() else 1


@lru_cache(maxsize=1)
def turns_webp() -> bool:
    """Whether this OpenCV turns WebP by EXIF; before 4.13 it did not."""
    import cv2  # few datasets hold a file for which that matters
    import numpy as np

    decoded = cv2.imdecode(np.frombuffer(_WEBP, np.uint8), cv2.IMREAD_COLOR)
    return decoded is not None and decoded.shape[:2] == (2, 1)


def shown_size(header: Header, channels: int) -> tuple[int, int]:
    """Width and height of the image as it is trained on."""
    size = header.width, header.height
    return size[::-1] if turn_of(header, channels) >= QUARTER else size
