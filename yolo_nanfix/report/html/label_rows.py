"""The label rows and classes that findings are about, from the columns that lint has anyway."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import Layout
from yolo_nanfix.dataset.table import Studied
from yolo_nanfix.findings import Finding
from yolo_nanfix.handoff.scene import Shape, plain
from yolo_nanfix.report.html.dataset_facts import About

_LARGEST = 1e6
_FAR = 2.0
_YAML = (".yaml", ".yml")
Lines = dict[int | None, list[tuple[str, int]]]


def is_yolo(studied: Studied) -> bool:
    """Whether the labels stand in text files, one an image, whose lines are the rows."""
    config = studied.config
    return config.yaml_file.suffix.lower() in _YAML or config.layout not in (Layout.YAML, Layout.CLASS_FOLDERS)


class Rows:
    """The label rows of the images of one dataset."""

    def __init__(self, studied: Studied) -> None:
        """Sort them by image."""
        self.studied = studied
        table = studied.table
        self.image = {file: number for number, file in enumerate(table.files)}
        self._order = np.argsort(table.row_image, kind="stable")
        self._owner = table.row_image[self._order]
        self._latest: tuple[int, Lines, tuple[str, ...]] = (-1, {}, ())

    def of(self, image: int) -> NDArray[np.int64]:
        """The rows of an image, by their number in the table."""
        low, high = np.searchsorted(self._owner, [image, image + 1])
        return self._order[low:high]

    def label(self, row: int) -> str:
        """The class of a row in words; empty if its number is none."""
        value = float(self.studied.table.row_cls[row])
        if not abs(value) <= _LARGEST or value != int(value):  # nan is no such number
            return ""
        return plain(self.studied.config.names.get(int(value), f"class {int(value)}"))

    def number(self, row: int) -> int:
        """The number of a row as outlines count them: its line, or one more than its place in the table."""
        return int(self.studied.table.row_line[row]) if is_yolo(self.studied) else int(row) + 1

    def about(self, finding: Finding) -> About:
        """What a finding about an image of this dataset is about."""
        lines, classes = self._lines(self.image[finding.image or ""])
        line = finding.place.line
        if finding.place.file == finding.image or (line is None and not self.studied.where):
            return About(0, classes)
        for called, row in lines.get(line, ()):
            if finding.message.startswith(called):
                label = self.label(row)
                return About(self.number(row), (label,) if label else classes)
        return About(line or 0 if is_yolo(self.studied) else 0, classes)

    def _lines(self, image: int) -> tuple[Lines, tuple[str, ...]]:
        """The rows of an image by line, each with how messages about it begin; and the classes of the image."""
        if self._latest[0] != image:
            lines: Lines = {}
            rows = self.of(image)
            where = self.studied.where.get(self.studied.table.labels[image])
            for row in rows.tolist():
                line = int(self.studied.table.row_line[row])
                place, called = where(line) if where else (line, "")
                lines.setdefault(place, []).append((f"{called}: " if called else "", row))
            self._latest = (image, lines, tuple(dict.fromkeys(filter(None, map(self.label, rows)))))
        return self._latest[1:]

    def shapes(self, image: int, size: tuple[int, int]) -> Iterable[Shape]:
        """The boxes of an image in pixels, for labels that stand in no file of its own."""
        width, height = size
        for row in self.of(image):
            x, y, w, h = map(float, self.studied.table.row_box[row])
            if all(abs(value) <= _FAR for value in (x, y, w, h)):
                w, h = abs(w) / 2, abs(h) / 2
                box = ((x - w) * width, (y - h) * height, (x + w) * width, (y + h) * height)
                yield Shape(self.number(row), self.label(row), 0, box, (), (), ())


def about_all(findings: Iterable[Finding], sets: Sequence[Rows]) -> tuple[About, ...]:
    """What each finding is about; nothing is known of those about no image of these datasets."""
    found = []
    for finding in findings:
        rows = next((rows for rows in sets if finding.image in rows.image), None)
        found.append(About() if rows is None else rows.about(finding))
    return tuple(found)
