"""IM028 to IM034: what decoding an image tells; asked under --deep only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from yolo_nanfix.dataset.images import Image
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.image_headers import Images, hit

if TYPE_CHECKING:
    from yolo_nanfix.dataset.image_stats import Deep

LEAST_TAIL = 0.02
"""From this share of the height on, an even lower part is what damage left out."""
GREY_TAIL = 0.1
_FILLED = range(127, 130)
"""The grey that decoders put where data is missing."""
_SAME = 2
"""Values that differ by at most so much are one colour."""
DARK, BRIGHT = 40, 225
FLAT = 24
BLURRED, BLURRED_CONTRAST = 0.02, 10.0


def _looked_at(images: Images) -> Iterator[tuple[Image, Deep]]:
    """The images that could be decoded, with what was seen."""
    for image in images:
        if image.deep is not None:
            yield image, image.deep


def _ends_early(deep: Deep) -> bool:
    """Whether the lower part of an image is what a decoder puts in place of missing data."""
    if deep.damage:
        return deep.tail >= LEAST_TAIL
    return deep.tail >= GREY_TAIL and deep.tail_value in _FILLED and deep.high - deep.low > _SAME


def _contrasty(images: Images) -> Iterator[tuple[Image, Deep]]:
    """The images of more than one colour."""
    for image, deep in _looked_at(images):
        if deep.high - deep.low > _SAME:
            yield image, deep


@rule("IM028", "image-damaged-inside", Severity.ERROR, Effect.GARBAGE, deep=True)
def image_damaged_inside(images: Images) -> Iterator[Hit]:
    """A JPEG ends as it should, but its data is damaged.

    Why: from the damage on the picture is shifted, smeared or grey, and labels point at nothing.
    Ultralytics: accepts the image, for it looks at the end marker alone.
    Example: a block of zeros in the middle of the file, from a bad disk or an aborted copy; a progressive JPEG that was
        cut after its first scan and ended.
    Fix: copy or download the image again.
    """
    for image, deep in _looked_at(images):
        if deep.damage and not _ends_early(deep) and image.header.fault != "trailing":
            yield hit(image, f"the decoder says: {deep.damage}")


@rule("IM029", "image-ends-early", Severity.ERROR, Effect.GARBAGE, deep=True)
def image_ends_early(images: Images) -> Iterator[Hit]:
    """The lower part of the image is missing.

    Why: objects there are labelled, but the model sees one even colour.
    Ultralytics: accepts the image.
    Example: a download that broke off, to which a tool put an end marker, or which it saved again.
    Fix: copy or download the image again.
    """
    for image, deep in _looked_at(images):
        if _ends_early(deep):
            said = f" ({deep.damage})" if deep.damage else ""
            yield hit(image, f"the lower {deep.tail:.0%} of the image is one even grey{said}")


@rule("IM030", "image-one-color", Severity.WARNING, Effect.ACCEPTS, deep=True)
def image_one_color(images: Images) -> Iterator[Hit]:
    """The image is all black, all white or of one colour.

    Why: there is nothing to see, so labels on it teach noise. Without labels, as sea on a map, it is background
        that teaches little: an info.
    Ultralytics: accepts the image.
    Example: a frame from before the camera opened its shutter.
    Fix: remove the image and its label file.
    """
    for image, deep in _looked_at(images):
        if deep.high - deep.low <= _SAME and not (deep.damage and deep.tail == 1):
            name = "black" if deep.high <= _SAME else "white" if deep.low >= 255 - _SAME else "of one colour"
            yield hit(image, f"the image is all {name}")


@rule("IM031", "image-very-dark", Severity.INFO, Effect.ACCEPTS, deep=True)
def image_very_dark(images: Images) -> Iterator[Hit]:
    """Nothing on the image is brighter than a sixth of the range.

    Why: little of the range is used; often the sign of values that were never scaled to 8 bits.
    Ultralytics: accepts the image.
    Example: an underexposed night frame; 5-bit data in 8 bits.
    Fix: brighten the image, unless the model will see such images.
    """
    for image, deep in _contrasty(images):
        if deep.high <= DARK:
            yield hit(image, f"all values are at most {deep.high} of 255, on average {deep.mean:.0f}")


@rule("IM032", "image-very-bright", Severity.INFO, Effect.ACCEPTS, deep=True)
def image_very_bright(images: Images) -> Iterator[Hit]:
    """Nothing on the image is darker than seven eighths of the range.

    Why: the image is overexposed, and hardly anything can be told apart.
    Ultralytics: accepts the image.
    Example: a frame against the sun.
    Fix: remove the image, unless the model will see such images.
    """
    for image, deep in _contrasty(images):
        if deep.low >= BRIGHT:
            yield hit(image, f"all values are at least {deep.low} of 255, on average {deep.mean:.0f}")


@rule("IM033", "image-low-contrast", Severity.INFO, Effect.ACCEPTS, deep=True)
def image_low_contrast(images: Images) -> Iterator[Hit]:
    """The values of the image span less than a tenth of the range.

    Why: objects hardly stand out; fog, a covered lens, or data that was scaled by a wrong window.
    Ultralytics: accepts the image.
    Example: a frame of a camera in fog, with values from 120 to 140.
    Fix: stretch the contrast, unless the model will see such images.
    """
    for image, deep in _contrasty(images):
        if deep.high - deep.low <= FLAT and deep.high > DARK and deep.low < BRIGHT:
            yield hit(image, f"all values lie between {deep.low} and {deep.high} of 255")


@rule("IM034", "image-blurred", Severity.INFO, Effect.ACCEPTS, deep=True)
def image_blurred(images: Images) -> Iterator[Hit]:
    """The image has no detail even at an eighth of its size.

    Why: edges of objects cannot be seen, so boxes around them are guesses.
    Ultralytics: accepts the image.
    Example: a frame that is badly out of focus; only strong blur is told, of some 3 % of the width.
    Fix: remove the image, unless the model will see such images.
    """
    for image, deep in _looked_at(images):
        if deep.deviation >= BLURRED_CONTRAST and 0 < deep.detail < BLURRED:
            yield hit(image, f"sharpness {deep.detail:.3f}, where photographs have 0.2 and more")
