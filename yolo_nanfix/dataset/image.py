"""One image file, as the rules about files see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from yolo_nanfix.dataset.decode import Pixels, needs_decoding, read_image, read_npy
from yolo_nanfix.dataset.image_header import SOUND, Header, read_header
from yolo_nanfix.dataset.stamps import Stamp

if TYPE_CHECKING:
    from yolo_nanfix.dataset.image_stats import Deep

GREY = ("1", "L", "LA", "La")
"""Pillow's modes of images without colours."""
ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
"""Pillow's modes of images with an alpha channel."""
LEAST, MOST, SLIM = 32, 4096, 8
"""A usual image has sides of so many pixels, and none is so many times the other; narrower than any rule's limits."""
COLOURS = (1, 3)
"""The channels of models whose images Ultralytics decodes as a JPEG's header says."""


class Image(NamedTuple):
    """One image file, read once however often it is listed.

    Attributes:
        file: its path, as Ultralytics lists it.
        split: the split in which it is met first.
        suffix: in small letters, without the dot.
        label: the path at which Ultralytics looks for its label file.
        labelled: whether that file exists.
        header: what the file says about itself.
        npy: the sibling .npy that is loaded in its place, if there is a current one.
        pixels: what was decoded (the .npy if there is one); None if the header was enough.
        looks: eight perceptual hashes of 64 bits, of the image, mirrored and turned; empty unless images are decoded,
            and 0 where the image shows nothing.
        deep: what decoding the image told; None unless images are decoded, or if this one cannot be.
        usual: an ordinary JPEG under its own suffix and of a usual size, that was not decoded: rules about single
            images have nothing to say about it.
    """

    file: str
    split: str
    suffix: str
    label: str
    labelled: bool
    header: Header
    npy: str | None
    pixels: Pixels | None
    looks: tuple[int, ...] = ()
    deep: Deep | None = None
    usual: bool = False


class Known(NamedTuple):
    """What is known of an image before it is read; the fields are those of `Image`, and its stamp."""

    file: str
    split: str
    label: str
    labelled: bool
    npy: str | None
    stamp: Stamp


def read_one(known: Known, channels: int) -> Image:
    """Header, sibling and, where needed, pixels of one image, of which so much is known already."""
    file, split, label, labelled, npy, stamp = known
    suffix, header = suffix_of(file), read_header(file, stamp)
    if header.fault not in SOUND:
        return Image(file, split, suffix, label, labelled, header, None, None)
    if npy is not None:
        return Image(file, split, suffix, label, labelled, header, npy, read_npy(npy))
    pixels = read_image(file, suffix, channels) if needs_decoding(suffix, header, channels) else None
    return Image(file, split, suffix, label, labelled, header, None, pixels)


def read_deep(images: Sequence[Known], channels: int) -> tuple[Image, ...]:
    """As `read_one`, all of them decoded."""
    from yolo_nanfix.dataset.image_stats import look_all  # the decoders take a while to load

    suffixes = [suffix_of(known.file) for known in images]
    files = zip((known.file for known in images), suffixes, (known.stamp for known in images), strict=True)
    found = []
    for (file, split, label, labelled, npy, _), suffix, (header, look) in zip(
        images, suffixes, look_all(files, channels), strict=True
    ):
        npy = npy if header.fault in SOUND else None
        pixels = (read_npy(npy) if npy is not None else None) or look.pixels
        found.append(Image(file, split, suffix, label, labelled, header, npy, pixels, look.looks, look.deep))
    return tuple(found)


def suffix_of(file: str) -> str:
    """The suffix of a path in small letters, without the dot."""
    return file[file.rfind(".") + 1 :].lower()


def npy_kind(image: Image) -> int:
    """Of the .npy loaded in place of an image: 1 if it has its size and 8 bits, 2 if not, 0 if there is none."""
    if image.npy is None:
        return 0
    return 1 if npy_difference(image) == "" else 2


def npy_difference(image: Image) -> str | None:
    """How the usable array beside an image differs from it: empty if not at all, None if it is unusable."""
    pixels, header = image.pixels, image.header
    if pixels is None or not pixels.dtype or pixels.dtype == "uint16":
        return None
    if sorted(pixels.shape[:2]) != sorted((header.width, header.height)):
        return f"is {pixels.shape[1]}x{pixels.shape[0]}, not {header.width}x{header.height}"
    return "" if pixels.dtype == "uint8" else f"holds {pixels.dtype}"
