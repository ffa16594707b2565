"""The pixels that Ultralytics would train on, for the files where the header does not tell what they are.

Decoding a JPEG costs a hundred times more than reading its header, so only those files are decoded whose
pixels can surprise: TIFF, BMP, 16-bit PNG, rare formats, content under a foreign suffix, sibling .npy.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.image_header import BOMB_PIXELS, READ, Header, quiet
from yolo_nanfix.dataset.paths import SUFFIX_FORMATS


@contextmanager
def silent() -> Iterator[None]:
    """Let OpenCV log nothing for the length of a `with` block.

    Its functions for that are in `cv2` up to 4.12 and in `cv2.utils.logging` from 4.13 on; where they are in neither,
    what it logs is not worth a failure.
    """
    import cv2  # few datasets hold a file that needs it

    places: tuple[Any, ...] = (getattr(getattr(cv2, "utils", None), "logging", None), cv2)
    logging = next((place for place in places if hasattr(place, "setLogLevel") and hasattr(place, "getLogLevel")), None)
    if logging is None:
        yield
        return
    before = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(before)


_COLOURS, _EXTRA = 262, 338
_RGB, _UNASSOCIATED = 2, 2
_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def alpha_by_which_colours_are_multiplied(data: NDArray[np.uint8], stored: NDArray[Any]) -> NDArray[Any] | None:
    """The alpha channel by which libtiff multiplies red, green and blue when it decodes to 8 bits; None if it does not.

    It does where the tag ExtraSamples says that alpha is not associated, as Pillow and most editors write it.

    Args:
        data: the bytes of the file.
        stored: its pixels as OpenCV decodes them unchanged.
    """
    if stored.ndim != 3 or stored.shape[2] != 4 or data[:4].tobytes() not in _STARTS:
        return None
    from PIL import Image as PILImage

    with PILImage.open(io.BytesIO(data.tobytes())) as image:
        tags = getattr(image, "tag_v2", {})
        extra, colours = tags.get(_EXTRA), tags.get(_COLOURS)
    told = extra if isinstance(extra, tuple) else (extra,)
    return stored[..., 3] if told == (_UNASSOCIATED,) and colours == _RGB else None


SIGNED = (np.dtype(np.int8), np.dtype(np.int16))
"""Types whose bytes are taken for unsigned ones where an image is cut to 8 bits."""
HALF_MAX = 65504.0
"""The largest finite value of half precision, in which validation runs on a GPU."""

MOST_BITS = 4 * BOMB_PIXELS
"""Images whose pages hold more than this many bits in a band are not decoded: 89 million pixels of 8 bits, half as many
of 16. With three bands one decode takes up to 800 MB, in each process that decodes."""
MOST_BYTES = 1 << 29
"""Bytes of a file that is decoded at most, or of an array that is measured."""

_PLAIN_FORMATS = ("JPEG", "MPO", "PNG", "WEBP")
_PNG = b"\x89PNG\r\n"
_BYTES = (b"\xff\xd8\xff", b"BM")
"""JPEG and BMP have 8 bits a sample, as WebP has."""
_BY_PILLOW = ("avif", "heic", "heif")


Spot = tuple[int, tuple[int, int, int], float]
"""How many pixel values have a defect, the place of the first one (x, y, channel; 0-based), and its value."""


class Pixels(NamedTuple):
    """What one decoded file holds.

    Attributes:
        file: the file that was decoded: the image, or the .npy that replaces it.
        dtype: numpy's name of the stored type; empty if nothing could be decoded.
        shape: height, width, channels as loaded for training.
        low, high: smallest and largest finite value; 0 and 255 for 8 bits, whose values are not looked at.
        nan, inf, huge: non-finite values, and finite ones beyond half precision.
        reason: why nothing could be decoded.
        alpha: the mean of the alpha channel, as a share of opaque, if colours are multiplied by it; else 1.
        cut: whether signed values were cut to bytes as they stand, so that those below zero become large.
    """

    file: str
    dtype: str = ""
    shape: tuple[int, int, int] = (0, 0, 0)
    low: float = 0.0
    high: float = 0.0
    nan: Spot | None = None
    inf: Spot | None = None
    huge: Spot | None = None
    reason: str = ""
    alpha: float = 1.0
    cut: bool = False


def needs_decoding(suffix: str, header: Header, channels: int) -> bool:
    """Whether the header of a valid image leaves open what Ultralytics would train on."""
    if too_large(header):
        return False
    if header.format not in _PLAIN_FORMATS or header.format not in SUFFIX_FORMATS.get(suffix, ()):
        return True
    return header.unsure or channels not in (1, 3)


def too_large(header: Header) -> bool:
    """Whether decoding the image would take more memory than a linter should."""
    pixels = header.width * header.height
    return pixels > BOMB_PIXELS or pixels * header.frames * max(header.bits, 8) > MOST_BITS


@contextmanager
def silenced() -> Iterator[None]:
    """Keep off the terminal what decoders written in C print: the findings say it."""
    with suppress(AttributeError, OSError, ValueError):  # there may be none, or a closed one
        sys.stderr.flush()
    try:
        stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # stderr is closed, or there are no more descriptors
        with silent():
            yield
        return
    os.dup2(nowhere, 2)
    try:
        with silent():
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def read_image(file: str, suffix: str, channels: int) -> Pixels:
    """Decode an image file as Ultralytics does for a model of so many channels; never raises."""
    return decode(file, suffix, channels)[0]


def decode(file: str, suffix: str, channels: int) -> tuple[Pixels, NDArray[Any] | None]:
    """What `read_image` returns, and the stored values (16 unsigned bits not yet cut to 8); None if there are none."""
    try:
        with silenced(), quiet():
            stored, loaded, alpha = _decode(file, _bytes_of(file), suffix, channels)
        found = _measure(file, stored)
        cut = stored.dtype in SIGNED and loaded.dtype == np.uint8
        shape = (*found.shape[:2], loaded.shape[2] if loaded.ndim == 3 else 1)
        return found._replace(shape=shape, alpha=_opaque(alpha), cut=cut), loaded if cut else stored
    except Exception as error:  # cv2.error, MemoryError and whatever the decoders raise
        return Pixels(file, reason=f"{error}".splitlines()[0] if f"{error}" else type(error).__name__), None


def transparent(file: str) -> float:
    """The share of the pixels of an image that are not opaque; 0 if it has no alpha, or cannot be decoded."""
    from PIL import Image as PILImage

    try:
        with quiet(), open(file, "rb") as stream, PILImage.open(stream) as image:
            if "A" not in image.getbands() and "a" not in image.getbands():
                return 0.0
            counts = image.getchannel(image.getbands()[-1]).histogram()
        return 1 - counts[-1] / max(sum(counts), 1)
    except Exception:  # whatever the decoders raise
        return 0.0


def read_npy(file: str) -> Pixels:
    """Measure the array in a .npy file (never unpickled); `reason` says why it is no image."""
    try:
        _check_file(os.stat(file))  # noqa: PTH116 - a pipe would be waited for
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or array.dtype.kind not in "buif":
            return Pixels(file, reason="it is not an array of numbers with 2 or 3 dimensions")
        return _measure(file, array) if array.size else Pixels(file, reason="the array is empty")
    except Exception as error:  # numpy's header parser raises ValueError, SyntaxError, EOFError, ...
        return Pixels(file, reason=f"{type(error).__name__}: {error}".splitlines()[0])


def _bytes_of(file: str) -> NDArray[np.uint8]:
    """The bytes of a regular file; else ValueError, as for one of more than `MOST_BITS`."""
    with open(os.open(file, READ), "rb", buffering=0) as stream:
        _check_file(os.fstat(stream.fileno()))
        return np.fromfile(stream, np.uint8)


def _check_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MB")


_Decoded = tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]
"""The stored values, 16 bits not yet cut to 8; those that training gets; the alpha that multiplies colours, if any."""


def _opaque(alpha: NDArray[Any] | None) -> float:
    """The mean of alpha as a share of opaque; 1 if there is none."""
    return 1.0 if alpha is None else float(alpha.mean(dtype=np.float64)) / np.iinfo(alpha.dtype).max


def _decode(file: str, data: NDArray[np.uint8], suffix: str, channels: int) -> _Decoded:
    """Decode the bytes of a file as Ultralytics does; else ValueError."""
    import cv2

    flag = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)
    if suffix in _BY_PILLOW:
        from PIL import Image as PILImage

        with PILImage.open(file) as image:
            color = np.asarray(image.convert("RGB"))
        return color, color[..., :1] if channels == 1 else color, None
    band = ""
    if suffix in ("tif", "tiff") and flag != cv2.IMREAD_GRAYSCALE:
        done, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED)
        if done and pages[0].ndim == 3:
            bands = pages[0] if flag == cv2.IMREAD_UNCHANGED else pages[0][..., :3]
            whole = pages[0].dtype == np.uint8
            return bands, bands, alpha_by_which_colours_are_multiplied(data, pages[0]) if whole else None
        alike = len(pages) > 1 and len({page.shape for page in pages}) == 1
        if done and alike and flag == cv2.IMREAD_UNCHANGED:
            bands = np.stack(pages, axis=2)
            return bands, bands, None
        band = f"{pages[0].dtype} pixels with one band" if done else ""
    start = data[:12].tobytes()
    loaded = cv2.imdecode(data, flag | cv2.IMREAD_ANYDEPTH if start.startswith(_PNG) and flag >= 0 else flag)
    if loaded is None:
        raise ValueError(band or "the decoder gives no image")
    known = flag == cv2.IMREAD_UNCHANGED or start.startswith((_PNG, *_BYTES)) or start[8:] == b"WEBP"
    stored = loaded if known else cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if stored is None:
        return loaded, loaded, None
    alpha = None if known else alpha_by_which_colours_are_multiplied(data, stored)
    deep = stored.dtype == np.uint16 or stored.dtype in SIGNED
    return np.asarray(stored if deep else loaded), loaded, alpha


def _measure(file: str, pixels: NDArray[Any]) -> Pixels:
    """Type, shape, range and defective values of an (H, W) or (H, W, C) array."""
    array = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, channels = array.shape
    shape = (int(height), int(width), int(channels))
    if array.dtype == np.uint8 or array.dtype == np.bool_:
        return Pixels(file, str(array.dtype), shape, 0.0, 255.0)
    low, high = float(array.min()), float(array.max())
    found = Pixels(file, str(array.dtype), shape, low, high)
    if np.isfinite(low) and np.isfinite(high) and low >= -HALF_MAX and high <= HALF_MAX:
        return found
    if array.dtype == np.uint16:
        return found
    finite = np.isfinite(array)
    known = array[finite]
    return found._replace(
        low=float(known.min()) if known.size else 0.0,
        high=float(known.max()) if known.size else 0.0,
        nan=_spot(array, np.isnan(array)),
        inf=_spot(array, np.isinf(array)),
        huge=_spot(array, finite & ((array > HALF_MAX) | (array < -HALF_MAX))),
    )


def _spot(array: NDArray[Any], mask: NDArray[np.bool_]) -> Spot | None:
    """Count the marked values and find the first in reading order; None if there is none."""
    count = int(np.count_nonzero(mask))
    if not count:
        return None
    y, x, channel = (int(i) for i in np.unravel_index(int(np.argmax(mask)), array.shape))
    return count, (x, y, channel), float(array[y, x, channel])
