"""The images with findings, to be drawn or handed over: their boxes in pixels, and which finding belongs to which box.

Only regular image files within the dataset's folders are opened, of the formats that are trained on; others are neither
shown nor handed over. The name of an image is its whole path below the dataset's folder: labels that come back from a
labelling tool are matched by it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageFile, ImageOps

from yolo_nanfix.dataset.decode import silent
from yolo_nanfix.dataset.image_header import ORIENTATION, QUARTER, quiet
from yolo_nanfix.dataset.label_parser import PLAIN_COLUMNS, is_polygon, numbers_of, rows_of
from yolo_nanfix.files import NotRegular, Refusal, Within
from yolo_nanfix.findings import Finding, Place, Severity

IMAGE_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP")
"""Pillow's names of the formats that are opened; its others are drawings, documents or have no signature."""
LARGEST_IMAGE = 1 << 30
"""Bytes of an image file at most; a larger one may be a sparse file."""
TOO_MANY = 120_000_000
"""Images of more pixels are not decoded."""

Canvas = NDArray[np.uint8]


def size_of(image: str, within: Within) -> tuple[int, int]:
    """Width and height of an image as shown; (0, 0) if it does not exist, or is no image.

    Raises:
        NotRegular: it may not be opened.
    """
    try:
        with quiet(), within.open(image) as stream:
            if os.fstat(stream.fileno()).st_size > LARGEST_IMAGE:
                raise NotRegular(image, Refusal.LARGE)
            with PILImage.open(stream, formats=_formats()) as opened:
                (width, height), turn = opened.size, opened.getexif().get(ORIENTATION)
    except NotRegular:
        raise
    except Exception:  # Pillow's readers raise anything on damaged files
        return 0, 0
    return (height, width) if turn in range(QUARTER, 9) else (width, height)


def pixels_of(image: str, within: Within, area: int, longest: int) -> Canvas | None:
    """An image as shown, EXIF rotation applied, as (H, W, 3) uint8 BGR.

    Args:
        image: its file.
        within: the folders from which it may be opened.
        area: pixels by its header; an image of too many is not decoded.
        longest: a JPEG may be decoded at less than its size, down to this longer side.

    Returns:
        None if it cannot be opened or decoded.
    """
    try:
        with within.open(image) as stream:
            return _decoded(stream, image, area, longest)
    except (OSError, ValueError):
        return None


class Taken:
    """One image file, opened once, so that the decoded file is the copied one."""

    def __init__(self, stream: BinaryIO, image: str, area: int, longest: int) -> None:
        """Decode it; the arguments are those of `pixels_of`."""
        self._stream = stream
        self.pixels = _decoded(stream, image, area, longest)
        self.is_image = self.pixels is not None or area > TOO_MANY or _cut_off(stream)

    def copy(self, target: Path) -> None:
        """Write its bytes to a new file."""
        self._stream.seek(0)
        with open(target, "xb") as copied:
            shutil.copyfileobj(self._stream, copied, 1 << 20)


@contextmanager
def taken(image: str, within: Within, area: int, longest: int) -> Iterator[Taken | None]:
    """An open image for a `with` block; None if it does not exist or may not be read."""
    try:
        stream = within.open(image)
    except (OSError, ValueError):
        yield None
        return
    with stream:
        yield Taken(stream, image, area, longest)


def _decoded(stream: BinaryIO, image: str, area: int, longest: int) -> Canvas | None:
    if not 0 < area <= TOO_MANY:
        return None
    if image.lower().endswith((".tif", ".tiff")):
        return _tiff(stream)
    try:
        with quiet(), PILImage.open(stream, formats=_formats()) as opened:
            opened.draft("RGB", (longest, longest))
            turned = ImageOps.exif_transpose(opened)
            return _bytes(np.asarray(turned if turned.mode.startswith(("I", "F")) else turned.convert("RGB")))
    except Exception:  # as above
        return None


def _cut_off(stream: BinaryIO) -> bool:
    """Whether a file that cannot be decoded is a truncated image."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        stream.seek(0)
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        with quiet(), PILImage.open(stream, formats=_formats()) as opened:
            opened.load()
    except Exception:  # as above
        return False
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    return True


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this Pillow can open."""
    PILImage.init()
    return tuple(name for name in IMAGE_FORMATS if name in PILImage.OPEN)


def _tiff(stream: BinaryIO) -> Canvas | None:
    """A TIFF by OpenCV, whose messages about damaged ones can be suppressed."""
    try:
        with silent():
            pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        return None
    if pixels is None or (pixels.ndim == 3 and pixels.shape[2] < 3):
        return None if pixels is None else _bytes(pixels[..., 0])
    return _bytes(pixels if pixels.ndim == 2 else pixels[..., 2::-1])


def _bytes(pixels: NDArray[Any]) -> Canvas:
    """Pixels of any type as 8-bit BGR; numbers beyond 8 bits are stretched from their lowest to their highest."""
    if pixels.dtype != np.uint8:
        finite = np.nan_to_num(pixels.astype(np.float64), posinf=0, neginf=0)
        low, high = float(finite.min()), float(finite.max())
        pixels = ((finite - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


Point = tuple[float, float]
LARGEST_LABELS = 16 * 2**20
"""Bytes of a label file at most; the rows of a larger one are not drawn."""
_FAR = 2.0
_UNWRITABLE = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff"
"""Characters that XML, JSON or lines of text cannot hold."""
_UNTEXT, _UNFIT = re.compile(f"[{_UNWRITABLE}]"), re.compile(rf"[{_UNWRITABLE}\\]")
"""Characters that are replaced in texts and in names; in names also backslashes, which tools read as folders."""


class Shape(NamedTuple):
    """One label row that can be drawn.

    Attributes:
        line: 1-based, in its label file.
        label: name of the class.
        number: number of the class.
        box: left, top, right, bottom in pixels; at least one pixel wide and high, not clipped to the image.
        polygon: corners in pixels; empty for a plain box.
        keypoints: x, y in pixels and visibility (0 to 2) of each keypoint; empty unless the task is pose.
        defects: the findings about this row.
    """

    line: int
    label: str
    number: int
    box: tuple[float, float, float, float]
    polygon: tuple[Point, ...]
    keypoints: tuple[tuple[float, float, int], ...]
    defects: tuple[Finding, ...]


class Scene(NamedTuple):
    """One image with findings.

    Attributes:
        file: its path.
        name: its unique name in the output: its path below the dataset's folder, with slashes.
        original: the same path as it is on disk, which differs if it cannot be written (`is_exact`).
        split: the split in which it is met.
        width, height: in pixels as it is shown, EXIF rotation applied; 0 if the image cannot be opened.
        shapes: the rows of its label file that can be drawn.
        defects: the findings that belong to none of these.
        refused: its image and label files that are not opened: they lie elsewhere or are no regular files.
    """

    file: str
    name: str
    original: str
    split: str
    width: int
    height: int
    shapes: tuple[Shape, ...]
    defects: tuple[Finding, ...]
    refused: tuple[tuple[str, Refusal], ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether a label that comes back under the name finds its image."""
        return self.name == self.original

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings about the image, those about its rows first."""
        return (*(finding for shape in self.shapes for finding in shape.defects), *self.defects)


@dataclass(frozen=True)
class Album:
    """The dataset of the images.

    Attributes:
        data: its data.yaml.
        task: the task whose label format it has.
        root: the folder of the images, from which their names start.
        within: the folders from which files may be opened.
        names: class names by number.
        kpt_shape: keypoints and their dimensions, for pose.
        label_of: the path of the label file of an image; empty for classify.
        split_of: the split of an image; empty if unknown.
    """

    data: str
    task: str
    root: str
    within: Within
    names: Mapping[int, str]
    kpt_shape: tuple[int, int] | None
    label_of: Callable[[str], str] = field(repr=False)
    split_of: Callable[[str], str] = field(default=lambda image: "", repr=False)


def plain(text: str) -> str:
    """The text as XML, JSON and CSV can all hold it: control characters and broken surrogates as escapes."""
    return _UNTEXT.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def describe(finding: Finding) -> str:
    """A finding in one line of plain text."""
    return plain(f"{finding.code} {finding.name}: {finding.message}")


def scenes(findings: Iterable[Finding], album: Album, most: int | None) -> list[Scene]:
    """The images that findings are about, those with the worst first; both images of a pair, one after the other.

    Args:
        findings: of which those of no image are left out, and those explained by one about the whole set.
        album: the dataset.
        most: at most so many images, but never one of a pair alone; None for all.
    """
    by_image: dict[str, list[Finding]] = {}
    start = album.root.rstrip(os.sep) + os.sep
    for finding in findings:
        if finding.image is not None and finding.because is None:
            shown = finding.seen_from(start)
            by_image.setdefault(finding.image, []).append(shown)
            if finding.partner is not None:
                by_image.setdefault(finding.partner, []).append(_mirrored(shown).seen_from(start))
    chosen = _chosen(by_image, most)
    names = _unique_names(chosen, album.root)
    return [scene_of(image, by_image[image], album, names[image]) for image in chosen]


def unlabelled_scenes(images: Iterable[str], album: Album, most: int | None) -> list[Scene]:
    """Images without labels and findings, to be labelled."""
    chosen = [*images][:most]
    names = _unique_names(chosen, album.root)
    return [scene_of(image, (), album, names[image]) for image in chosen]


def _chosen(by_image: Mapping[str, Sequence[Finding]], most: int | None) -> list[str]:
    """The images in order, each followed by its partners; at most so many."""
    worst_first = sorted(by_image.items(), key=lambda item: (min(f.severity.rank for f in item[1]), item[0]))
    chosen: dict[str, None] = {}
    for image, found in worst_first:
        group = dict.fromkeys(
            one for one in (image, *(f.partner for f in found if f.partner is not None)) if one not in chosen
        )
        if most is None or len(chosen) + len(group) <= most or not chosen:
            chosen |= group
    return list(chosen)


def _mirrored(finding: Finding) -> Finding:
    """A finding about a pair, for the other image."""
    values = {"other": finding.image, "said": finding.message}
    place, other = Place(finding.partner or ""), (Place(finding.image or ""),)
    said = replace(finding, says="{other}: {said}", values=values, related=other)
    return replace(said, place=place, split=None, image=finding.partner)


def scene_of(image: str, found: Sequence[Finding], album: Album, name: str | None = None) -> Scene:
    """One image, read from its file and its label file, with what was found in it.

    Args:
        image: its file.
        found: the findings about it; perhaps none.
        album: its dataset.
        name: its name in the output; by default its path.
    """
    refused: list[tuple[str, Refusal]] = []
    width = height = 0
    try:
        width, height = size_of(image, album.within)
    except NotRegular as error:
        refused.append((image, error.refusal))
    label = album.label_of(image)
    shapes: tuple[Shape, ...] = ()
    if width and label:
        about = [f for f in found if f.place.file == label and f.place.line is not None]
        cut = any(f.code == "TX007" for f in found)
        try:
            shapes = tuple(_shapes(label, album, (width, height), about, cut))
        except NotRegular as error:
            refused.append((label, error.refusal))
    drawn = {id(f) for shape in shapes for f in shape.defects}
    rest = tuple(f for f in found if id(f) not in drawn)
    split = next((f.split for f in found if f.split), "") or album.split_of(image)
    original = below(image, album.root)
    return Scene(image, name or original, original, split, width, height, shapes, rest, tuple(refused))


def below(image: str, root: str) -> str:
    """The path of an image from the dataset's folder on, with slashes; its whole path if it lies elsewhere."""
    path = os.path.abspath(image)  # noqa: PTH100 - without following links
    inside = path.removeprefix(root.rstrip(os.sep) + os.sep)
    return inside.lstrip(os.sep).replace(os.sep, "/")


def called(album: Album) -> str:
    """The name of a dataset in the output: the last two parts of the path of its data.yaml or folder."""
    return "/".join(Path(os.path.abspath(album.data)).parts[-2:]).lstrip(os.sep)  # noqa: PTH100


def _unique_names(images: Sequence[str], root: str) -> dict[str, str]:
    """A unique name for each image: its path; if that cannot be written, a similar one."""
    paths = {image: below(image, root) for image in images}
    names: dict[str, str] = {}
    taken: set[str] = set()
    for image, path in sorted(paths.items(), key=lambda pair: bool(_UNFIT.search(pair[1]))):
        wanted = name = _UNFIT.sub("_", path)
        number = 1
        while name in taken:
            number += 1
            head, dot, suffix = wanted.rpartition(".")
            name = f"{head}~{number}{dot}{suffix}"
        taken.add(name)
        names[image] = name
    return names


def _shapes(label: str, album: Album, size: tuple[int, int], about: list[Finding], cut: bool) -> Iterable[Shape]:
    """The rows of a label file that can be drawn; with `cut` only class and box of each row.

    Raises:
        NotRegular: the file may not be opened.
    """
    try:
        data = album.within.read(label, LARGEST_LABELS + 1)
        if len(data) > LARGEST_LABELS:
            raise NotRegular(label, Refusal.LARGE)
        text = data.decode("utf-8-sig")
    except NotRegular:
        raise
    except (OSError, UnicodeDecodeError):
        return
    by_line: dict[int | None, list[Finding]] = {}
    for finding in about:
        by_line.setdefault(finding.place.line, []).append(finding)
    for number, words in rows_of(text):
        values = numbers_of(words[:PLAIN_COLUMNS] if cut else words)
        if values is not None and _is_drawn(values, album.task):
            yield _shape_of_row(number, values, album, size, tuple(by_line.get(number, ())))


def _is_drawn(values: list[float], task: str) -> bool:
    """Whether a row can be drawn: a class, and a box or corners not far outside the image."""
    if len(values) < PLAIN_COLUMNS or not all(map(isfinite, values)):
        return False
    corners = values[1:] if is_polygon(len(values), task) else values[1:PLAIN_COLUMNS]
    return max(map(abs, corners)) <= _FAR


def _shape_of_row(
    line: int, values: list[float], album: Album, size: tuple[int, int], defects: tuple[Finding, ...]
) -> Shape:
    """One row in pixels."""
    width, height = size
    number = int(values[0])
    label = plain(album.names.get(number, f"class {values[0]:g}"))
    points = values[1:]
    polygon: tuple[Point, ...] = ()
    keypoints: tuple[tuple[float, float, int], ...] = ()
    if is_polygon(len(values), album.task):
        polygon = tuple((x * width, y * height) for x, y in zip(points[::2], points[1::2], strict=True))
        xs, ys = zip(*polygon, strict=True)
        box = (min(xs), min(ys), max(xs), max(ys))
    else:
        x, y, w, h = points[:4]
        w, h = abs(w), abs(h)
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        keypoints = tuple(_keypoints(points[4:], album, size))
    left, top, right, bottom = box
    box = (left, top, max(right, left + 1), max(bottom, top + 1))  # so that it can be seen, and imported
    return Shape(line, label, number, box, polygon, keypoints, defects)


def _keypoints(values: list[float], album: Album, size: tuple[int, int]) -> Iterable[tuple[float, float, int]]:
    """The keypoints of a pose row in pixels; none if their number is not that of data.yaml."""
    if album.task != "pose" or album.kpt_shape is None or len(values) != album.kpt_shape[0] * album.kpt_shape[1]:
        return
    dims = album.kpt_shape[1]
    for at in range(0, len(values), dims):
        seen = 2 if dims < 3 else min(max(int(values[at + 2]), 0), 2)
        yield values[at] * size[0], values[at + 1] * size[1], seen


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The worst severity among findings."""
    return min((f.severity for f in findings), key=lambda s: s.rank, default=None)
