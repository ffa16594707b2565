"""IM: image files, by their headers."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.decode import too_large, transparent
from yolo_nanfix.dataset.fates import ACCEPTED, MIN_SIDE
from yolo_nanfix.dataset.image_header import BOMB_PIXELS, QUARTER, TURNING, Header, chunks, still_apart, turn_of
from yolo_nanfix.dataset.images import LONGEST_SIDE, Image
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import SUFFIX_FORMATS
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.file_set import some

Images = Iterable[Image]
WIDEST = 10.0
"""Longer sides of more than this many times the shorter one are reported."""
ALPHA_LOOKED_AT = 32
"""The alpha of at most this many images, spread over the set, is decoded; of all of them with --deep."""
LARGEST_DECODED = 50_000_000
"""The alpha of images with more pixels is not decoded."""
LEAST_CLEAR = 0.001
"""A smaller share of transparent pixels does not count: the rounded corners of a screenshot."""
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
PNGS_LOOKED_AT = 400
"""At most this many colour PNGs, spread over the set, are read: enough to see whether they are of two kinds."""
_LINEAR, _NEAR = 100_000, 5_000
"""A gamma of 1 in a gAMA chunk, and how near to it (5 %) libpng treats a gamma as 1."""


def hit(image: Image, says: str, /, **values: Any) -> Hit:
    """A hit on the image file itself."""
    return Hit(image.file, says, split=image.split, image=image.file, values=values)


def _spread(found: list[int], most: int) -> list[int]:
    """At most so many of some images, spread over all."""
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, most).astype(np.int64))] if found else []


def _taken(images: Images) -> Iterator[tuple[Image, Header]]:
    """The images that Ultralytics does not drop for their header, with it."""
    for image in images:
        if image.header.fault in ("", "trailing"):
            yield image, image.header


def _with_fault(images: Images, fault: str, says: str) -> Iterator[Hit]:
    for image in images:
        if image.header.fault == fault:
            yield hit(image, says, reason=image.header.reason)


@rule("IM001", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.QUARANTINE))
def image_unreadable(unusual: Images) -> Iterator[Hit]:
    """The file is not an image that Pillow can open.

    Why: the image and all its labels are missing from training.
    Ultralytics: drops the image with one line in the log, after an attempt to install a HEIF reader.
    Example: a BMP whose header names a compression that does not exist.
    Fix: export or download the image again, or remove it from the dataset.
    """
    yield from _with_fault(unusual, "unreadable", "cannot be opened as an image ({reason})")


@rule("IM002", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.QUARANTINE))
def image_empty(unusual: Images) -> Iterator[Hit]:
    """The file has no bytes.

    Why: the image and all its labels are missing from training; usually a copy or download broke off.
    Ultralytics: drops the image with one line in the log.
    Example: a JPEG of 0 bytes after a full disk.
    Fix: copy or download the image again.
    """
    yield from _with_fault(unusual, "empty", "the file has 0 bytes")


@rule("IM003", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.COMPLETE))
def image_truncated(unusual: Images) -> Iterator[Hit]:
    """The image data breaks off or is damaged.

    Why: the image and all its labels are missing from training.
    Ultralytics: drops the image with one line in the log.
    Example: a PNG without its IEND chunk, a JPEG cut in the middle.
    Fix: copy or download the image again.
    """
    yield from _with_fault(unusual, "truncated", "the image data is damaged or breaks off ({reason})")


@rule("IM004", Severity.ERROR, Effect.REWRITES, autofix=unsafe(Operation.END))
def jpeg_trailing_bytes(unusual: Images) -> Iterator[Hit]:
    """A JPEG that decodes does not end at its end marker.

    Why: your original file is replaced by a re-encoded one: metadata is lost and the pixels change.
    Ultralytics: writes the decoded image over the file at quality 100 ("corrupt JPEG restored and saved").
    Example: a camera that appends a thumbnail or padding behind the image.
    Fix: keep a copy of the originals, or strip the bytes behind the end marker FF D9.
    """
    yield from _with_fault(unusual, "trailing", "the JPEG decodes, but does not end at its end marker FF D9")


@rule("IM005", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.QUARANTINE))
def image_under_ten_pixels(unusual: Images) -> Iterator[Hit]:
    """A side of the image has fewer than 10 pixels.

    Why: the image and all its labels are missing from training.
    Ultralytics: drops the image with one line in the log.
    Example: a thumbnail of 8x8 pixels among photographs.
    Fix: remove the image, or replace it with the full-size one.
    """
    for image, header in _taken(unusual):
        if min(header.width, header.height) < MIN_SIDE:
            says = "the image is {size[0]}x{size[1]} pixels; each side needs at least {least}"
            yield hit(image, says, size=(header.width, header.height), least=MIN_SIDE)


@rule("IM006", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.QUARANTINE))
def format_not_supported(unusual: Images) -> Iterator[Hit]:
    """The content is of an image format that Ultralytics does not train on.

    Why: the suffix is accepted, the content is not, so the image is missing from training.
    Ultralytics: drops the image with one line in the log ("Invalid image format GIF").
    Example: a GIF saved under the name cat.jpg.
    Fix: convert the image to JPEG or PNG.
    """
    for image, header in _taken(unusual):
        if header.format and header.format not in ACCEPTED:
            yield hit(image, "the content is {format}, which Ultralytics does not take", format=header.format)


@rule("IM007", Severity.WARNING, Effect.ACCEPTS, autofix=unsafe(Operation.RENAME))
def content_against_suffix(unusual: Images) -> Iterator[Hit]:
    """The content is of another format than the suffix says.

    Why: tools that trust the suffix fail on the file, and some decoders depend on the suffix.
    Ultralytics: usually decodes it by content; multi-band TIFF only under its own suffix.
    Example: PNG or WebP bytes under the name 12.jpg.
    Fix: give the file the suffix of its content; its label file stays as it is.
    """
    for image, header in _taken(unusual):
        if header.format in ACCEPTED and header.format not in SUFFIX_FORMATS[image.suffix]:
            says = "the suffix is .{suffix}, but the content is {format}"
            yield hit(image, says, suffix=image.suffix, format=header.format)


@rule("IM008", Severity.INFO, Effect.ACCEPTS)
def pixel_count_huge(images: Images, unusual: Images, config: DataConfig) -> Iterator[Hit]:
    """The image has more pixels than Pillow considers safe.

    Why: decoding takes gigabytes for each worker, and it is scaled down to the training size anyway.
    Ultralytics: decodes the whole image in each epoch; Pillow warns of a decompression bomb.
    Example: a scan of 12000x9000 pixels.
    Fix: cut the image into tiles, or scale it down once.
    """
    pillow = sys.modules.get("PIL.Image")  # until it is loaded, nobody has changed its limit
    limit: int | None = pillow.MAX_IMAGE_PIXELS if pillow else BOMB_PIXELS // 2
    for image, header in _taken(unusual if limit is None or limit >= LONGEST_SIDE**2 else images):
        count = header.width * header.height * header.frames
        if too_large(header) or (limit is not None and count > limit):
            says = "{millions:.0f} million pixels"
            says += " in {pages} pages" if header.frames > 1 else ""
            says += "; decoded to {gigabytes:.1f} GB"
            says += "; its pixels were not looked at" if too_large(header) else ""
            values = {"millions": count / 1e6, "gigabytes": count * config.channels / 1e9, "pages": header.frames}
            yield hit(image, says, **values)


@rule("IM018", Severity.ERROR, Effect.DROPS)
def decompression_bomb(unusual: Images) -> Iterator[Hit]:
    """The header claims more pixels than Pillow opens.

    Why: the image and all its labels are missing from training; a file of some kilobytes can claim terabytes.
    Ultralytics: drops the image with one line in the log (DecompressionBombError).
    Example: a map of 30000x20000 pixels, or a damaged header.
    Fix: cut the image into tiles, or scale it down; lint never decodes it.
    """
    for image in unusual:
        if image.header.fault == "bomb":
            says = "more than {millions:.0f} million pixels ({reason})"
            yield hit(image, says, millions=BOMB_PIXELS / 1e6, reason=image.header.reason)


@rule("IM019", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.QUARANTINE))
def not_an_image(unusual: Images) -> Iterator[Hit]:
    """A file with the name of an image is not an image.

    Why: the image and all its labels are missing from training; usually a download returned an error page.
    Ultralytics: drops the image with one line in the log, after an attempt to install a HEIF reader.
    Example: a web page saved under the name street.jpg, or a Git LFS pointer.
    Fix: download the image again; for pointers run `git lfs pull`.
    """
    yield from _with_fault(unusual, "foreign", "no image: {reason}")


@rule("IM020", Severity.INFO, Effect.ACCEPTS)
def exif_turned(unusual: Images, config: DataConfig) -> Iterator[Hit]:
    """EXIF says that the image is to be rotated or mirrored before it is shown.

    Why: labels fit only if the tool in which they were drawn rotated the image, too; many do not.
    Ultralytics: trains on the rotated image; if `channels` is not 1 or 3, it rotates only the size of most formats.
    Example: a photograph of a phone that was held upright (orientation 6).
    Fix: look at some of these images with their labels; if they do not fit, remove the EXIF tag.
    """
    for image, header in _taken(unusual):
        if header.turn > 1:
            turned = turn_of(header, config.channels) > 1
            if turned:
                says = "orientation {orientation} of EXIF: it is trained on {turn}"
            elif config.channels in TURNING:
                says = "orientation {orientation} of EXIF: this OpenCV does not rotate WebP, later ones do"
            else:
                says = "orientation {orientation} of EXIF: it is not rotated for {channels:channel|channels}"
                says += ", but its size is" if header.turn >= QUARTER else ""
            values = {"orientation": header.turn, "turn": _TURNS[header.turn], "channels": config.channels}
            yield hit(image, says, **values, turned=turned)


@rule("IM021", Severity.INFO, Effect.ACCEPTS)
def color_cmyk(unusual: Images) -> Iterator[Hit]:
    """The colours of the image are CMYK, as for printing.

    Why: the decoder converts CMYK to RGB without a colour profile, so colours differ from what viewers show.
    Ultralytics: converts it silently.
    Example: a photograph taken from a print layout.
    Fix: convert the image to RGB with its profile.
    """
    for image, header in _taken(unusual):
        if header.mode == "CMYK":
            yield hit(image, "the colours are CMYK, which is converted without a colour profile")


@rule("IM022", Severity.INFO, Effect.ACCEPTS)
def color_palette(unusual: Images) -> Iterator[Hit]:
    """The image has a palette, or one bit a pixel.

    Why: photographs lose shades in a palette, and a palette is often the sign of a mask among the images.
    Ultralytics: trains on the colours of the palette.
    Example: a mask of class numbers saved among the images; a GIF converted to PNG.
    Fix: check that it is no mask; else nothing.
    """
    for image, header in _taken(unusual):
        if header.mode in ("P", "PA", "1"):
            bit = "one bit a pixel, black or white; is it a mask?"
            says = bit if header.mode == "1" else "a palette of at most 256 colours; is it a mask?"
            yield hit(image, says, mode=header.mode)


@rule("IM023", Severity.INFO, Effect.ACCEPTS)
def alpha_dropped(table: Table, config: DataConfig, options: LintOptions) -> Iterator[Hit]:
    """Images of a folder have transparent pixels, and alpha is dropped.

    Why: where an image is transparent, the model sees whatever colour is stored: black, white or noise.
    Ultralytics: drops alpha with 1 or 3 channels; an alpha channel that is opaque everywhere does no harm.
    Example: cut-out products on a transparent background, saved as PNG.
    Fix: put the images on a suitable background, or set `channels: 4` if all images have alpha.
    """
    if config.channels not in _DROPPED_ALPHA or not table.alpha.any():
        return
    sample = np.flatnonzero(table.alpha & (table.width.astype(np.int64) * table.height <= LARGEST_DECODED)).tolist()
    looked: Counter[str] = Counter()
    clear: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for image in sample if options.deep else _spread(sample, ALPHA_LOOKED_AT):
        folder = table.files[image].rpartition(os.sep)[0]
        looked[folder] += 1
        if (share := transparent(table.files[image])) >= LEAST_CLEAR:
            clear[folder].append((share, image))
    for folder, found in clear.items():
        share, image = max(found)
        says = (
            "{images} of {looked_at} images with alpha that were looked at are transparent in part, up to {share:.0%}; "
            "what lies below is trained on: {examples:,}{more:more}"
        )
        examples = some(table.files[i] for _, i in found)
        values = {"images": len(found), "looked_at": looked[folder], "share": share, **examples}
        yield Hit(folder, says, split=table.split_of(image), values=values)


@rule("IM024", Severity.INFO, Effect.ACCEPTS)
def grey_in_color_set(table: Table, config: DataConfig) -> Iterator[Hit]:
    """A set with 3 channels holds grey images.

    Why: a model for grey images can have one channel; a few among colour images may come from another source.
    Ultralytics: repeats the one channel three times.
    Example: X-ray images saved as grey PNG, in a data.yaml without `channels`.
    Fix: set `channels: 1` if all images are grey; else nothing.
    """
    if config.channels != 3 or not table.files:
        return
    grey = [table.files[i] for i in np.flatnonzero(table.grey).tolist()]
    if grey:
        values = {"grey": len(grey), "images": len(table.files), **some(grey)}
        says = "{grey} of {images} images are grey: {examples:,}{more:more}"
        yield Hit(str(Path(grey[0]).parent), says, values=values)


@rule("IM025", Severity.INFO, Effect.REWRITES)
def more_than_8_bits(unusual: Images) -> Iterator[Hit]:
    """The image has 9 to 16 bits a sample.

    Why: training sees 256 levels; finer ones are lost. IM016 and IM017 report images of which almost nothing remains.
    Ultralytics: keeps the upper 8 of 16 bits.
    Example: a 16-bit PNG of a thermal camera.
    Fix: scale the values that matter to 8 bits once, by a window of your choice.
    """
    for image, header in _taken(unusual):
        if 8 < header.bits <= 16:
            yield hit(image, "{bits} bits a sample; training sees 8", bits=header.bits)


@rule("IM026", Severity.INFO, Effect.ACCEPTS)
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
            says = "{frames} frames or pages ({format}); only the first is trained on"
            apart = header.format == "PNG" and still_apart(image.file)
            says += "; the still picture, which Pillow and many viewers show, is none of them" if apart else ""
            yield hit(image, says, frames=header.frames, format=header.format, still_apart=apart)


@rule("IM027", Severity.INFO, Effect.ACCEPTS)
def extreme_aspect(unusual: Images) -> Iterator[Hit]:
    """One side of the image is more than ten times the other.

    Why: the longer side is scaled to the training size, so the shorter one keeps a handful of pixels.
    Ultralytics: scales the image and pads it.
    Example: a panorama or a text line of 3000x120 pixels.
    Fix: cut the image into tiles.
    """
    for image, header in _taken(unusual):
        short, long = sorted((header.width, header.height))
        if long > WIDEST * short and short >= MIN_SIDE:
            says = "{size[0]}x{size[1]} pixels, one side {ratio:.0f} times the other"
            yield hit(image, says, size=(header.width, header.height), ratio=long / short)


@rule("IM039", Severity.WARNING, Effect.REWRITES)
def grey_by_gamma(table: Table, config: DataConfig) -> Iterator[Hit]:
    """With one channel, some colour images are converted to grey by the gamma in their file, others without.

    Why: equal colours become grey values up to 70 of 255 apart, depending on the program that saved the file.
    Ultralytics: reads with `IMREAD_GRAYSCALE` if `channels` is 1; libpng then applies sRGB and gAMA chunks.
    Example: screenshots with an sRGB chunk among PNGs or JPEGs of another program.
    Fix: save all images as grey, or save the PNGs again without gAMA and sRGB chunks.
    """
    if config.channels != 1:
        return
    colour = np.flatnonzero(~table.grey & (table.width > 0)).tolist()
    png = [i for i in colour if table.files[i].lower().endswith(".png")]
    looked = _spread(png, PNGS_LOOKED_AT)
    bent = [i for i in looked if bends(table.files[i])]
    if bent and (len(bent) < len(looked) or len(png) < len(colour)):
        others = len(looked) - len(bent) + len(colour) - len(png)
        says = (
            "{bent} of {looked_at} colour PNGs that were looked at have an sRGB or gAMA chunk and become grey by it, "
            "{others} colour images do not: {examples:,}{more:more}"
        )
        values = {"bent": len(bent), "looked_at": len(looked), "others": others}
        yield Hit(str(config.yaml_file), says, values={**values, **some(table.files[i] for i in bent)})


def bends(file: str) -> bool:
    """Whether libpng applies a gamma when it converts a PNG to grey, by its chunks; False if it is no PNG."""
    gamma = _LINEAR
    for name, data in chunks(file):
        if name == b"sRGB":
            return True
        if name == b"gAMA" and len(data) == 4:
            gamma = int.from_bytes(data, "big")
    return abs(gamma - _LINEAR) > _NEAR
