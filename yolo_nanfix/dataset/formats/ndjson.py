"""Ultralytics NDJSON: a line about the dataset, then a line an image with its labels, already normalised."""

from __future__ import annotations

import io
import json
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset import bounded
from yolo_nanfix.dataset.bounded import ANNOTATION_ENTRIES, ENTRY_BYTES
from yolo_nanfix.dataset.formats.build import SPLITS, Annotated, Builder, inside
from yolo_nanfix.dataset.formats.defects import Defect
from yolo_nanfix.dataset.formats.json_walk import read_json
from yolo_nanfix.dataset.formats.notes import brief, numbers, side, whole
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError
from yolo_nanfix.tasks import Basis, TaskBasis

KEYS = {"detect": "boxes", "segment": "segments", "pose": "pose", "obb": "obb"}
"""The tasks whose labels are read, each with the key of its annotations."""


def read_ndjson(path: Path, options: LintOptions) -> Annotated:
    """Read an NDJSON file; its own task counts.

    Raises:
        DataError: the file cannot be read, or is of a task that lint does not read in this form.
    """
    builder = Builder(path, replace(options, task=None), pixels=False)
    rows = _rows(path, builder)
    begin = next(rows, None)
    first = begin[1] if begin and isinstance(begin[1], dict) else {}
    if "file" in first or not first:
        says = "the first line must be about the dataset: task, class_names"
        builder.note(str(path), Defect.ENTRY_MALFORMED, says, 1)
        first = {}
    task = first.get("task", "detect")
    if not isinstance(task, str) or task not in KEYS:
        raise DataError(f"{path} is of the task {brief(task)}; of NDJSON lint reads {', '.join(KEYS)}")
    builder.on_disk = isinstance(first.get("path"), str)
    builder.settle(Basis(TaskBasis.ANNOTATIONS, task))
    _NdjsonReader(path, first, task, builder).read(rows if first or begin is None else chain((begin,), rows))
    return builder.finish()


def _rows(path: Path, builder: Builder) -> Iterator[tuple[int, Any]]:
    """The JSON values of the lines of a file, with their line numbers, parsed while they are iterated."""
    data, odd = read_json(path)
    note = partial(builder.note, str(path))
    for says, values in odd:
        note(Defect.ANNOTATION_FILE_BROKEN, says, **values)
    constants: list[str] = []  # NaN and Infinity in a line

    def constant(name: str) -> float:
        constants.append(name)
        return float(name)

    decoder = json.JSONDecoder(parse_constant=constant)
    lines, size = ANNOTATION_ENTRIES * bounded.times(), ENTRY_BYTES * bounded.times()
    for line, row in enumerate(io.BytesIO(data), 1):
        row = row.removesuffix(b"\n")
        if line > lines:
            note(Defect.ANNOTATION_FILE_BROKEN, "more than {most} lines", line, most=lines)
            return
        if len(row) > size:
            says = "line {at} has more than {most} MB"
            note(Defect.ANNOTATION_FILE_BROKEN, says, line, at=line, most=size >> 20)
            continue
        constants.clear()
        text = row.decode("utf-8", "replace")
        try:
            found = [decoder.decode(text)] if text.strip() else []
        except (ValueError, RecursionError) as error:
            says, values = "no valid JSON: {problem} (line {at})", dict[str, Any](at=line, problem=str(error))
            if isinstance(error, json.JSONDecodeError):
                says = "no valid JSON: {problem} (line {at}, column {column})"
                values |= {"column": error.colno, "problem": error.msg}
            note(Defect.ANNOTATION_FILE_BROKEN, says, line, **values)
            found = []
        if constants:
            note(Defect.NUMBER_NOT_FINITE, "NaN or Infinity", line)
        yield from ((line, value) for value in found)


class _NdjsonReader:
    def __init__(self, path: Path, first: dict[str, Any], task: str, builder: Builder) -> None:
        self._path, self._task, self._builder = path, task, builder
        self._lines, self._numbers, self._images = array("i"), array("i"), array("i")  # of the rows
        self._files: dict[int, str] = {}
        self._top = -1
        self._named = self._names(first.get("class_names"))
        shape = first.get("kpt_shape")
        if task == "pose" and numbers(shape) and len(shape) == 2 and all(whole(v) and v > 0 for v in shape):
            builder.kpt_shape = (int(shape[0]), int(shape[1])) if shape[1] in (2, 3) else None
        local = first.get("path")
        self._root = path.parent / local if isinstance(local, str) and inside(local) else None

    def _names(self, given: Any) -> dict[int, str]:
        try:
            return {int(key): str(name) for key, name in (given or {}).items()}
        except (AttributeError, TypeError, ValueError):
            self._note(Defect.ENTRY_MALFORMED, "class_names is {given}, not numbers with names", 1, given=brief(given))
            return {}

    def _note(self, defect: Defect, says: str, line: int | None, image: int | None = None, **values: Any) -> None:
        self._builder.note(str(self._path), defect, says, line, image, **values)

    def read(self, records: Iterable[tuple[int, Any]]) -> None:
        """Add all images."""
        splits: set[str] = set()
        met: set[str] = set()
        for line, record in records:
            if not isinstance(record, dict):
                self._note(Defect.ENTRY_MALFORMED, "{record} is no object", line, record=brief(record))
                continue
            name, split = record.get("file"), record.get("split")
            if not isinstance(name, str) or not name:
                self._note(Defect.ENTRY_MALFORMED, "'file' is {name!r}", line, name=name)
                continue
            if not isinstance(split, str) or split not in SPLITS:
                self._note(Defect.SPLIT_UNKNOWN, "{name!r}: the split is {split!r}", line, name=name, split=split)
                continue
            splits.add(split)
            self._image(line, record, name, split, met)
        if "train" not in splits:
            self._note(Defect.SPLIT_UNKNOWN, "no image is of the split 'train'", None)
        count = max([self._top, *self._named]) + 1 if self._named or self._top >= 0 else 0
        bare = sorted(set(range(min(count, 100_000))) - set(self._named)) if self._named else []
        if bare:
            says = "{count} class numbers without a name: {classes:,8}"
            self._note(Defect.CLASS_WITHOUT_NAME, says, 1, count=len(bare), classes=tuple(bare))
        self._builder.names = [self._named.get(i, f"class{i}") for i in range(min(count, 100_000))]
        self._builder.where[str(self._path)] = self._where

    def _where(self, number: int) -> tuple[int, str]:
        """The line of a row, and what it is called."""
        row = number - 1
        return self._lines[row], f"row {self._numbers[row]} of {self._files[self._images[row]]}"

    def _image(self, line: int, record: dict[str, Any], name: str, split: str, met: set[str]) -> None:
        size = side(record.get("width")), side(record.get("height"))
        if min(size) <= 0 and ("width" in record or "height" in record):
            says, sides = (
                "{name!r}: the size is {width}x{height}",
                [brief(record.get(of)) for of in ("width", "height")],
            )
            self._note(Defect.IMAGE_SIZE_ZERO, says, line, name=name, width=sides[0], height=sides[1])
        folder = self._root / "images" / split if self._root else self._path.parent
        if not inside(name):
            self._note(Defect.PATH_OUTSIDE, "'file' is {name!r}", line, name=name)
        image = self._builder.image(f"{folder}{os.sep}{Path(name).name}", split, str(self._path), size)
        url = record.get("url")
        if self._root is None and not (isinstance(url, str) and "://" in url):
            self._note(Defect.SOURCE_MISSING, "{name!r}: 'url' is {url!r}", line, image, name=name, url=url)
        source = url if isinstance(url, str) else f"{split}/{name}"
        if source in met:
            self._note(Defect.FILE_NAME_REPEATED, "{name!r} is listed already", line, image, name=name)
        met.add(source)
        annotations = record.get("annotations") or {}
        if not isinstance(annotations, dict):
            says, given = "'annotations' is {given}, not an object", brief(annotations)
            return self._note(Defect.ENTRY_MALFORMED, says, line, image, given=given)
        if len(annotations) > 1:
            says = "only the first of {keys:,} is used"
            self._note(Defect.ANNOTATIONS_IGNORED, says, line, image, keys=tuple(annotations))
        key = next(iter(annotations), KEYS[self._task])
        if key != KEYS[self._task]:
            says, wanted = "the labels are {key!r}, those of the task {task} are {wanted!r}", KEYS[self._task]
            self._note(Defect.ANNOTATIONS_IGNORED, says, line, image, key=key, task=self._task, wanted=wanted)
        elif annotations and not isinstance(annotations[key], list):
            says, given = "{key!r} is {given}, not a list", brief(annotations[key])
            self._note(Defect.ENTRY_MALFORMED, says, line, image, key=key, given=given)
        else:
            self._files[image] = name
            for number, row in enumerate(annotations.get(key, ()), 1):
                self._row(line, image, number, row)
        return None

    def _row(self, line: int, image: int, place: int, row: Any) -> None:
        """Add one row, by its place among those of the image, if it has the form that its task wants."""
        about = {"row": place, "name": self._files[image]}
        if not numbers(row) or not self._fits(len(row)):
            says = "row {row} of {name}: {given} of {count} is no row of {task}"
            if not isinstance(row, list):
                says = "row {row} of {name}: {given} is no row of {task}"
            about |= {"given": brief(row), "count": len(row) if isinstance(row, list) else None, "task": self._task}
            return self._note(Defect.ROW_MALFORMED, says, line, image, **about)
        if row[0] % 1 or not 0 <= row[0] < 100_000:
            says = "row {row} of {name}: the class is {cls}"
            return self._note(Defect.ROW_MALFORMED, says, line, image, cls=row[0], **about)
        cls, values = int(row[0]), row[1:]
        self._top = max(self._top, cls)
        self._lines.append(line)
        self._numbers.append(place)
        self._images.append(image)
        number = len(self._lines)
        if self._task == "detect":
            self._builder.row(image, number, cls, values)
        elif self._task == "pose":
            points, dims = values[4:], self._builder.kpt_shape[1] if self._builder.kpt_shape else 3
            seen = points[2::3] if dims == 3 else None
            self._builder.row(image, number, cls, values[:4], points[::dims], points[1::dims], seen, len(row))
        else:
            self._builder.outline(image, number, cls, values)
        return None

    def _fits(self, length: int) -> bool:
        if self._task == "pose":
            shape = self._builder.kpt_shape
            return length == 5 + shape[0] * shape[1] if shape else length > 5 and length % 3 == 2
        return {"detect": length == 5, "obb": length == 9, "segment": length >= 7 and length % 2 == 1}[self._task]
