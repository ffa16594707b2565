"""What a page shows of a dataset besides its findings: distributions, and small pictures with label rows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import Layout
from yolo_nanfix.dataset.grounds import ground
from yolo_nanfix.dataset.paths import label_path
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.files import Within
from yolo_nanfix.findings import Finding, Report, RuleText, Safety
from yolo_nanfix.report.html.dataset_charts import charts
from yolo_nanfix.report.html.dataset_facts import About, Outline, Picture, Show
from yolo_nanfix.scene import Album, Scene, Shape, pixels_of, plain, scene_of, size_of

OnPicture = Callable[[int, int, str], None]
Lines = dict[int | None, list[tuple[str, int]]]
MOST_PICTURES = 800
LEAST_ROOM, MOST_ROOM, ROOM_EACH = 1_800_000, 6_000_000, 600
"""Characters of a page for pictures: the least, the most, and how many for each finding between these."""
PICTURE_SIDE = 320
"""Pixels of the longer side of a picture; smaller images are scaled up to half of that."""
MOST_ROWS = 150
"""At most this many label rows of an image are drawn, those with findings first."""
MOST_CORNERS = 60
"""At most about this many corners of a polygon are drawn."""
TOO_MANY = 60_000_000
"""Images of more pixels are not decoded."""
SMALL_BOX = 16
"""Smaller boxes, in pixels of the picture, would be overlooked."""
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 70, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
_EMPTY = (240, 160)
_LARGEST_CLASS, _FAR = 1e6, 2.0


def gather(
    report: Report,
    studied: Sequence[Table],
    rules: Sequence[RuleText],
    fixes: Mapping[str, tuple[Safety, str]],
    progress: OnPicture | None = None,
    *,
    follow_links: bool = False,
) -> Show:
    """What a page shows besides a report: `fixes` has for each code with an autofix its safety, and what it does.

    Without the datasets that were read there are no pictures. `follow_links`: also show images that links or lists
    name outside of a dataset's folders.
    """
    studied = list({str(one.config.yaml_file): one for one in studied}.values())  # each as it was read last
    sets = [Rows(one) for one in studied]
    of_image = [next((rows for rows in sets if f.image in rows.image), None) for f in report.findings]
    about = tuple(
        About() if rows is None else rows.about(finding)
        for finding, rows in zip(report.findings, of_image, strict=True)
    )
    data = Path(report.data)
    places = [ground(one.config, report.given_root, follow_links=follow_links) for one in studied]
    pictures, refused = _pictures(report, list(zip(sets, places, strict=True)), about, progress)
    alone = studied[0] if len(studied) == 1 else None
    return Show(
        root=str(alone.config.root if alone else data if data.is_dir() else data.parent),
        rules=tuple(rules),
        fixes=fixes,
        fixable=alone is not None and (is_yolo(alone) or alone.task == "classify") and data.exists(),
        about=about,
        pictures=pictures,
        refused=refused,
        charts=charts(alone) if alone else (),
    )


def is_yolo(table: Table) -> bool:
    """Whether the labels are in text files, one for each image, with a row in each line."""
    config = table.config
    yaml = config.yaml_file.suffix.lower() in (".yaml", ".yml")
    return yaml or config.layout not in (Layout.YAML, Layout.CLASS_FOLDERS)


class Rows:
    """The label rows of the images of one dataset, and the classes that findings are about."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.image = {file: number for number, file in enumerate(table.files)}
        self._latest: tuple[int, Lines, tuple[str, ...]] = (-1, {}, ())

    def label(self, row: int) -> str:
        """The name of a row's class; empty if its number is no class."""
        value = float(self.table.row_cls[row])
        if not abs(value) <= _LARGEST_CLASS or value != int(value):  # nan is no such number
            return ""
        return plain(self.table.config.names.get(int(value), f"class {int(value)}"))

    def number(self, row: int) -> int:
        """The number of a row in outlines: its line, or its place in the table plus 1."""
        return int(self.table.row_line[row]) if is_yolo(self.table) else int(row) + 1

    def about(self, finding: Finding) -> About:
        """What a finding about an image of this dataset is about."""
        lines, classes = self._lines(self.image[finding.image or ""])
        line = finding.place.line
        if finding.place.file == finding.image or (line is None and not self.table.where):
            return About(0, classes)
        for called, row in lines.get(line, ()):
            if finding.values.get("entry", "") == called:
                label = self.label(row)
                return About(self.number(row), (label,) if label else classes)
        return About(line or 0 if is_yolo(self.table) else 0, classes)

    def _lines(self, image: int) -> tuple[Lines, tuple[str, ...]]:
        """The rows of an image by line, with the value `entry` of their findings; and the classes of the image."""
        if self._latest[0] != image:
            lines: Lines = {}
            rows = self.table.rows_of(image)
            where = self.table.where.get(self.table.labels[image])
            for row in rows.tolist():
                line = int(self.table.row_line[row])
                place, called = where(line) if where else (line, "")
                lines.setdefault(place, []).append((called, row))
            self._latest = (image, lines, tuple(dict.fromkeys(filter(None, map(self.label, rows)))))
        return self._latest[1:]

    def shapes(self, image: int, size: tuple[int, int]) -> Iterable[Shape]:
        """The boxes of an image in pixels, for labels of annotation files."""
        width, height = size
        for row in self.table.rows_of(image):
            x, y, w, h = map(float, self.table.row_box[row])
            if all(abs(value) <= _FAR for value in (x, y, w, h)):
                w, h = abs(w) / 2, abs(h) / 2
                box = ((x - w) * width, (y - h) * height, (x + w) * width, (y + h) * height)
                yield Shape(self.number(row), self.label(row), 0, box, (), (), ())


def wanted(findings: Iterable[Finding]) -> list[str]:
    """The images to show, in order: the first of each rule, then the second of each ..., the worst rules first."""
    by_code: dict[str, dict[str, None]] = {}
    for finding in sorted(findings, key=lambda f: f.severity.rank):
        images = by_code.setdefault(finding.code, {})
        for image in (finding.image, finding.partner):
            if image is not None:
                images[image] = None
    order = (image for turn in zip_longest(*by_code.values()) for image in turn if image is not None)
    return list(islice(dict.fromkeys(order), MOST_PICTURES))


def _pictures(
    report: Report, sets: Sequence[tuple[Rows, Within]], about: Sequence[About], progress: OnPicture | None
) -> tuple[dict[str, Picture], dict[str, str]]:
    """Pictures of the wanted images, as many as there is room for; and the files that were not opened."""
    by_image: dict[str, list[tuple[Finding, int]]] = {}
    for finding, what in zip(report.findings, about, strict=True):
        if finding.image is not None:
            by_image.setdefault(finding.image, []).append((finding, what.row))
    room = min(MOST_ROOM, max(LEAST_ROOM, ROOM_EACH * len(report.findings)))
    order = wanted(report.findings)
    pictures: dict[str, Picture] = {}
    refused: dict[str, str] = {}
    for number, image in enumerate(order):
        if progress is not None:
            progress(number, len(order), "pictures")
        known = next((one for one in sets if image in one[0].image), None)
        if known is None:
            continue
        found = by_image.get(image, [])
        scene = _scene(image, [f for f, _ in found], *known)
        refused |= {file: refusal.value for file, refusal in scene.refused}
        shown = picture(scene, {row for _, row in found}, known[1])
        room -= len(shown.uri) + sum(len(outline.path) + 40 for outline in shown.outlines)
        if room < 0:
            break
        pictures[image] = shown
    if progress is not None:
        progress(len(order), len(order), "pictures")
    return pictures, refused


def _scene(image: str, found: Sequence[Finding], rows: Rows, within: Within) -> Scene:
    table, config = rows.table, rows.table.config
    label_of = label_path if is_yolo(table) and table.task != "classify" else lambda image: ""
    data, root = str(config.yaml_file), str(config.root)
    album = Album(data, table.task, root, within, config.names, config.kpt_shape, label_of)
    scene = scene_of(image, found, album)
    if is_yolo(table) or not scene.width:
        return scene
    return scene._replace(shapes=tuple(rows.shapes(rows.image[image], size_of(image, within))))


def picture(scene: Scene, suspect: Collection[int], within: Within) -> Picture:
    """An image with its rows, the suspect ones first; a grey field with the reason if it cannot be shown."""
    refused = dict(scene.refused).get(scene.file)
    if refused is not None:
        return Picture("", *_EMPTY, reason=f"the image is not shown: it is {refused.value}")
    if not scene.width:
        return Picture("", *_EMPTY, reason="the image is missing or cannot be opened")
    area = scene.width * scene.height
    longest = max(scene.width, scene.height)
    scale = min(PICTURE_SIDE / longest, max(1.0, PICTURE_SIDE / 2 / longest))
    width, height = (max(1, round(side * scale)) for side in (scene.width, scene.height))
    reason = f"{scene.width}x{scene.height} are too many pixels to show" if area > TOO_MANY else ""
    pixels = None if reason else pixels_of(scene.file, within, area, PICTURE_SIDE)
    if pixels is None:
        reason = reason or "the image cannot be decoded"
    scales = width / scene.width, height / scene.height
    first = sorted(scene.shapes, key=lambda shape: shape.line not in suspect)[:MOST_ROWS]
    shown = sorted(first, key=lambda shape: shape.line)
    return Picture(
        uri="" if pixels is None else _uri(pixels, (width, height)),
        width=width,
        height=height,
        scale=scales,
        margin=_margin([shape for shape in scene.shapes if shape.line in suspect], scene, scales),
        outlines=tuple(Outline(s.line, s.label, _path(s, scales), _centre(s, scales)) for s in shown),
        left_out=len(scene.shapes) - len(shown),
        reason=reason,
    )


def _uri(pixels: NDArray[np.uint8], size: tuple[int, int]) -> str:
    way = cv2.INTER_AREA if pixels.shape[1] > size[0] else cv2.INTER_NEAREST
    encoded = cv2.imencode(".jpg", cv2.resize(pixels, size, interpolation=way), _QUALITY)[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode('ascii')}"


def _margin(shapes: Iterable[Shape], scene: Scene, scales: tuple[float, float]) -> tuple[int, int]:
    """Room for boxes that reach out of the image: at most a quarter of the picture at each side."""
    reach = [0.0, 0.0]
    for shape in shapes:
        left, top, right, bottom = shape.box
        reach[0] = max(reach[0], -left * scales[0], (right - scene.width) * scales[0])
        reach[1] = max(reach[1], -top * scales[1], (bottom - scene.height) * scales[1])
    across, down = (round(min(far, PICTURE_SIDE / 4)) + 4 if far > 1 else 0 for far in reach)
    return across, down


def _centre(shape: Shape, scales: tuple[float, float]) -> tuple[float, float] | None:
    """The centre of a row that is small in the picture."""
    left, top, right, bottom = shape.box
    if max((right - left) * scales[0], (bottom - top) * scales[1]) >= SMALL_BOX:
        return None
    return round((left + right) / 2 * scales[0], 1), round((top + bottom) / 2 * scales[1], 1)


def _path(shape: Shape, scales: tuple[float, float]) -> str:
    """SVG path data: the box or polygon, and a point for each labelled keypoint."""

    def at(x: float, y: float) -> str:
        return " ".join(
            f"{round(min(max(v, -PICTURE_SIDE), 2 * PICTURE_SIDE), 1):g}" for v in (x * scales[0], y * scales[1])
        )

    left, top, right, bottom = shape.box
    corners: Iterable[tuple[float, float]] = ((left, top), (right, top), (right, bottom), (left, bottom))
    if len(shape.polygon) > 2:
        corners = shape.polygon[:: -(-len(shape.polygon) // MOST_CORNERS)]
    outline = "L".join(at(x, y) for x, y in corners)
    points = "".join(f"M{at(x, y)}h0" for x, y, visible in shape.keypoints if visible)
    return f"M{outline}Z{points}"
