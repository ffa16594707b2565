"""IM: pixels as the model gets them; ordinary files are decoded with --deep only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.decode import HALF_MAX, Pixels, Spot
from yolo_nanfix.dataset.images import Image
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.image_headers import Images, hit

if TYPE_CHECKING:
    from yolo_nanfix.dataset.image_stats import Deep

_WHOLE_BYTE = 255.0
_OPAQUE = 0.99
"""Alpha with at least this mean hardly darkens the colours."""
_DARK = 1 << 14
"""16-bit images whose values stay below this use less than a quarter of the 8 bits that remain."""
LEAST_TAIL = 0.02
"""In a damaged file, an even lower part of at least this share of the height is missing data."""
GREY_TAIL = 0.1
"""The same in a file without other damage, if the part has the grey of missing data."""
_FILLED = range(127, 130)
"""The grey that decoders put where data is missing."""
_SAME = 2
"""Values that differ by at most so much are one colour."""
DARK, BRIGHT = 40, 225
"""Nothing on a very dark image is brighter than the first, nothing on a very bright one darker than the second."""
FLAT = 24
"""Values of an image of low contrast span at most this much of 255."""
BLURRED, BLURRED_CONTRAST = 0.02, 10.0
"""An image with less detail than the first is blurred, if its values deviate by at least the second."""


def _with_pixels(images: tuple[Image, ...]) -> Iterator[tuple[Image, Pixels]]:
    for image in images:
        if image.pixels is not None and image.pixels.dtype:
            yield image, image.pixels


def _floats(images: tuple[Image, ...]) -> Iterator[tuple[Image, Pixels]]:
    """The images that are trained on as float or int numbers, not as bytes."""
    for image, pixels in _with_pixels(images):
        if pixels.dtype.startswith(("float", "int", "uint32", "uint64")) and not pixels.cut:
            yield image, pixels


def _uint16(images: tuple[Image, ...]) -> Iterator[tuple[Image, Pixels]]:
    """The images of 16 bits a sample, of which Ultralytics keeps the upper 8; signed ones if not negative."""
    for image, pixels in _with_pixels(images):
        unsigned = pixels.dtype == "uint16" or (pixels.dtype == "int16" and pixels.cut and pixels.low >= 0)
        if unsigned and image.npy is None:
            yield image, pixels


def _pixels_hit(image: Image, pixels: Pixels, says: str, /, **values: Any) -> Hit:
    """A hit on the decoded file, which may be the .npy beside the image."""
    if pixels.file != image.file:
        says, values = says + "; this .npy is loaded in place of {image}", {**values, "image": image.file}
    return Hit(pixels.file, says, split=image.split, image=image.file, values=values)


def _spot_hit(image: Image, pixels: Pixels, says: str, spot: Spot) -> Hit:
    says += ", the first at x={at[0]}, y={at[1]}, channel {at[2]}"
    return _pixels_hit(image, pixels, says, count=spot[0], at=spot[1])._replace(pixel=spot[1])


def _range_hit(image: Image, pixels: Pixels, says: str, /, **values: Any) -> Hit:
    return _pixels_hit(
        image, pixels, says, dtype=pixels.dtype, low=float(pixels.low), high=float(pixels.high), **values
    )


@rule("IM009", Severity.FATAL, Effect.CRASHES, autofix=unsafe(Operation.QUARANTINE))
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
            says = "cannot be decoded for {channels:channel|channels} ({reason})"
            yield _pixels_hit(image, pixels, says, channels=config.channels, reason=pixels.reason)


@rule("IM010", Severity.FATAL, Effect.CRASHES)
def channel_count(unusual: tuple[Image, ...], config: DataConfig) -> Iterator[Hit]:
    """The image does not have the number of channels that data.yaml gives.

    Why: the first layer of the model expects `channels` inputs; a batch with another count cannot be built.
    Ultralytics: raises a shape error in the first epoch.
    Example: an RGB image in a set with `channels: 6`.
    Fix: correct `channels` in data.yaml, or export the image with all its bands.
    """
    for image, pixels in _with_pixels(unusual):
        if image.npy is None and pixels.shape[2] != config.channels:
            says = "{channels:channel|channels}, but data.yaml says {wanted}"
            yield _pixels_hit(image, pixels, says, channels=pixels.shape[2], wanted=config.channels)


@rule("IM011", Severity.FATAL, Effect.POISONS, autofix=unsafe(Operation.QUARANTINE))
def pixel_nan(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """The image holds pixels that are NaN.

    Why: one NaN pixel makes the loss NaN, and the BatchNorm statistics for the rest of the run.
    Ultralytics: accepts the image, hides it while mosaic is on, and trains to NaN weights or mAP 0.
    Example: a GeoTIFF whose no-data pixels are NaN.
    Fix: replace NaN with a number (0, or the mean of the band) and save the image as 8 bits.
    """
    for image, pixels in _with_pixels(unusual):
        if spot := pixels.nan:
            yield _spot_hit(image, pixels, "{count:NaN pixel value|NaN pixel values}", spot)


@rule("IM012", Severity.FATAL, Effect.POISONS, autofix=unsafe(Operation.QUARANTINE))
def pixel_infinite(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """The image holds infinite pixels.

    Why: infinity turns into NaN in the first convolution or BatchNorm.
    Ultralytics: accepts the image and trains to NaN weights or mAP 0.
    Example: a ratio of two bands with a division by zero.
    Fix: replace infinite values with a number and save the image as 8 bits.
    """
    for image, pixels in _with_pixels(unusual):
        if spot := pixels.inf:
            yield _spot_hit(image, pixels, "{count:infinite pixel value|infinite pixel values}", spot)


@rule("IM013", Severity.FATAL, Effect.POISONS, autofix=unsafe(Operation.QUARANTINE))
def pixel_huge(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """The image holds pixels beyond the range of half precision.

    Why: with AMP pixels are turned to half precision, where they become infinite and then NaN.
    Ultralytics: accepts the image; validation overflows above 65504, training above 65504 * 255.
    Example: -3.4e38, the usual no-data value of float GeoTIFFs.
    Fix: replace no-data values with a number and scale the image to 0-255.
    """
    for image, pixels in _with_pixels(unusual):
        if spot := pixels.huge:
            hit = _spot_hit(image, pixels, "{count:pixel value|pixel values} beyond {most:.0f} ({value:.4g})", spot)
            yield hit._replace(values={**hit.values, "most": HALF_MAX, "value": spot[2]})


@rule("IM014", Severity.ERROR, Effect.GARBAGE)
def pixel_out_of_range(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """Float or int pixels lie outside 0-255.

    Why: inputs are divided by 255 whatever their type, and mosaic writes them into bytes, where they wrap.
    Ultralytics: accepts the image.
    Example: reflectance stored as float32 from 0 to 10000.
    Fix: scale all bands to 0-255 and save them as 8 bits.
    """
    for image, pixels in _floats(unusual):
        if not pixels.huge and (pixels.low < 0 or pixels.high > _WHOLE_BYTE):
            yield _range_hit(image, pixels, "{dtype} pixels from {low:.4g} to {high:.4g}, outside 0-255")


@rule("IM015", Severity.ERROR, Effect.GARBAGE)
def pixels_prescaled(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """Float pixels are already scaled to 0-1.

    Why: they are divided by 255 again, so the model sees black, and mosaic cuts them all to 0.
    Ultralytics: accepts the image.
    Example: a float32 TIFF or .npy with values from 0.0 to 1.0.
    Fix: multiply by 255 and save the image as 8 bits.
    """
    for image, pixels in _floats(unusual):
        if pixels.dtype.startswith("float") and pixels.low >= 0 and 0 < pixels.high <= 1:
            yield _range_hit(image, pixels, "{dtype} pixels from {low:.4g} to {high:.4g}, scaled to 0-1 already")


@rule("IM016", Severity.ERROR, Effect.GARBAGE)
def uint16_black(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """8-bit values are stored in 16 bits.

    Why: only the upper byte of 16-bit pixels is used, which is 0 everywhere: the image is black.
    Ultralytics: accepts the image and trains on black.
    Example: a mask or photograph with values 0-255 saved as a uint16 PNG.
    Fix: save the image as 8 bits.
    """
    for image, pixels in _uint16(unusual):
        if pixels.high <= _WHOLE_BYTE:
            yield _range_hit(image, pixels, "{dtype} pixels up to {high:.0f}: black after the cut to 8 bits")


@rule("IM017", Severity.ERROR, Effect.GARBAGE)
def uint16_dark(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """10-, 12- or 14-bit values are stored in 16 bits.

    Why: only the upper byte of 16-bit pixels is used, so 12-bit data keeps 16 of its 4096 levels.
    Ultralytics: accepts the image and trains on a nearly black one.
    Example: a thermal or X-ray camera with values up to 4095 in a uint16 TIFF.
    Fix: scale the values to 0-65535, or save the image as 8 bits.
    """
    for image, pixels in _uint16(unusual):
        if _WHOLE_BYTE < pixels.high < _DARK:
            says = "{dtype} pixels up to {high:.0f}: at most {most:.0f} after the cut to 8 bits"
            yield _range_hit(image, pixels, says, most=pixels.high // 256)


@rule("IM037", Severity.ERROR, Effect.GARBAGE)
def tiff_alpha_multiplied(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """The decoder multiplies the colours of a TIFF by its alpha channel.

    Why: what is transparent is trained as black, and all else is darkened; no viewer shows it like that.
    Ultralytics: OpenCV has libtiff multiply red, green and blue by alpha if the tag ExtraSamples is 2 (unassociated),
        whatever `channels` is; with 16 bits a sample only if `channels` is 1.
    Example: an RGBA image saved as TIFF by Pillow; red, green, blue and infrared whose fourth band is tagged as alpha.
    Fix: save the image without alpha, or as PNG; if the fourth band is no alpha, write ExtraSamples 0.
    """
    for image, pixels in _with_pixels(unusual):
        if image.npy is None and pixels.alpha < _OPAQUE:
            says = "red, green and blue are multiplied by alpha, which is {alpha:.1%} of opaque on average"
            yield _pixels_hit(image, pixels, says, alpha=pixels.alpha)


@rule("IM038", Severity.ERROR, Effect.GARBAGE)
def signed_pixels_wrap(unusual: tuple[Image, ...]) -> Iterator[Hit]:
    """Negative pixels are read as unsigned ones.

    Why: the order of the values is lost: -1 is trained as 255, and 0 as 0.
    Ultralytics: OpenCV takes the upper byte of 16 bits, and 8 bits, as unsigned.
    Example: hundredths of a degree, heights or Hounsfield units in an int16 TIFF.
    Fix: add an offset and scale the values that matter to 0-255, by one rule for all images; save them as 8 bits.
    """
    for image, pixels in _with_pixels(unusual):
        if pixels.cut and pixels.low < 0:
            shift = 8 if pixels.dtype == "int16" else 0
            first, least, most = (int(value) >> shift & 0xFF for value in (pixels.low, -1, max(pixels.high, 0)))
            says = (
                "{dtype} pixels from {low:.0f} to {high:.0f}: those below zero are trained as {first} to {last} of 255"
            )
            says += ", those from 0 to {high:.0f} as 0 to {most}" if pixels.high >= 0 else ""
            yield _range_hit(image, pixels, says, first=first, last=least, most=most)


def _looked_at(images: Images) -> Iterator[tuple[Image, Deep]]:
    for image in images:
        if image.deep is not None:
            yield image, image.deep


def _ends_early(deep: Deep) -> bool:
    """Whether the lower part of an image is what a decoder fills in for missing data."""
    if deep.damage:
        return deep.tail >= LEAST_TAIL
    return deep.tail >= GREY_TAIL and deep.tail_value in _FILLED and deep.high - deep.low > _SAME


def _contrasty(images: Images) -> Iterator[tuple[Image, Deep]]:
    """The images of more than one colour."""
    for image, deep in _looked_at(images):
        if deep.high - deep.low > _SAME:
            yield image, deep


@rule("IM028", Severity.ERROR, Effect.GARBAGE, deep=True, autofix=unsafe(Operation.QUARANTINE))
def image_damaged_inside(images: Images) -> Iterator[Hit]:
    """A JPEG ends as it should, but its data is damaged.

    Why: behind the damage the picture is shifted, smeared or grey, and labels point at nothing.
    Ultralytics: accepts the image: it checks the end marker only.
    Example: a block of zeros in the middle of the file, from a bad disk or an aborted copy; a progressive JPEG that was
        cut after its first scan and ended.
    Fix: copy or download the image again.
    """
    for image, deep in _looked_at(images):
        if deep.damage and not _ends_early(deep) and image.header.fault != "trailing":
            yield hit(image, "the decoder says: {damage}", damage=deep.damage)


@rule("IM029", Severity.ERROR, Effect.GARBAGE, deep=True, autofix=unsafe(Operation.QUARANTINE))
def image_ends_early(images: Images) -> Iterator[Hit]:
    """The lower part of the image is missing.

    Why: objects there are labelled, but the model sees one even colour.
    Ultralytics: accepts the image.
    Example: a download that broke off, and to which a tool added an end marker, or which it saved again.
    Fix: copy or download the image again.
    """
    for image, deep in _looked_at(images):
        if _ends_early(deep):
            says = "the lower {share:.0%} of the image is one even grey"
            says += " ({damage})" if deep.damage else ""
            yield hit(image, says, share=deep.tail, damage=deep.damage)


@rule("IM030", Severity.WARNING, Effect.ACCEPTS, deep=True)
def image_one_color(images: Images) -> Iterator[Hit]:
    """The image is all black, all white or of one colour.

    Why: there is nothing to see, so labels on it teach noise. Without labels (sea on a map) it is background that
        teaches little: an info.
    Ultralytics: accepts the image.
    Example: a frame from before the camera opened its shutter.
    Fix: remove the image and its label file.
    """
    for image, deep in _looked_at(images):
        if deep.high - deep.low <= _SAME and not (deep.damage and deep.tail == 1):
            colour = "black" if deep.high <= _SAME else "white" if deep.low >= 255 - _SAME else "of one colour"
            yield hit(image, "the image is all {colour}", colour=colour)


@rule("IM031", Severity.INFO, Effect.ACCEPTS, deep=True)
def image_very_dark(images: Images) -> Iterator[Hit]:
    """Nothing on the image is brighter than a sixth of the range.

    Why: little of the range is used; often a sign of values that were never scaled to 8 bits.
    Ultralytics: accepts the image.
    Example: an underexposed night frame; 5-bit data in 8 bits.
    Fix: brighten the image, unless the model will see such images.
    """
    for image, deep in _contrasty(images):
        if deep.high <= DARK:
            says = "all values are at most {high} of 255, on average {mean:.0f}"
            yield hit(image, says, high=deep.high, mean=deep.mean)


@rule("IM032", Severity.INFO, Effect.ACCEPTS, deep=True)
def image_very_bright(images: Images) -> Iterator[Hit]:
    """Nothing on the image is darker than seven eighths of the range.

    Why: the image is overexposed, and hardly anything can be told apart.
    Ultralytics: accepts the image.
    Example: a frame against the sun.
    Fix: remove the image, unless the model will see such images.
    """
    for image, deep in _contrasty(images):
        if deep.low >= BRIGHT:
            says = "all values are at least {low} of 255, on average {mean:.0f}"
            yield hit(image, says, low=deep.low, mean=deep.mean)


@rule("IM033", Severity.INFO, Effect.ACCEPTS, deep=True)
def image_low_contrast(images: Images) -> Iterator[Hit]:
    """The values of the image span less than a tenth of the range.

    Why: objects hardly stand out; fog, a covered lens, or data that was scaled by a wrong window.
    Ultralytics: accepts the image.
    Example: a frame of a camera in fog, with values from 120 to 140.
    Fix: stretch the contrast, unless the model will see such images.
    """
    for image, deep in _contrasty(images):
        if deep.high - deep.low <= FLAT and deep.high > DARK and deep.low < BRIGHT:
            yield hit(image, "all values lie between {low} and {high} of 255", low=deep.low, high=deep.high)


@rule("IM034", Severity.INFO, Effect.ACCEPTS, deep=True)
def image_blurred(images: Images) -> Iterator[Hit]:
    """The image has no detail even at an eighth of its size.

    Why: edges of objects cannot be seen, so boxes around them are guesses.
    Ultralytics: accepts the image.
    Example: a frame that is badly out of focus; only strong blur is found, of some 3 % of the width.
    Fix: remove the image, unless the model will see such images.
    """
    for image, deep in _looked_at(images):
        if deep.deviation >= BLURRED_CONTRAST and 0 < deep.detail < BLURRED:
            says = "sharpness {sharpness:.3f}, where photographs have 0.2 and more"
            yield hit(image, says, sharpness=deep.detail)
