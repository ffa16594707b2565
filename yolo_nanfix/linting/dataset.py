"""The dataset as the rules about files see it: images and label columns, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.linting.config import DataConfig
from yolo_nanfix.linting.deep import Deep, look_all
from yolo_nanfix.linting.headers import JPEGS, SOUND, Header, read_header
from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.pixels import Pixels, needs_decoding, read_image, read_npy
from yolo_nanfix.linting.stamps import Stamp
from yolo_nanfix.linting.table import Table

GREY = ("1", "L", "LA", "La")
"""Pillow's modes of images without colours."""
LEAST, MOST, SLIM = 32, 4096, 8
"""A usual image has sides of so many pixels, and none is so many times the other."""
_COLOURS = (1, 3)
Columns = dict[str, NDArray[np.generic]]


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


@dataclass(frozen=True)
class Dataset:
    """A dataset that was read whole, as annotation files are.

    Attributes:
        config: the resolved data.yaml.
        task: `detect`, `segment`, `pose` or `obb`.
        images: all image files, each once.
        splits: for each split the indices of its images, repeated where a file is listed twice.
        labels: the label rows as columns.
        strays: .txt files in the folders of images and labels that are the label file of no image.
    """

    config: DataConfig
    task: str
    images: tuple[Image, ...]
    splits: Mapping[str, tuple[int, ...]]
    labels: Labels
    strays: tuple[str, ...]


class Known(NamedTuple):
    """What is known of an image before it is read; the fields are those of `Image`, and its stamp."""

    file: str
    split: str
    label: str
    labelled: bool
    npy: str | None
    stamp: Stamp


def read_one(
    file: str, split: str, label: str, labelled: bool, npy: str | None, stamp: Stamp, channels: int, deep: bool
) -> Image:
    """Header, sibling and, where needed, pixels of one image, of which so much is known already."""
    if deep:
        return read_deep([Known(file, split, label, labelled, npy, stamp)], channels)[0]
    suffix = "jpg" if file.endswith(".jpg") else _suffix(file)
    header = read_header(file, stamp)
    if header.ordinary and npy is None and channels in _COLOURS and suffix in JPEGS:
        own = (file, split, suffix, label, labelled, header, None, None, (), None, _usual(header.width, header.height))
        return tuple.__new__(Image, own)  # as `Image(*own)`, in half the time
    if header.fault not in SOUND:
        return Image(file, split, suffix, label, labelled, header, None, None)
    if npy is not None:
        pixels: Pixels | None = read_npy(npy)
    else:
        pixels = read_image(file, suffix, channels) if needs_decoding(suffix, header, channels) else None
    return Image(file, split, suffix, label, labelled, header, npy, pixels)


def read_deep(images: Sequence[Known], channels: int) -> tuple[Image, ...]:
    """As `read_one`, all of them decoded."""
    suffixes = [_suffix(known.file) for known in images]
    files = zip((known.file for known in images), suffixes, (known.stamp for known in images), strict=True)
    found = []
    for (file, split, label, labelled, npy, _), suffix, (header, look) in zip(
        images, suffixes, look_all(files, channels), strict=True
    ):
        npy = npy if header.fault in SOUND else None
        pixels = (read_npy(npy) if npy is not None else None) or look.pixels
        found.append(Image(file, split, suffix, label, labelled, header, npy, pixels, look.looks, look.deep))
    return tuple(found)


def _suffix(file: str) -> str:
    return file[file.rfind(".") + 1 :].lower()


def _usual(width: int, height: int) -> bool:
    """Whether no rule is about images of that size; narrower than the limits of the rules."""
    return LEAST <= width <= MOST and LEAST <= height <= MOST and width <= SLIM * height and height <= SLIM * width


def columns(images: tuple[Image, ...], labels: Labels, *, deep: bool) -> Columns:
    """The columns of `Table` that come from reading files, by their names."""
    polygons, lines = np.zeros(len(images), np.bool_), np.zeros(len(images), np.int32)
    owner = np.array([file.image for file in labels.files], np.int32)
    polygons[owner] = [file.polygons for file in labels.files]
    lines[owner] = [file.rows for file in labels.files]
    looks = [image.looks or (0,) * 8 for image in images] if deep else []
    headers = [image.header for image in images]
    known = (
        dict(zip(Header._fields, zip(*headers, strict=True), strict=True))
        if headers
        else dict.fromkeys(Header._fields, ())
    )
    return {
        "size": np.array(known["size"], np.int64),
        "inode": np.array(known["inode"], np.int64).reshape(-1, 2),
        "width": np.array(known["width"], np.int32),
        "height": np.array(known["height"], np.int32),
        "content": np.array(known["content"], np.uint64),
        "looks": np.array(looks, np.uint64).reshape(-1, 8),
        "grey": np.array([mode in GREY for mode in known["mode"]], np.bool_),
        "polygons": polygons,
        "lines": lines,
        "npy": np.array([_npy_kind(image) if image.npy else 0 for image in images], np.int8),
        "row_image": owner[labels.file] if len(labels.file) else np.zeros(0, np.int32),
        "row_line": labels.line,
        "row_cls": labels.cls,
        "row_box": labels.box,
    }


def tabulate(dataset: Dataset) -> Table:
    """The columns of a dataset that was read whole."""
    images, names = dataset.images, tuple(dataset.splits)
    number = {name: i for i, name in enumerate(names)}
    found = columns(images, dataset.labels, deep=any(image.looks for image in images))
    return Table(
        files=tuple(image.file for image in images),
        labels=tuple(image.label for image in images),
        split_names=names,
        split=np.array([number[image.split] for image in images], np.int8),
        splits={name: np.array(listed, np.int32) for name, listed in dataset.splits.items()},
        labelled=np.array([image.labelled for image in images], np.bool_),
        **found,  # type: ignore[arg-type]
    )


def _npy_kind(image: Image) -> int:
    """1 for a .npy of the image's size and of 8 bits, 2 for any other, 0 for none."""
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
