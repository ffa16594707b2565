"""Builds the images and label rows of a dataset, in normalised coordinates, from the entries of annotation files."""

from __future__ import annotations

import os
import stat
import warnings
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset import bounded, decode
from yolo_nanfix.dataset.bounded import ANNOTATION_CORNERS, ANNOTATION_MB, ANNOTATION_OBJECTS, ANNOTATIONS, OF_ONE
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.formats.defects import Defect
from yolo_nanfix.dataset.formats.notes import Note, Notes, Total, brief, folded, plain
from yolo_nanfix.dataset.image_header import QUARTER, Header, shown_size, turn_of
from yolo_nanfix.dataset.images import Image, Images, Part, gather, read_images
from yolo_nanfix.dataset.label_boxes import GRID_CHANCE, GRID_SHARE, are_whole, on_pixels
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import NO_FILE, Stamp, folder_of, is_image, stamp_of
from yolo_nanfix.dataset.table import Where
from yolo_nanfix.dataset.task_guess import settled
from yolo_nanfix.errors import DataError
from yolo_nanfix.tasks import Basis, TaskBasis

SPILL = 0.02
"""A box reaches out of a frame if it does by more than this part of the side: careless drawing reaches out less."""
DIGITS = 6
"""Decimals of the numbers in label files as tools write them."""
LEAST_OUT = 3
"""How many boxes must reach out of the shown image before it is noted, if width and height are right."""


class Frame(IntEnum):
    """Of which pixels width, height and boxes of an image are that EXIF rotates by 90 degrees."""

    RIGHT = 0
    """Of the shown image; or unknown; or boxes that were stretched to the given sides of the stored pixels."""
    STORED = 1
    """All of the stored pixels, as far as can be told."""
    SWAPPED = 2
    """Boxes of the shown image; width and height of the stored pixels."""
    UNTURNED = 3
    """Boxes of the stored pixels; width and height of the shown image."""


class Spills(NamedTuple):
    """For each of N images how many of its boxes reach out of the frames, and how many lie on whole pixels.

    Attributes:
        boxes: all boxes.
        stored, shown: those that reach out of either frame.
        drawn: those on whole pixels.
        stretched: those on whole pixels if they were stretched from the shown image to the stored sides, as by tools
            that convert YOLO labels to pixels with the width and height of the header.
        rounded: those that have as few decimals as YOLO labels after division by the stored sides.
    """

    boxes: NDArray[np.int64]
    stored: NDArray[np.int64]
    shown: NDArray[np.int64]
    drawn: NDArray[np.int64]
    stretched: NDArray[np.int64]
    rounded: NDArray[np.int64]


def spills(stored: NDArray[np.int64], owner: NDArray[np.int32], box: NDArray[np.float64]) -> Spills:
    """Count boxes by the stored frames, and by the shown ones, which are (height, width).

    Args:
        stored: (N, 2) width and height.
        owner: (R,) the image of each box.
        box: (R, 4) centre and sides in pixels.
    """
    count, half = len(stored), np.abs(box[:, 2:]) / 2
    low, high = box[:, :2] - half, box[:, :2] + half
    found = []
    for frame in (stored, stored[:, ::-1]):
        size = frame[owner]
        out = ((low < -SPILL * size) | (high > size * (1 + SPILL))).any(axis=1)
        found.append(np.bincount(owner[out], minlength=count))
    ratio = (stored[:, ::-1] / stored)[owner]
    for scale in (np.ones_like(ratio), ratio):
        found.append(np.bincount(owner[on_pixels(box, scale)], minlength=count))
    parts = box / np.tile(stored[owner], 2) * 10**DIGITS
    found.append(np.bincount(owner[are_whole(parts)], minlength=count))
    return Spills(np.bincount(owner, minlength=count), *found)


def judge(
    given: NDArray[np.int64], stored: NDArray[np.int64], turned: NDArray[np.bool_], out: Spills
) -> NDArray[np.int8]:
    """(N,) the `Frame` of each image.

    Args:
        given: (N, 2) width and height in the annotations.
        stored: (N, 2) those of the stored pixels; 0 where they are not known.
        turned: (N,) whether EXIF rotates the image by 90 degrees.
        out: its boxes.
    """
    frame = np.zeros(len(given), np.int8)
    told = turned & (stored[:, 0] != stored[:, 1]) & (stored > 0).all(axis=1) & (out.boxes > 0)
    as_stored = told & (given == stored).all(axis=1)
    boxes, drawn, *made = (int(out[i][as_stored].sum()) for i in (0, 3, 4, 5))
    if boxes and max(made) >= GRID_SHARE * boxes and drawn <= GRID_CHANCE * boxes:
        as_stored[:] = False  # divided by the sides that are given, they are as they were drawn
    as_shown = told & (given == stored[:, ::-1]).all(axis=1)
    evidence = np.sign(out.stored - out.shown)
    evidence[evidence == 0] = np.sign(evidence[as_stored].sum())
    frame[as_stored] = np.where(evidence[as_stored] > 0, Frame.SWAPPED, Frame.STORED)
    if out.shown[as_shown].sum() >= LEAST_OUT and not out.stored[as_shown].any():
        frame[as_shown] = Frame.UNTURNED
    return frame


_FIRST = "{name} is {stored_height}x{stored_width} as shown, {stored_width}x{stored_height} as stored"
_GIVEN = "{width}x{height} is given"


def _turned_says(frame: Frame, out_of_shown: int) -> str:
    """A sentence on the images with one `Frame`."""
    start, first = "{images} of {total} images are turned by EXIF, and", _FIRST
    if frame is Frame.SWAPPED:
        proof = "{out_of_stored} of {boxes} boxes reach out of the size that is given"
        return f"{start} width and height are swapped: {first}, and {_GIVEN}; {proof}"
    proof = "{out_of_shown} of {boxes} boxes reach out of the shown picture"
    if frame is Frame.UNTURNED:
        return f"{start} their boxes are those of the stored pixels: {first}; {proof}, none out of the stored"
    proof = proof if out_of_shown else "that the boxes were drawn there too is likely, but not proven"
    return f"{start} width and height are those of the stored pixels: {first}, and {_GIVEN}; {proof}"


SPLITS = ("train", "val", "test")
PLAIN = 5
CHANNELS = 3
"""Annotation files give no channels; colour images are assumed."""
_DEFECTS = {
    Frame.STORED: Defect.BOXES_UNTURNED,
    Frame.SWAPPED: Defect.IMAGE_SIZE_SWAPPED,
    Frame.UNTURNED: Defect.BOXES_UNTURNED,
}
MOST_BESIDE = 100
"""Folders that are searched for images at most."""
POINTS = 1 << 20
"""Points that are normalised at once, at least those of one row."""
TRIED = 20
"""How many images are looked for to find their folder."""
TOGETHER = 2000
"""Images that are read at once."""


@dataclass(frozen=True)
class Annotated:
    """A dataset as annotation files describe it.

    Attributes:
        config: the values that a data.yaml would have.
        images: all image files, each once.
        splits: for each split the indices of its images, repeated where a file is listed twice.
        labels: the rows as columns, with the number of a row as its line.
        notes: on defects of the files themselves.
        where: for each annotation file the lines and names of its rows.
        options: of lint; `task` is that of the annotations.
        basis: why it is this task.
    """

    config: DataConfig
    images: Images
    splits: Mapping[str, tuple[int, ...]]
    labels: Labels
    notes: Notes
    where: Mapping[str, Where]
    options: LintOptions
    basis: Basis


class Builder:
    """Collects images and rows in the order of the files, and returns the dataset at the end.

    Attributes:
        notes, totals, where, names, kpt_shape: of the dataset, which the reader of the format fills in.
        on_disk: whether the images are files; else they are remote.
    """

    def __init__(self, source: Path, options: LintOptions, *, pixels: bool) -> None:
        """`source` is the file or folder; rows are in pixels or normalised."""
        self._source, self._options, self._in_pixels = source, options, pixels
        self.on_disk = True
        self._basis = Basis(TaskBasis.NO_ROWS, "detect")
        self.notes: list[Note] = []
        self.totals: dict[str, Total] = {}
        self.where: dict[str, Where] = {}
        self.names: list[str] = []
        self.kpt_shape: tuple[int, int] | None = None
        self._paths: list[str] = []
        self._splits: list[str] = []
        self._labels: list[str] = []
        self._sizes: list[tuple[int, int]] = []
        self._image, self._line, self._columns, self._shape = array("i"), array("i"), array("i"), array("q")
        self._numbers, self._counts = array("d"), array("i")
        self._x, self._y, self._visible, self._seen = array("d"), array("d"), array("f"), array("b")
        self._most = ANNOTATION_OBJECTS * bounded.times(), ANNOTATION_CORNERS * bounded.times()

    @property
    def root(self) -> Path | None:
        """The folder of the images, if the options name one."""
        return self._options.root

    def settle(self, found: Basis) -> str:
        """The task: that of the options, or the one of the annotations."""
        self._options, self._basis = settled(self._options, found)
        return self._options.settled

    def note(
        self, file: str, defect: Defect, says: str, line: int | None = None, image: int | None = None, **values: Any
    ) -> None:
        """Note a defect: a text with names in braces, and the values of these names."""
        about = (None, None) if image is None else (self._splits[image], self._paths[image])
        facts = {name: plain(value) for name, value in values.items()}
        self.notes.append(Note(defect, file, says, facts, line, *about))

    def image(self, path: str, split: str, label: str, size: tuple[int, int]) -> int:
        """Add an image: path, annotation file, and the width and height in that (0 if none); return its index."""
        self._paths.append(path)
        self._splits.append(split)
        self._labels.append(label)
        self._sizes.append(size)
        return len(self._paths) - 1

    def row(
        self,
        image: int,
        number: int,
        cls: int,
        box: Sequence[float],
        x: Sequence[float] = (),
        y: Sequence[float] = (),
        visible: Sequence[float] | None = None,
        columns: int = PLAIN,
    ) -> None:
        """Add a row by its number in the file: class, x, y, w, h, and the corners or keypoints, if any.

        Raises:
            DataError: there are more than are held in memory.
        """
        self._image.append(image)
        self._line.append(number)
        self._columns.append(columns)
        self._numbers.extend((cls, *box))
        self._counts.append(len(x))
        self._x.extend(x)
        self._y.extend(y)
        self._seen.append(visible is not None)
        if visible is not None:
            self._visible.extend(visible)
        if len(self._counts) > self._most[0] or len(self._x) > self._most[1]:
            objects, points = self._most
            raise DataError(
                f"{self._source}: more than {objects} boxes, outlines and sets of keypoints, or {points} corners in "
                f"them; set {ANNOTATIONS}={ANNOTATION_MB * (bounded.times() + 1)} to read them all the same, or split "
                "the files"
            )
        self._shape.append(hash((*x, *y)) if len(x) and visible is None else 0)

    def outline(self, image: int, number: int, cls: int, corners: Sequence[float]) -> None:
        """Add a row with an outline, x y x y ..., and the box around it."""
        x, y = corners[::2], corners[1::2]
        low, high = (min(x), min(y)), (max(x), max(y))
        box = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, high[0] - low[0], high[1] - low[1])
        self.row(image, number, cls, box, x, y, columns=1 + len(corners))

    def finish(self) -> Annotated:
        """The dataset; reads the headers of all images."""
        found = self._images()
        frames = self._frames(found)
        self._compare(found)
        images = gather(found, CHANNELS)
        folders = [os.path.abspath(folder) for folder in {folder_of(path) for path in self._paths}]  # noqa: PTH100
        config = DataConfig(
            yaml_file=self._source,
            root=self._source if self._source.is_dir() else self._source.parent,
            splits={"train": (), "val": ()} | {split: () for split in SPLITS if split in self._splits},
            names=dict(enumerate(self.names)),
            nc=len(self.names),
            kpt_shape=self.kpt_shape,
            raw={"names": list(self.names)},
            named=(Path(os.path.commonpath(folders)),) if folders else (),
        )
        numbers = {split: [i for i, own in enumerate(self._splits) if own == split] for split in config.splits}
        splits = {split: tuple(listed) for split, listed in numbers.items()}
        labels = self._table(images, frames)
        self._alike()
        notes = tuple(folded(self.notes, self.totals, str(self._source)))
        return Annotated(config, images, splits, labels, notes, self.where, self._options, self._basis)

    def _alike(self) -> None:
        first: dict[str, str] = {}
        for name in self.names:
            other = first.setdefault("".join(c for c in name.casefold() if c.isalnum()) or name, name)
            if other != name:
                says = "the classes {other!r} and {name!r} differ in spelling only"
                self.note(str(self._source), Defect.CLASS_NAMES_ALIKE, says, other=other, name=name)

    def _images(self) -> list[Image]:
        """All images with their headers; without a file, with the size in the annotations."""
        found: list[Image] = []
        with decode.silent(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for image, size in zip(self._read(), self._sizes, strict=True):
                header = image.header if is_image(image.file) else Header(fault="missing")
                if header.fault == "missing" and min(size) > 0:
                    header = header._replace(width=size[0], height=size[1])
                found.append(image._replace(header=header))
        return found

    def _frames(self, images: list[Image]) -> NDArray[np.int8]:
        """The `Frame` of each image; those that are not right are noted once per annotation file or format."""
        turned = np.array([turn_of(image.header, CHANNELS) >= QUARTER for image in images], np.bool_)
        if not self._in_pixels or not turned.any():
            return np.zeros(len(images), np.int8)
        given = np.array(self._sizes, np.int64).reshape(-1, 2)
        stored = np.array([(i.header.width, i.header.height) for i in images], np.int64).reshape(-1, 2)
        owner, box = _column(self._image), _column(self._numbers).reshape(-1, PLAIN)[:, 1:]
        with np.errstate(all="ignore"):  # annotations may hold any number
            out = spills(stored, owner, box)
        frames = judge(given, stored, turned, out)
        whole = len(set(self._labels)) == len(images) > 1
        labels = np.zeros(len(images), np.int64) if whole else np.unique(self._labels, return_inverse=True)[1]
        for label in np.unique(labels[frames > 0]).tolist():
            among = np.flatnonzero(labels == label)
            for frame, defect in _DEFECTS.items():
                own = among[frames[among] == frame]
                if not len(own):
                    continue
                first = int(own[0])
                about: dict[str, Any] = {"name": _last(images[first].file), "total": len(among), "images": len(own)}
                about |= zip(
                    ("boxes", "out_of_stored", "out_of_shown"), (int(n[own].sum()) for n in out[:3]), strict=True
                )
                sides = (*given[first].tolist(), *stored[first].tolist())
                about |= zip(("width", "height", "stored_width", "stored_height"), sides, strict=True)
                file = str(self._source) if whole else self._labels[first]
                self.note(file, defect, _turned_says(frame, about["out_of_shown"]), **about)
        return frames

    def _read(self) -> Iterator[Image]:
        """All images, some at a time, because their first bytes are in memory together."""
        for start in range(0, len(self._paths), TOGETHER):
            some = slice(start, start + TOGETHER)
            paths = self._paths[some]
            stamps = np.array([_stamp(path) if is_image(path) else NO_FILE for path in paths], np.int64)
            count = len(paths)
            listed = Part(paths, self._splits[some], self._labels[some], [True] * count, [None] * count, stamps)
            yield from read_images(listed, CHANNELS, deep=self._options.deep)

    def _compare(self, images: list[Image]) -> None:
        missing: list[int] = []
        for i, (image, size) in enumerate(zip(images, self._sizes, strict=True)):
            there = shown_size(image.header, CHANNELS)
            if not is_image(image.file):
                says = "{name!r} has no suffix that Ultralytics lists"
                self.note(image.label, Defect.IMAGE_SUFFIX_UNLISTED, says, None, i, name=_last(image.file))
            elif image.header.fault == "missing":
                missing.append(i)
            elif min(*there, *size) > 0 and size not in (there, (image.header.width, image.header.height)):
                says = "{name}: {width}x{height}, but the file is {own_width}x{own_height}"
                if turn_of(image.header, CHANNELS) >= QUARTER:
                    says += ", as EXIF rotates it"
                own = {"own_width": there[0], "own_height": there[1]}
                about: dict[str, Any] = {"name": _last(image.file), "width": size[0], "height": size[1], **own}
                self.note(image.label, Defect.IMAGE_SIZE_DIFFERS, says, None, i, **about)
        if not self.on_disk:
            return None
        if len(missing) == len(images) > 1:
            folder = Path(self._paths[0]).parent
            says = "none of {count} images is there; the first was looked for in {folder}"
            counts: dict[str, Any] = {"count": len(images), "folder": str(folder)}
            return self.note(str(self._source), Defect.IMAGE_FILE_MISSING, says, **counts)
        for i in missing:
            self.note(images[i].label, Defect.IMAGE_FILE_MISSING, "there is no {path}", None, i, path=self._paths[i])
        return None

    def _table(self, images: Images, frames: NDArray[np.int8]) -> Labels:
        """The rows as columns, sorted by image; those of images of unknown size are left out."""
        image, number = _column(self._image), _column(self._line)
        sizes = self._divisors(images, frames)
        kept = np.flatnonzero((sizes.min(axis=1, initial=np.inf) > 0)[image])
        rows = kept[np.lexsort((number[kept], image[kept]))]
        owner = image[rows]
        self._check_images(owner, _column(self._counts)[rows], images)
        numbers = _column(self._numbers).reshape(-1, PLAIN)
        box = np.empty((len(rows), 4), np.float32)
        with np.errstate(all="ignore"):  # annotations may hold any number
            for k in range(4):
                box[:, k] = numbers[rows, 1 + k] / sizes[owner, k % 2]
            cls = numbers[rows, 0].astype(np.float32)
            points, visible, first = self._points(rows, sizes[owner])
        return Labels(
            paths=tuple(image.label for image in images),
            image=np.arange(len(images)),
            rows=np.bincount(owner, minlength=len(images)),
            polygons=np.full(len(images), self._options.settled == "segment"),
            bad=(),
            file=owner,
            line=number[rows],
            cls=cls,
            box=box,
            columns=_column(self._columns)[rows],
            shape=_column(self._shape)[rows],
            points=points,
            visible=visible,
            first=first,
            extra=np.where(np.isfinite(box), np.float32(0), box).sum(axis=1),
        )

    def _check_images(self, owner: NDArray[np.int32], counts: NDArray[np.int64], images: Images) -> None:
        """Raise `DataError` if one image has too many corners: rules process those of an image together."""
        corners, most = np.bincount(owner, counts, len(images)), OF_ONE * bounded.times()
        if len(corners) and corners.max() > most:
            name = brief(_last(self._paths[int(corners.argmax())]))
            raise DataError(f"{self._source}: {name} has more than {most} corners of outlines and keypoints")

    def _points(
        self, rows: NDArray[np.int64], scale: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """The points of these rows, their visibility, and where those of each row begin; some rows at a time."""
        counts, seen = _column(self._counts).astype(np.int64), _column(self._seen).astype(np.bool_)
        starts, shown = np.cumsum(counts) - counts, np.cumsum(counts * seen) - counts * seen
        first = np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64)
        points, visible = np.empty((first[-1], 2), np.float32), np.full(first[-1], nan, np.float32)
        x, y, told = _column(self._x), _column(self._y), _column(self._visible)
        low = 0
        while low < len(rows):
            high = max(low + 1, int(np.searchsorted(first, first[low] + POINTS, side="right")) - 1)
            some, own = rows[low:high], slice(first[low], first[high])
            spots = _spots(starts[some], counts[some])
            for axis, values in enumerate((x, y)):
                points[own, axis] = values[spots] / np.repeat(scale[low:high, axis], counts[some])
            marked = some[seen[some]]
            if len(marked):
                mine = np.repeat(seen[some], counts[some])
                visible[own][mine] = told[_spots(shown[marked], counts[marked])]
            low = high
        return points, visible, first

    def _divisors(self, images: Images, frames: NDArray[np.int8]) -> NDArray[np.float64]:
        """(N, 2) the divisors of the coordinates of each image; 0 if unknown."""
        if not self._in_pixels:
            return np.ones((len(images), 2))
        given = np.array(self._sizes, np.float64).reshape(-1, 2)
        shown = np.column_stack([images.columns["width"], images.columns["height"]])
        wanted = (given.min(axis=1, initial=np.inf) <= 0) | (frames == Frame.SWAPPED)
        return np.where(wanted[:, None], shown, given)


def _column(values: array[Any]) -> NDArray[Any]:
    return np.frombuffer(values, values.typecode) if len(values) else np.zeros(0, values.typecode)


def _spots(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of several runs of values, one run after the other."""
    ends = np.cumsum(counts)
    return np.asarray(np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0))


def _stamp(path: str) -> Stamp:
    """The stamp of a regular file; else `NO_FILE`."""
    try:
        status = os.stat(path)  # noqa: PTH116 - one call an image
    except (OSError, ValueError):
        return NO_FILE
    return stamp_of(status) if stat.S_ISREG(status.st_mode) else NO_FILE


def _last(path: str) -> str:
    return path.rpartition(os.sep)[2]


def split_of(stem: str, folder: str) -> str:
    """The split that the stem or folder of a file names; else train."""
    for word in (*_words_of_name(stem), folder.lower()):
        if word in ("val", "valid", "validation"):
            return "val"
        if word == "test":
            return "test"
    return "train"


def inside(name: str) -> bool:
    """Whether a path in an annotation file is relative, and stays below its folder."""
    parts = name.replace("\\", "/").split("/")
    return bool(name) and "\0" not in name and ".." not in parts and not parts[0].endswith(":") and parts[0] != ""


def image_root(folder: Path, names: Sequence[str], extra: Sequence[str] = ()) -> Path:
    """The folder that holds most of the first images: that of the annotations, one beside it, or one above.

    If these hold none, the folders beside are searched, those first that share a word with `extra`.
    """
    near = ("", "images", "JPEGImages", *extra)
    places = [base / name for base in (folder, folder.parent) for name in near]
    places += [folder.parent / "images" / name for name in extra]
    tried = [name for name in names if inside(name)][:TRIED]
    counts = [sum(os.path.isfile(f"{place}{os.sep}{name}") for name in tried) for place in places]  # noqa: PTH113
    if max(counts) == 0:
        places += _beside(folder, {word for name in extra for word in _words_of_name(name)})
        counts = [sum(os.path.isfile(f"{place}{os.sep}{name}") for name in tried) for place in places]  # noqa: PTH113
    return places[counts.index(max(counts))]


def _beside(folder: Path, words: set[str]) -> list[Path]:
    """The folders in a folder, in the one above and in its `images`, those first whose names have one of the words."""
    found = []
    for base in (folder, folder.parent, folder.parent / "images"):
        try:
            below = [Path(entry.path) for entry in sorted(os.scandir(base), key=lambda e: e.name) if entry.is_dir()]
        except OSError:
            continue
        found += below[:MOST_BESIDE]
    return sorted(found, key=lambda path: words.isdisjoint(_words_of_name(path.name)))


def _words_of_name(name: str) -> list[str]:
    return "".join(c if c.isalpha() else " " for c in name.lower()).split()
