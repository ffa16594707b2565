"""Images for the rules about files: many at once as columns, and one at a time as an `Image`.

Nearly all images of a set are ordinary JPEGs of a usual size, on which no rule finds anything: making an object for
each would take longer than reading its file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.decode import Pixels, needs_decoding, read_image, read_npy
from yolo_nanfix.dataset.image_header import (
    JPEGS,
    SOUND,
    Header,
    judge_heads,
    read_header,
    read_heads,
    shown_size,
    turn_of,
)
from yolo_nanfix.dataset.paths import Stamp

if TYPE_CHECKING:
    from yolo_nanfix.dataset.image_stats import Deep

GREY = ("1", "L", "LA", "La")
"""Pillow's modes of images without colours."""
ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
"""Pillow's modes of images with an alpha channel."""
SHORTEST_SIDE, LONGEST_SIDE, SLIM = 32, 4096, 8
"""Sides of a usual image in pixels, and the largest ratio of the two; stricter than the limits of any rule."""
COLOURS = (1, 3)
"""Channel counts of models for which Ultralytics decodes a JPEG as its header says."""


class Image(NamedTuple):
    """One image file, read once however often it is listed.

    Attributes:
        file: its path, as Ultralytics lists it.
        split: the split in which it is met first.
        suffix: in lowercase, without the dot.
        label: the path at which Ultralytics looks for its label file.
        labelled: whether that file exists.
        header: of the file.
        npy: the .npy beside it that is loaded instead, if it is up to date.
        pixels: of the decoded image (or the .npy); None if the header was enough.
        looks: eight perceptual hashes of 64 bits, of the image in its `image_stats.LOOKS`; empty unless images are
            decoded, and 0 if the image is blank.
        deep: statistics of the decoded image; None unless images are decoded, or if this one cannot be.
        usual: an ordinary JPEG with the right suffix and a usual size that was not decoded: no rule about single images
            finds anything on it.
    """

    file: str
    split: str
    suffix: str
    label: str
    labelled: bool
    header: Header
    npy: str | None = None
    pixels: Pixels | None = None
    looks: tuple[int, ...] = ()
    deep: Deep | None = None
    usual: bool = False


def suffix_of(file: str) -> str:
    """The suffix of a path in lowercase, without the dot."""
    return file[file.rfind(".") + 1 :].lower()


def npy_kind(image: Image) -> int:
    """0 if no .npy is loaded for an image, 1 if it has the image's size and 8 bits, else 2."""
    if image.npy is None:
        return 0
    return 1 if npy_differs(image) is False else 2


def npy_differs(image: Image) -> bool | None:
    """Whether the usable array beside an image differs from it in size or type; None if it is unusable."""
    pixels, header = image.pixels, image.header
    if pixels is None or not pixels.dtype or pixels.dtype == "uint16":
        return None
    return sorted(pixels.shape[:2]) != sorted((header.width, header.height)) or pixels.dtype != "uint8"


_SUFFIXES = tuple(f".{suffix}" for jpeg in JPEGS for suffix in (jpeg, jpeg.upper()))


class Part(NamedTuple):
    """Some images of a dataset before they are read, each field a column.

    Attributes:
        files, splits, labels, labelled, npys: as in `Image`.
        stamps: (n, 5) int64, of each image file.
        numbers: their indices in the survey.
        owns: whether the label file is read for this image.
        sizes: bytes of each label file.
    """

    files: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[str]
    labelled: Sequence[bool]
    npys: Sequence[str | None]
    stamps: NDArray[np.int64]
    numbers: Sequence[int] = ()
    owns: Sequence[bool] = ()
    sizes: Sequence[int] = ()

    def split_up(self) -> tuple[Part, ...]:
        """Its two halves."""
        half = len(self.files) // 2
        first: Any = [column[:half] for column in self]
        second: Any = [column[half:] for column in self]
        return Part(*first), Part(*second)

    def stamp(self, i: int) -> Stamp:
        """The stamp of one image file."""
        size, mtime_ns, device, inode, ctime_ns = self.stamps[i].tolist()
        return size, mtime_ns, device, inode, ctime_ns

    def image(self, i: int, header: Header, *, usual: bool = False) -> Image:
        """One image by its header alone."""
        file = self.files[i]
        return Image(file, self.splits[i], suffix_of(file), self.labels[i], self.labelled[i], header, usual=usual)


Columns = dict[str, NDArray[Any]]
"""Columns of `Table`, by their names."""


@dataclass(frozen=True, eq=False)
class Images:
    """N images.

    Attributes:
        columns: of all of them, what their headers say: size, inode, width, height, content, turn, grey, alpha, npy.
        made: `Image` objects by index, in order: of all that are not `usual`.
        listed: from which the others are made; None if all are in `made`.
    """

    columns: Columns
    made: Mapping[int, Image]
    listed: Part | None = None

    def __len__(self) -> int:
        return len(self.columns["size"])

    def __iter__(self) -> Iterator[Image]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, i: int) -> Image:
        if self.listed is None or i in self.made:
            return self.made[i]
        return self.listed.image(i, _ordinary(self.listed, self.columns, i), usual=True)

    def unusual(self) -> tuple[Image, ...]:
        """Those on which rules about single images may find something."""
        return tuple(image for image in self.made.values() if not image.usual)


def gather(images: Sequence[Image], channels: int) -> Images:
    """Images that were read one by one as columns, for a model of so many channels."""
    headers = [image.header for image in images]
    sizes = np.array([shown_size(header, channels) for header in headers], np.int32).reshape(-1, 2)
    columns: Columns = {
        "size": np.array([header.size for header in headers], np.int64),
        "inode": np.array([header.inode for header in headers], np.int64).reshape(-1, 2),
        "width": sizes[:, 0].copy(),
        "height": sizes[:, 1].copy(),
        "content": np.array([header.content for header in headers], np.uint64),
        "turn": np.array([turn_of(header, channels) for header in headers], np.int8),
        "grey": np.array([header.mode in GREY for header in headers], np.bool_),
        "alpha": np.array([_has_alpha(image) for image in images], np.bool_),
        "npy": np.array([npy_kind(image) for image in images], np.int8),
    }
    return Images(columns, dict(enumerate(images)))


def _has_alpha(image: Image) -> bool:
    """Whether an image has an alpha channel that is dropped; colours of some TIFFs are multiplied by it instead."""
    header, pixels = image.header, image.pixels
    return header.mode in ALPHA and header.fault in SOUND and (pixels is None or pixels.alpha == 1)


def read_images(listed: Part, channels: int, *, deep: bool) -> Images:
    """Read images for a model of so many channels: headers, .npy files and, where needed (all if `deep`), pixels."""
    count = len(listed.files)
    if deep:
        return gather(_read_deep(listed, channels), channels)
    sizes = listed.stamps[:, 0].tolist()
    chosen = [
        i
        for i, (file, npy, size) in enumerate(zip(listed.files, listed.npys, sizes, strict=True))
        if size and npy is None and file.endswith(_SUFFIXES) and channels in COLOURS
    ]
    files, sizes = [listed.files[i] for i in chosen], [sizes[i] for i in chosen]
    heads, contents = read_heads(files, sizes)
    (judged, shown), place = judge_heads(heads), np.array(chosen, np.int64)
    columns: Columns = {
        "size": listed.stamps[:, 0].copy(),
        "inode": listed.stamps[:, 2:4].copy(),
        "width": np.zeros(count, np.int32),
        "height": np.zeros(count, np.int32),
        "content": np.zeros(count, np.uint64),
        "turn": np.ones(count, np.int8),
        "grey": np.zeros(count, np.bool_),
        "alpha": np.zeros(count, np.bool_),
        "npy": np.zeros(count, np.int8),
    }
    columns["width"][place], columns["height"][place] = shown.T
    columns["content"][place] = contents
    ordinary, made = np.zeros(count, np.bool_), {}
    ordinary[place] = judged
    for i in np.flatnonzero(~(ordinary & _usual(columns))).tolist():
        plain = ordinary[i]
        made[i] = listed.image(i, _ordinary(listed, columns, i)) if plain else read_one(listed, i, channels)
    for name, of_made in gather(list(made.values()), channels).columns.items():
        columns[name][list(made)] = of_made
    return Images(columns, made, listed)


def _usual(columns: Columns) -> NDArray[np.bool_]:
    """(N,) whether images have a usual size."""
    short, long = (side(columns["width"], columns["height"]) for side in (np.minimum, np.maximum))
    return np.asarray((short >= SHORTEST_SIDE) & (long <= LONGEST_SIDE) & (long <= SLIM * short), np.bool_)


def _ordinary(listed: Part, columns: Columns, i: int) -> Header:
    """The header of an image that has an ordinary one."""
    size, mtime_ns, device, inode, _ = listed.stamp(i)
    width, height, content = (int(columns[name][i]) for name in ("width", "height", "content"))
    return Header(size, mtime_ns, (device, inode), width, height, "JPEG", "RGB", content=content, ordinary=True)


def read_one(listed: Part, i: int, channels: int) -> Image:
    """One image: its header, .npy and, where needed, pixels."""
    file, npy = listed.files[i], listed.npys[i]
    header = read_header(file, listed.stamp(i))
    image = listed.image(i, header)
    if header.fault not in SOUND:
        return image
    if npy is not None:
        return image._replace(npy=npy, pixels=read_npy(npy))
    decoded = needs_decoding(image.suffix, header, channels)
    return image._replace(pixels=read_image(file, image.suffix, channels)) if decoded else image


def _read_deep(listed: Part, channels: int) -> list[Image]:
    """As `read_one` for all of them, decoded."""
    from yolo_nanfix.dataset.image_stats import look_all  # the decoders take a while to load

    found = []
    files = ((file, suffix_of(file), listed.stamp(i)) for i, file in enumerate(listed.files))
    for i, (header, deep, looks, pixels) in enumerate(look_all(files, channels)):
        npy = listed.npys[i] if header.fault in SOUND else None
        pixels = read_npy(npy) if npy is not None else pixels
        found.append(listed.image(i, header)._replace(npy=npy, pixels=pixels, looks=looks, deep=deep))
    return found
