"""Which file names Ultralytics takes for images."""

from __future__ import annotations

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


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return "." in name and name.rpartition(".")[2].lower() in SUFFIX_FORMATS
