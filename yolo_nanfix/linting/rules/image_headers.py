"""IM001 to IM008, IM018, IM019: image files as their headers show them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.decode import too_large
from yolo_nanfix.dataset.fates import ACCEPTED, MIN_SIDE
from yolo_nanfix.dataset.image_header import BOMB_PIXELS
from yolo_nanfix.dataset.images import MOST, Image
from yolo_nanfix.dataset.paths import SUFFIX_FORMATS
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule

Images = Iterable[Image]


def hit(image: Image, message: str) -> Hit:
    """A hit on the image file itself."""
    return Hit(image.file, message, split=image.split, image=image.file)


def _with_fault(images: Images, fault: str, message: str) -> Iterator[Hit]:
    """A hit for each image whose header has that fault."""
    for image in images:
        if image.header.fault == fault:
            yield hit(image, message.format(reason=image.header.reason))


@rule("IM001", "image-unreadable", Severity.ERROR, Effect.DROPS)
def image_unreadable(unusual: Images) -> Iterator[Hit]:
    """The file is not an image that Pillow can open.

    Why: the image and all its labels are missing from training.
    Ultralytics: drops the image with one line in the log, after an attempt to install a HEIF reader.
    Example: a BMP whose header names a compression that does not exist.
    Fix: export or download the image again, or remove it from the dataset.
    """
    yield from _with_fault(unusual, "unreadable", "cannot be opened as an image ({reason})")


@rule("IM002", "image-empty", Severity.ERROR, Effect.DROPS)
def image_empty(unusual: Images) -> Iterator[Hit]:
    """The file has no bytes.

    Why: the image and all its labels are missing from training; usually a copy or download broke off.
    Ultralytics: drops the image with one line in the log.
    Example: a JPEG of 0 bytes after a full disk.
    Fix: copy or download the image again.
    """
    yield from _with_fault(unusual, "empty", "the file has 0 bytes")


@rule("IM003", "image-truncated", Severity.ERROR, Effect.DROPS)
def image_truncated(unusual: Images) -> Iterator[Hit]:
    """The image data breaks off or is damaged.

    Why: the image and all its labels are missing from training.
    Ultralytics: drops the image with one line in the log.
    Example: a PNG without its IEND chunk, a JPEG cut in the middle.
    Fix: copy or download the image again.
    """
    yield from _with_fault(unusual, "truncated", "the image data is damaged or breaks off ({reason})")


@rule("IM004", "jpeg-trailing-bytes", Severity.ERROR, Effect.REWRITES)
def jpeg_trailing_bytes(unusual: Images) -> Iterator[Hit]:
    """A JPEG that decodes does not end at its end marker.

    Why: your original file is replaced by a re-encoded one: metadata is lost and the pixels change.
    Ultralytics: writes the decoded image over the file at quality 100 ("corrupt JPEG restored and saved").
    Example: a camera that appends a thumbnail or padding behind the image.
    Fix: keep a copy of the originals, or strip the bytes behind the end marker FF D9.
    """
    yield from _with_fault(unusual, "trailing", "the JPEG decodes, but does not end at its end marker FF D9")


@rule("IM005", "image-under-ten-pixels", Severity.ERROR, Effect.DROPS)
def image_under_ten_pixels(unusual: Images) -> Iterator[Hit]:
    """A side of the image has fewer than 10 pixels.

    Why: the image and all its labels are missing from training.
    Ultralytics: drops the image with one line in the log.
    Example: a thumbnail of 8x8 pixels among photographs.
    Fix: remove the image, or replace it with the full-size one.
    """
    for image in unusual:
        header = image.header
        if (header.width < MIN_SIDE or header.height < MIN_SIDE) and header.fault in ("", "trailing"):
            yield hit(
                image,
                f"the image is {header.width}x{header.height} pixels; each side needs at least {MIN_SIDE}",
            )


@rule("IM006", "format-not-supported", Severity.ERROR, Effect.DROPS)
def format_not_supported(unusual: Images) -> Iterator[Hit]:
    """The content is of an image format that Ultralytics does not train on.

    Why: the suffix is accepted, the content is not, so the image is missing from training.
    Ultralytics: drops the image with one line in the log ("Invalid image format GIF").
    Example: a GIF saved under the name cat.jpg.
    Fix: convert the image to JPEG or PNG.
    """
    for image in unusual:
        name = image.header.format
        if name and image.header.fault in ("", "trailing") and name not in ACCEPTED:
            yield hit(image, f"the content is {name}, which Ultralytics does not take")


@rule("IM007", "content-against-suffix", Severity.WARNING, Effect.ACCEPTS)
def content_against_suffix(unusual: Images) -> Iterator[Hit]:
    """The content is of another format than the suffix says.

    Why: tools that trust the suffix fail on the file, and some decoding hangs on the suffix alone.
    Ultralytics: usually decodes it by content; multi-band TIFF only under its own suffix.
    Example: PNG or WebP bytes under the name 12.jpg.
    Fix: rename the file to the suffix of its content, and its label file stays as it is.
    """
    for image in unusual:
        name = image.header.format
        if name in ACCEPTED and image.header.fault in ("", "trailing") and name not in SUFFIX_FORMATS[image.suffix]:
            yield hit(image, f"the suffix is .{image.suffix}, but the content is {name}")


@rule("IM008", "pixel-count-huge", Severity.INFO, Effect.ACCEPTS)
def pixel_count_huge(images: Images, unusual: Images, config: DataConfig) -> Iterator[Hit]:
    """The image has more pixels than Pillow considers safe.

    Why: decoding takes gigabytes for each worker, and it is scaled down to the training size anyway.
    Ultralytics: decodes the whole image in each epoch; Pillow warns of a decompression bomb.
    Example: a scan of 12000x9000 pixels.
    Fix: cut the image into tiles, or scale it down once.
    """
    pillow = sys.modules.get("PIL.Image")  # as long as it is not loaded, nobody has changed its limit
    limit: int | None = pillow.MAX_IMAGE_PIXELS if pillow else BOMB_PIXELS // 2
    for image in unusual if limit is None or limit >= MOST**2 else images:
        header = image.header
        count = header.width * header.height * header.frames
        large = too_large(header) or (limit is not None and count > limit)
        if large and header.fault in ("", "trailing"):
            pages = f" in {header.frames} pages" if header.frames > 1 else ""
            unseen = "; its pixels were not looked at" if too_large(header) else ""
            size = f"{count / 1e6:.0f} million pixels{pages}; decoded to {count * config.channels / 1e9:.1f} GB"
            yield hit(image, size + unseen)


@rule("IM018", "decompression-bomb", Severity.ERROR, Effect.DROPS)
def decompression_bomb(unusual: Images) -> Iterator[Hit]:
    """The header claims more pixels than Pillow opens.

    Why: the image and all its labels are missing from training; a file of some kilobytes can claim terabytes.
    Ultralytics: drops the image with one line in the log (DecompressionBombError).
    Example: a map of 30000x20000 pixels, or a damaged header.
    Fix: cut the image into tiles, or scale it down; lint never decodes it.
    """
    yield from _with_fault(unusual, "bomb", f"more than {BOMB_PIXELS / 1e6:.0f} million pixels ({{reason}})")


@rule("IM019", "not-an-image", Severity.ERROR, Effect.DROPS)
def not_an_image(unusual: Images) -> Iterator[Hit]:
    """Something else than an image is stored under the name of one.

    Why: the image and all its labels are missing from training; usually a download returned an error page.
    Ultralytics: drops the image with one line in the log, after an attempt to install a HEIF reader.
    Example: a web page saved under the name street.jpg, or a Git LFS pointer.
    Fix: download the image again; for pointers run `git lfs pull`.
    """
    yield from _with_fault(unusual, "foreign", "no image: {reason}")
