"""The image files of a dataset, opened within its folders only, and only as the kinds of images that are trained on.

What is not a regular file there, or holds something else than an image, is neither shown nor handed over.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageFile, ImageOps

from yolo_nanfix.dataset import decode
from yolo_nanfix.files import NotRegular, Refusal, Within

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP")
"""Pillow's names of the formats that are opened; it knows others, which are drawings, documents or without any mark."""
LARGEST = 1 << 30
"""Bytes of an image file; a larger one, which may be nothing but a hole, is not copied."""
TOO_MANY = 120_000_000
"""Images of more pixels are not decoded."""
_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112

Canvas = NDArray[np.uint8]


def size_of(image: str, within: Within) -> tuple[int, int]:
    """Width and height as an image is shown; (0, 0) if it is not there, or no image.

    Raises:
        NotRegular: it may not be opened.
    """
    try:
        with _quiet(), within.open(image) as stream:
            if os.fstat(stream.fileno()).st_size > LARGEST:
                raise NotRegular(image, Refusal.LARGE)
            with PILImage.open(stream, formats=_formats()) as opened:
                width, height = opened.size
                turned = opened.getexif().get(_ORIENTATION) in _TURNED
    except NotRegular:
        raise
    except Exception:  # Pillow's readers raise anything on damaged files
        return 0, 0
    return (height, width) if turned else (width, height)


def pixels_of(image: str, within: Within, area: int, longest: int) -> Canvas | None:
    """An image as it is shown, EXIF rotation applied, as (H, W, 3) 8-bit BGR.

    Args:
        image: its file.
        within: the folders from which it may be opened.
        area: pixels that its header speaks of; too many are not decoded.
        longest: a JPEG may be decoded at less than its size, down to this longer side.

    Returns:
        None if it cannot be decoded, or not be opened.
    """
    try:
        with within.open(image) as stream:
            return _decoded(stream, image, area, longest)
    except (OSError, ValueError):
        return None


class Taken:
    """One image file, opened once: what is decoded is what is copied."""

    def __init__(self, stream: BinaryIO, image: str, area: int, longest: int) -> None:
        """Decode it; the arguments are those of `pixels_of`."""
        self._stream = stream
        self.pixels = _decoded(stream, image, area, longest)
        self.is_image = self.pixels is not None or area > TOO_MANY or _cut_off(stream)

    def copy(self, target: Path) -> None:
        """Write its bytes to a new file."""
        self._stream.seek(0)
        with open(target, "xb") as copied:
            shutil.copyfileobj(self._stream, copied, 1 << 20)


@contextmanager
def taken(image: str, within: Within, area: int, longest: int) -> Iterator[Taken | None]:
    """An image as long as a `with` block lasts; None if it is not there or may not be read."""
    try:
        stream = within.open(image)
    except (OSError, ValueError):
        yield None
        return
    with stream:
        yield Taken(stream, image, area, longest)


def _decoded(stream: BinaryIO, image: str, area: int, longest: int) -> Canvas | None:
    if not 0 < area <= TOO_MANY:
        return None
    if image.lower().endswith((".tif", ".tiff")):
        return _tiff(stream)
    try:
        with _quiet(), PILImage.open(stream, formats=_formats()) as opened:
            opened.draft("RGB", (longest, longest))
            turned = ImageOps.exif_transpose(opened)
            return _bytes(np.asarray(turned if turned.mode.startswith(("I", "F")) else turned.convert("RGB")))
    except Exception:  # as above
        return None


def _cut_off(stream: BinaryIO) -> bool:
    """Whether a file that cannot be decoded is an image but for an end that is missing."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        stream.seek(0)
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        with _quiet(), PILImage.open(stream, formats=_formats()) as opened:
            opened.load()
    except Exception:  # as above
        return False
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    return True


@cache
def _formats() -> tuple[str, ...]:
    """Those of the formats that this Pillow can open."""
    PILImage.init()
    return tuple(name for name in FORMATS if name in PILImage.OPEN)


@contextmanager
def _quiet() -> Iterator[None]:
    """What Pillow thinks of odd images is not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _tiff(stream: BinaryIO) -> Canvas | None:
    """A TIFF by OpenCV, which can be told not to print what it thinks of damaged ones."""
    try:
        with decode.silent():
            pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
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
