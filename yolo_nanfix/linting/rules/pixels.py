"""IM009 to IM038: pixels as they reach the model. Only files whose header leaves them open are decoded."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.decode import HALF_MAX, Pixels, Spot
from yolo_nanfix.dataset.images import Image
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule

_WHOLE_BYTE = 255.0
_OPAQUE = 0.99
"""Alpha of this mean and more takes hardly anything from the colours."""
_DARK = 1 << 14
"""16-bit images whose values stay below this use less than a quarter of the 8 bits that remain."""


def _decoded(images: tuple[Image, ...]) -> Iterator[tuple[Image, Pixels]]:
    """The images with pixels that could be decoded."""
    for image in images:
        if image.pixels is not None and image.pixels.dtype:
            yield image, image.pixels


def _floats(images: tuple[Image, ...]) -> Iterator[tuple[Image, Pixels]]:
    """The images that are trained on as float or int numbers, not as bytes."""
    for image, pixels in _decoded(images):
        if pixels.dtype.startswith(("float", "int", "uint32", "uint64")) and not pixels.cut:
            yield image, pixels


def _uint16(images: tuple[Image, ...]) -> Iterator[tuple[Image, Pixels]]:
    """The images of 16 bits a sample, of which Ultralytics keeps the upper 8; of signed ones those without a sign."""
    for image, pixels in _decoded(images):
        unsigned = pixels.dtype == "uint16" or (pixels.dtype == "int16" and pixels.cut and pixels.low >= 0)
        if unsigned and image.npy is None:
            yield image, pixels


def _hit(image: Image, pixels: Pixels, message: str, spot: Spot | None = None) -> Hit:
    """A hit on the decoded file, which may be the .npy beside the image."""
    if pixels.file != image.file:
        message += f"; this .npy is loaded in place of {image.file}"
    return Hit(pixels.file, message, pixel=spot.at if spot else None, split=image.split, image=image.file)


def _where(spot: Spot) -> str:
    """The place of the first bad value in words."""
    x, y, channel = spot.at
    return f"the first at x={x}, y={y}, channel {channel}"


@rule("IM009", "image-undecodable", Severity.FATAL, Effect.CRASHES)
def image_undecodable(unusual: tuple[Image, ...], config: DataConfig) -> Iterator[Hit]:
    """The check at start takes the image, but the decoder used in training gives no image.

    Why: training stops in the first epoch, at a random batch.
    Ultralytics: raises FileNotFoundError ("Image Not Found") although the file is there.
    Example: a float32 or int32 TIFF with one band in a set with `channels: 3`.
    Fix: convert the image to 8-bit PNG or JPEG, or remove it.
    """
    for image in unusual:
        pixels = image.pixels
        if pixels is not None and image.npy is None and not pixels.dtype:
            yield _hit(image, pixels, f"cannot be decoded for {config.channels} channels ({pixels.reason})")


@rule("IM010", "channel-count", Severity.FATAL, Effect.CRASHES)
def channel_count(unusual: tuple[Image, ...], config: DataConfig) -> Iterator[Hit]:
    """The image does not have the number of channels that data.yaml gives.

    Why: the first layer of the model expects `channels` inputs; a batch with another count cannot be built.
    Ultralytics: raises a shape error in the first epoch.
    Example: an RGB image in a set with `channels: 6`.
    Fix: correct `channels` in data.yaml, or export the image with all its bands.
    """
    for image, pixels in _decoded(unusual):
        if image.npy is None and pixels.shape[2] != config.channels:
            yield _hit(image, pixels, f"{pixels.shape[2]} channels, but data.yaml says {config.channels}")


@rule("IM011", "pixel-nan", Severity.FATAL, Effect.POISONS)
def pixel_nan(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """The image holds pixels that are NaN.

    Why: one NaN pixel makes the loss and the BatchNorm statistics NaN, for ever if no one notices.
    Ultralytics: accepts the image, hides it while mosaic is on, and trains to NaN weights or mAP 0.
    Example: a GeoTIFF whose no-data pixels are NaN.
    Fix: replace NaN with a number (0, or the mean of the band) and save the image as 8 bits.
    """
    for image, pixels in _decoded(unusual):
        if spot := pixels.nan:
            yield _hit(image, pixels, f"{spot.total} NaN pixel values, {_where(spot)}", spot)


@rule("IM012", "pixel-infinite", Severity.FATAL, Effect.POISONS)
def pixel_infinite(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """The image holds infinite pixels.

    Why: infinity turns into NaN in the first convolution or BatchNorm.
    Ultralytics: accepts the image and trains to NaN weights or mAP 0.
    Example: a ratio of two bands with a division by zero.
    Fix: replace infinite values with a number and save the image as 8 bits.
    """
    for image, pixels in _decoded(unusual):
        if spot := pixels.inf:
            yield _hit(image, pixels, f"{spot.total} infinite pixel values, {_where(spot)}", spot)


@rule("IM013", "pixel-huge", Severity.FATAL, Effect.POISONS)
def pixel_huge(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """The image holds pixels beyond the range of half precision.

    Why: with AMP pixels are turned to half precision, where they become infinite and then NaN.
    Ultralytics: accepts the image; validation overflows above 65504, training above 65504 * 255.
    Example: -3.4e38, the usual no-data value of float GeoTIFFs.
    Fix: replace no-data values with a number and scale the image to 0-255.
    """
    for image, pixels in _decoded(unusual):
        if spot := pixels.huge:
            message = f"{spot.total} pixel values beyond {HALF_MAX:.0f}, {_where(spot)}: {spot.value:.4g}"
            yield _hit(image, pixels, message, spot)


@rule("IM014", "pixel-out-of-range", Severity.ERROR, Effect.GARBAGE)
def pixel_out_of_range(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """Float or int pixels lie outside 0-255.

    Why: inputs are divided by 255 whatever they are, and mosaic writes them into bytes, where they wrap.
    Ultralytics: accepts the image.
    Example: reflectance stored as float32 from 0 to 10000.
    Fix: scale all bands to 0-255 and save them as 8 bits.
    """
    for image, pixels in _floats(unusual):
        if not pixels.huge and (pixels.low < 0 or pixels.high > _WHOLE_BYTE):
            message = f"{pixels.dtype} pixels from {pixels.low:.4g} to {pixels.high:.4g}, outside 0-255"
            yield _hit(image, pixels, message)


@rule("IM015", "pixels-prescaled", Severity.ERROR, Effect.GARBAGE)
def pixels_prescaled(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """Float pixels are scaled to 0-1 already.

    Why: they are divided by 255 once more, so the model sees black, and mosaic cuts them all to 0.
    Ultralytics: accepts the image.
    Example: a float32 TIFF or .npy with values from 0.0 to 1.0.
    Fix: multiply by 255 and save the image as 8 bits.
    """
    for image, pixels in _floats(unusual):
        if pixels.dtype.startswith("float") and pixels.low >= 0 and 0 < pixels.high <= 1:
            message = f"{pixels.dtype} pixels from {pixels.low:.4g} to {pixels.high:.4g}, scaled to 0-1 already"
            yield _hit(image, pixels, message)


@rule("IM016", "uint16-black", Severity.ERROR, Effect.GARBAGE)
def uint16_black(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """8-bit values are stored in 16 bits.

    Why: only the upper byte of 16-bit pixels is used, and here it is 0 everywhere: the image is black.
    Ultralytics: accepts the image and trains on black.
    Example: a mask or photograph with values 0-255 saved as a uint16 PNG.
    Fix: save the image as 8 bits.
    """
    for image, pixels in _uint16(unusual):
        if pixels.high <= _WHOLE_BYTE:
            yield _hit(image, pixels, f"{pixels.dtype} pixels up to {pixels.high:.0f}: black after the cut to 8 bits")


@rule("IM017", "uint16-dark", Severity.ERROR, Effect.GARBAGE)
def uint16_dark(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """10-, 12- or 14-bit values are stored in 16 bits.

    Why: only the upper byte of 16-bit pixels is used, so 12-bit data keeps 16 of its 4096 levels.
    Ultralytics: accepts the image and trains on a nearly black one.
    Example: a thermal or X-ray camera with values up to 4095 in a uint16 TIFF.
    Fix: scale the values to 0-65535, or save the image as 8 bits.
    """
    for image, pixels in _uint16(unusual):
        if _WHOLE_BYTE < pixels.high < _DARK:
            left = pixels.high // 256
            message = f"{pixels.dtype} pixels up to {pixels.high:.0f}: at most {left:.0f} after the cut to 8 bits"
            yield _hit(image, pixels, message)


@rule("IM037", "tiff-alpha-multiplied", Severity.ERROR, Effect.GARBAGE)
def tiff_alpha_multiplied(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """A TIFF has an alpha channel by which its colours are multiplied when it is decoded.

    Why: what is transparent is trained as black, and all else is darkened; no viewer shows it like that.
    Ultralytics: OpenCV has libtiff multiply red, green and blue by alpha if the tag ExtraSamples is 2 (unassociated),
        whatever `channels` is; of 16 bits a sample only with `channels: 1`.
    Example: an RGBA image saved as TIFF by Pillow; red, green, blue and infrared whose fourth band is tagged as alpha.
    Fix: save the image without alpha, or as PNG; with a fourth band that is no alpha, write ExtraSamples 0.
    """
    for image, pixels in _decoded(unusual):
        if image.npy is None and pixels.alpha < _OPAQUE:
            message = f"red, green and blue are multiplied by alpha, which is {pixels.alpha:.1%} of opaque on average"
            yield _hit(image, pixels, message)


@rule("IM038", "signed-pixels-wrap", Severity.ERROR, Effect.GARBAGE)
def signed_pixels_wrap(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """Pixels below zero are read as if they had no sign.

    Why: the order of the values is lost: -1 is trained as 255, and 0 as 0.
    Ultralytics: OpenCV takes the upper byte of 16 bits as it stands, and 8 bits as they stand.
    Example: hundredths of a degree, heights or Hounsfield units in an int16 TIFF.
    Fix: add an offset and scale the values that matter to 0-255, by one rule for all images; save them as 8 bits.
    """
    for image, pixels in _decoded(unusual):
        if pixels.cut and pixels.low < 0:
            shift = 8 if pixels.dtype == "int16" else 0
            first, least, most = (int(value) >> shift & 0xFF for value in (pixels.low, -1, max(pixels.high, 0)))
            above = f", those from 0 to {pixels.high:.0f} as 0 to {most}" if pixels.high >= 0 else ""
            message = f"{pixels.dtype} pixels from {pixels.low:.0f} to {pixels.high:.0f}"
            yield _hit(image, pixels, f"{message}: those below zero are trained as {first} to {least} of 255{above}")
