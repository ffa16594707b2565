"""The images with findings as values: their boxes in pixels, and which defect belongs to which box."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from PIL import Image as PILImage

from yolo_nanfix.findings import Finding, Severity

Point = tuple[float, float]
_BOX = 5
_FAR = 2.0
_LONGEST_NAME = 60
"""Characters of a folder or file name that are kept, its end; no system has fewer bytes for one."""
_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112


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
        name: its name in what is written: below the dataset's folder, unlike any other's, and plain text.
        split: the split in which it is met.
        width, height: in pixels as it is shown, EXIF rotation applied; 0 if the image cannot be opened.
        shapes: the rows of its label file that can be drawn.
        defects: the findings that belong to none of these.
    """

    file: str
    name: str
    split: str
    width: int
    height: int
    shapes: tuple[Shape, ...]
    defects: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings about the image, those about its rows first."""
        return (*(finding for shape in self.shapes for finding in shape.defects), *self.defects)


@dataclass(frozen=True)
class Album:
    """What is known of the dataset.

    Attributes:
        data: its data.yaml.
        task: the task whose label format it has.
        root: its folder.
        names: class names by number.
        kpt_shape: keypoints and their dimensions, for pose.
        label_of: the path of the label file of an image; empty for classify.
    """

    data: str
    task: str
    root: str
    names: Mapping[int, str]
    kpt_shape: tuple[int, int] | None
    label_of: Callable[[str], str] = field(repr=False)


def plain(text: str) -> str:
    """The text as XML, JSON and CSV can all hold it: control characters and broken surrogates as escapes."""
    return "".join(c if c == " " or c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def describe(finding: Finding) -> str:
    """A finding in one line of plain text."""
    return plain(f"{finding.code} {finding.name}: {finding.message}")


def scenes(findings: Iterable[Finding], album: Album, most: int | None) -> list[Scene]:
    """The images that findings are about, those with the worst first; at most so many."""
    by_image: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.image is not None:
            by_image.setdefault(finding.image, []).append(finding)
    order = sorted(by_image.items(), key=lambda item: (min(f.severity.rank for f in item[1]), item[0]))
    taken: set[str] = set()
    return [scene_of(image, found, album, taken) for image, found in order[:most]]


def scene_of(image: str, found: Sequence[Finding], album: Album, taken: set[str]) -> Scene:
    """One image, read from its file and its label file, with what was found in it.

    Args:
        image: its file.
        found: the findings about it; perhaps none.
        album: its dataset.
        taken: the names that other images have; its own is added.
    """
    width, height = size_of(image)
    label = album.label_of(image)
    shapes: tuple[Shape, ...] = ()
    if width and label:
        about = [f for f in found if f.place.file == label and f.place.line is not None]
        cut = any(f.code == "TX007" for f in found)
        shapes = tuple(_shapes(label, album, (width, height), about, cut))
    drawn = {id(f) for shape in shapes for f in shape.defects}
    rest = tuple(f for f in found if id(f) not in drawn)
    split = next((f.split for f in found if f.split), "")
    return Scene(image, _name(image, album.root, taken), split, width, height, shapes, rest)


def _name(image: str, root: str, taken: set[str]) -> str:
    """The image's path below the dataset's folder, with slashes, in plain text that was not given before."""
    below = os.path.relpath(image, root) if os.path.isabs(image) else image  # noqa: PTH117
    inside = not os.path.isabs(below) and os.pardir not in Path(below).parts  # noqa: PTH117
    parts = Path(below if inside else Path(image).name).parts
    wanted = name = "/".join(_tame(part)[-_LONGEST_NAME:] for part in parts)
    number = 1
    while name in taken:
        number += 1
        head, dot, suffix = wanted.rpartition(".")
        name = f"{head}~{number}{dot}{suffix}"
    taken.add(name)
    return name


def _tame(part: str) -> str:
    """A folder or file name that every format and tool takes; readers take backslashes for folders."""
    return "".join(c if (c == " " or c.isprintable()) and c != "\\" else "_" for c in part)


def size_of(image: str) -> tuple[int, int]:
    """Width and height as the image is shown; (0, 0) if it cannot be opened."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open(image, "rb") as stream, PILImage.open(stream) as opened:
                width, height = opened.size
                turned = opened.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # Pillow's readers raise anything on damaged files
        return 0, 0
    return (height, width) if turned else (width, height)


def _shapes(label: str, album: Album, size: tuple[int, int], about: list[Finding], cut: bool) -> Iterable[Shape]:
    """The rows of a label file that can be drawn; `cut`: only class and box of each row count."""
    try:
        lines = Path(label).read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for number, line in enumerate(lines, 1):
        words = line.split()
        values = _numbers(words[:_BOX] if cut else words)
        if values is not None:
            defects = tuple(f for f in about if f.place.line == number)
            yield _shape(number, values, album, size, defects)


def _numbers(words: list[str]) -> list[float] | None:
    """The words as numbers that can be drawn: a class, a box or corners not far outside the image; else None."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    if len(values) < _BOX or not all(map(isfinite, values)):
        return None
    polygon = len(values) > _BOX + 1 and len(values) % 2
    return values if max(map(abs, values[1:] if polygon else values[1:_BOX])) <= _FAR else None


def _shape(line: int, values: list[float], album: Album, size: tuple[int, int], defects: tuple[Finding, ...]) -> Shape:
    """One row in pixels."""
    width, height = size
    number = int(values[0])
    label = plain(album.names.get(number, f"class {values[0]:g}"))
    points = values[1:]
    polygon: tuple[Point, ...] = ()
    keypoints: tuple[tuple[float, float, int], ...] = ()
    if album.task != "pose" and len(values) > _BOX + 1 and len(values) % 2:
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
