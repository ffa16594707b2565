"""Which file names Ultralytics takes for images."""

from __future__ import annotations

from collections.abc import Iterable

SUFFIX_FORMATS: dict[str, tuple[str, ...]] = {
    "avif": ("AVIF",),
    "bmp": ("BMP", "DIB"),
    "dng": ("TIFF",),
    "heic": ("HEIF",),
    "heif": ("HEIF",),
    "jp2": ("JPEG2000",),
    "jpeg": ("JPEG", "MPO"),
    "jpg": ("JPEG", "MPO"),
    "mpo": ("MPO", "JPEG"),
    "png": ("PNG",),
    "tif": ("TIFF",),
    "tiff": ("TIFF",),
    "webp": ("WEBP",),
}
"""The suffixes that Ultralytics takes for images, each with the formats that belong under it."""


_COMMON = frozenset((".jpg", ".png", ".JPG"))


def images_among(names: Iterable[str]) -> list[str]:
    """Those of some file names that `is_image` takes."""
    return [name for name in names if name[-4:] in _COMMON or is_image(name)]


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return "." in name and name.rpartition(".")[2].lower() in SUFFIX_FORMATS
