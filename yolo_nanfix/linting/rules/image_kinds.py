"""IM020 to IM027: sound images of a kind that Ultralytics changes without a word when it loads them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.decode import transparent
from yolo_nanfix.dataset.fates import MIN_SIDE
from yolo_nanfix.dataset.image_header import QUARTER, TURNING, Header, still_apart, turn_of
from yolo_nanfix.dataset.images import Image
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.file_set import some
from yolo_nanfix.linting.rules.image_headers import Images, hit

WIDEST = 10.0
"""A longer side of more than so many times the shorter one is told."""
ALPHA_LOOKED_AT = 32
"""Of so many images with alpha, spread over the set, the alpha is decoded where --deep does not decode all."""
LARGEST_DECODED = 50_000_000
"""The alpha of images of more pixels is not decoded."""
LEAST_CLEAR = 0.001
"""A smaller share of transparent pixels is the rounded corners of a screenshot."""
_DROPPED_ALPHA = (1, 3)
"""Channel counts for which Ultralytics loads images without alpha."""
_TURNS = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "flipped upside down",
    5: "mirrored and turned left",
    6: "turned right",
    7: "mirrored and turned right",
    8: "turned left",
}


def _taken(images: Images) -> Iterator[tuple[Image, Header]]:
    """The images that Ultralytics does not drop, with their headers."""
    for image in images:
        if image.header.fault in ("", "trailing"):
            yield image, image.header


@rule("IM020", "exif-turned", Severity.INFO, Effect.ACCEPTS)
def exif_turned(unusual: Images, config: DataConfig) -> Iterator[Hit]:
    """EXIF says that the image is to be turned or mirrored before it is shown.

    Why: labels fit only if the tool in which they were drawn turned the image, too; many do not.
    Ultralytics: trains on the turned image; if `channels` is not 1 or 3, of most formats only the size is turned.
    Example: a photograph of a phone that was held upright (orientation 6).
    Fix: look at some of these images with their labels; if they do not fit, remove the EXIF tag.
    """
    for image, header in _taken(unusual):
        if header.turn > 1:
            if turn_of(header, config.channels) > 1:
                done = f"it is trained on {_TURNS[header.turn]}"
            elif config.channels in TURNING:
                done = "this OpenCV does not turn WebP, later ones do"
            else:
                size = ", but its size is" if header.turn >= QUARTER else ""
                done = f"it is not turned for {config.channels} channels{size}"
            yield hit(image, f"orientation {header.turn} of EXIF: {done}")


@rule("IM021", "color-cmyk", Severity.INFO, Effect.ACCEPTS)
def color_cmyk(unusual: Images) -> Iterator[Hit]:
    """The image is stored in printing colours.

    Why: the decoder turns CMYK into RGB without a colour profile, so colours differ from what viewers show.
    Ultralytics: converts it without a word.
    Example: a photograph taken from a print layout.
    Fix: convert the image to RGB with its profile.
    """
    for image, header in _taken(unusual):
        if header.mode == "CMYK":
            yield hit(image, "the colours are CMYK, which is converted without a colour profile")


@rule("IM022", "color-palette", Severity.INFO, Effect.ACCEPTS)
def color_palette(unusual: Images) -> Iterator[Hit]:
    """The image has a palette, or one bit a pixel.

    Why: photographs lose shades in a palette, and a palette is often the sign of a mask among the images.
    Ultralytics: trains on the colours of the palette.
    Example: a mask of class numbers saved among the images; a GIF turned to PNG.
    Fix: check that it is no mask; else nothing.
    """
    for image, header in _taken(unusual):
        if header.mode in ("P", "PA", "1"):
            kind = "one bit a pixel, black or white" if header.mode == "1" else "a palette of at most 256 colours"
            yield hit(image, f"{kind}; is it a mask?")


@rule("IM023", "alpha-dropped", Severity.INFO, Effect.ACCEPTS)
def alpha_dropped(table: Table, config: DataConfig, options: LintOptions) -> Iterator[Hit]:
    """Images of a folder have transparent pixels, and alpha is dropped.

    Why: where an image is transparent, the model sees whatever colour lies below: black, white or noise.
    Ultralytics: drops alpha with 1 or 3 channels; an alpha channel that is opaque everywhere does no harm.
    Example: cut-out products on a transparent ground, saved as PNG.
    Fix: put the images on the ground that they shall be seen on, or set `channels: 4` if all images have alpha.
    """
    if config.channels not in _DROPPED_ALPHA or not table.alpha.any():
        return
    there = np.flatnonzero(table.alpha & (table.width.astype(np.int64) * table.height <= LARGEST_DECODED))
    if not options.deep and len(there) > ALPHA_LOOKED_AT:
        there = there[np.linspace(0, len(there) - 1, ALPHA_LOOKED_AT).astype(np.int64)]
    looked: Counter[str] = Counter()
    clear: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for image in there.tolist():
        folder = table.files[image].rpartition(os.sep)[0]
        looked[folder] += 1
        if (share := transparent(table.files[image])) >= LEAST_CLEAR:
            clear[folder].append((share, image))
    for folder, found in clear.items():
        share, image = max(found)
        where = some(table.files[i] for _, i in found)
        message = (
            f"{len(found)} of {looked[folder]} images with alpha that were looked at are transparent in part, "
            f"up to {share:.0%}; what lies below is trained on: {where}"
        )
        yield Hit(folder, message, split=table.split_of(image))


@rule("IM024", "grey-in-color-set", Severity.INFO, Effect.ACCEPTS)
def grey_in_color_set(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Grey images in a set of 3 channels.

    Why: a model for grey images alone can have one channel; a few among colours may come from another source.
    Ultralytics: repeats the one band three times.
    Example: X-ray images saved as grey PNG, in a data.yaml without `channels`.
    Fix: set `channels: 1` if all images are grey; else nothing.
    """
    if config.channels != 3 or not table.files:
        return
    grey = [table.files[i] for i in np.flatnonzero(table.grey).tolist()]
    if grey:
        message = f"{len(grey)} of {len(table.files)} images are grey: {some(grey)}"
        yield Hit(str(Path(grey[0]).parent), message)


@rule("IM025", "more-than-8-bits", Severity.INFO, Effect.REWRITES)
def more_than_8_bits(unusual: Images) -> Iterator[Hit]:
    """The image has 9 to 16 bits a sample.

    Why: training sees 256 levels, and what is stored beyond is lost; IM016 and IM017 tell where hardly any is left.
    Ultralytics: keeps the upper 8 of 16 bits.
    Example: a 16-bit PNG of a thermal camera.
    Fix: scale the values that matter to 8 bits once, by a window of your choice.
    """
    for image, header in _taken(unusual):
        if 8 < header.bits <= 16:
            yield hit(image, f"{header.bits} bits a sample; training sees 8")


@rule("IM026", "several-frames", Severity.INFO, Effect.ACCEPTS)
def several_frames(unusual: Images, config: DataConfig) -> Iterator[Hit]:
    """The file holds several frames or pages, of which one is trained on.

    Why: all but the first frame are never seen, and labels may have been drawn on another one.
    Ultralytics: loads the first (of an animated PNG from OpenCV 4.11 on); pages of a TIFF become channels only if
        `channels` is neither 1 nor 3.
    Example: an animated WebP, a scan of several pages, a phone's JPEG with a depth image behind it.
    Fix: save each frame that is to be trained on as an image of its own.
    """
    for image, header in _taken(unusual):
        if header.frames > 1 and (header.format != "TIFF" or config.channels in _DROPPED_ALPHA):
            which = "only the first is trained on"
            if header.format == "PNG" and still_apart(image.file):
                which += "; the still picture, which Pillow and many viewers show, is none of them"
            yield hit(image, f"{header.frames} frames or pages ({header.format}); {which}")


@rule("IM027", "extreme-aspect", Severity.INFO, Effect.ACCEPTS)
def extreme_aspect(unusual: Images) -> Iterator[Hit]:
    """One side of the image is more than ten times the other.

    Why: the longer side is scaled to the training size, so the shorter one keeps a handful of pixels.
    Ultralytics: scales the image and pads it.
    Example: a panorama or a text line of 3000x120 pixels.
    Fix: cut the image into tiles.
    """
    for image, header in _taken(unusual):
        short, long = sorted((header.width, header.height))
        if long > WIDEST * short and short >= MIN_SIDE and header.fault in ("", "trailing"):
            yield hit(image, f"{header.width}x{header.height} pixels, one side {long / short:.0f} times the other")
