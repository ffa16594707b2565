"""Fixes for image files, as pure functions of their bytes; all of them are unsafe."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import simplejpeg
from PIL import Image as PILImage

from yolo_nanfix.dataset.image_header import quiet
from yolo_nanfix.linting.autofix.reasons import Left, Why

_SUFFIX_OF = {
    "AVIF": "avif",
    "BMP": "bmp",
    "DIB": "bmp",
    "JPEG": "jpg",
    "JPEG2000": "jp2",
    "MPO": "jpg",
    "PNG": "png",
    "TIFF": "tiff",
    "WEBP": "webp",
}
_QUALITY = 100
_END = b"\xff\xd9"


def suffix_of(content: bytes) -> str:
    """The suffix of an image's format, if Ultralytics takes that.

    Raises:
        Left: it is no image of such a format.
    """
    try:
        with quiet(), PILImage.open(io.BytesIO(content)) as image:
            return _SUFFIX_OF[image.format or ""]
    except Exception as error:  # Pillow's readers raise anything on damaged files
        raise Left(Why.NO_SUFFIX, error=type(error).__name__) from None


def end_jpeg(content: bytes) -> bytes:
    """A JPEG that ends at its end marker, with the same pixels if that is possible, else encoded again.

    Raises:
        Left: it cannot be decoded completely.
    """
    pixels = _pixels_of(content)
    for candidate in _ended(content):
        with contextlib.suppress(Left):
            if _pixels_of(candidate) == pixels:
                return candidate
    with PILImage.open(io.BytesIO(content)) as image:
        image.load()
        out, kept = io.BytesIO(), {key: image.info[key] for key in ("exif", "icc_profile") if key in image.info}
        image.save(out, "JPEG", quality=_QUALITY, subsampling=0, **kept)
    return out.getvalue()


def complete_jpeg(content: bytes) -> bytes:
    """A JPEG that lacks nothing but its end marker, with that.

    Raises:
        Left: it is no JPEG, or pixels are missing.
    """
    for candidate in _ended(content) if content.startswith(b"\xff\xd8") else ():
        try:
            simplejpeg.decode_jpeg(candidate, "GRAY", strict=True)
        except ValueError:
            continue
        return candidate
    raise Left(Why.PIXELS_MISSING)


def _ended(content: bytes) -> Iterator[bytes]:
    """The JPEG up to its end marker, or with one added after its data."""
    end = _end_of(content)
    if end is not None:
        yield content[:end]
    else:
        yield content.rstrip(b"\x00") + _END
        yield content + _END


def _pixels_of(content: bytes) -> bytes:
    try:
        with quiet(), PILImage.open(io.BytesIO(content)) as image:
            return image.tobytes()
    except Exception as error:  # as above
        raise Left(Why.NOT_DECODED, error=type(error).__name__) from None


def _end_of(content: bytes) -> int | None:
    """The position after the end marker of the first image in a JPEG file; None if there is none."""
    at, size = 2, len(content)
    while at + 4 <= size and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:  # padding, markers without a length
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xDA:
            at = _behind_scan(content, at)
    return at + 2 if content[at : at + 2] == _END else None


def _behind_scan(content: bytes, at: int) -> int:
    """The position of the first marker after entropy-coded data, in which FF 00 and restart markers are data."""
    while (at := content.find(b"\xff", at)) >= 0 and at + 1 < len(content):
        if content[at + 1] != 0 and not 0xD0 <= content[at + 1] <= 0xD7:
            return at
        at += 2
    return len(content)
