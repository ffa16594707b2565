"""What the rules on label rows share: from rows of the label table to hits, and what several rules compute alike."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.linting.registry import Hit

T = TypeVar("T")

HIGH, LOW = 1.01, -0.01
"""Ultralytics takes coordinates outside the image by one percent of it."""


def once(make: Callable[..., T]) -> Callable[..., T]:
    """Keep the result of `make` as long as its first argument lives, or until it is asked about another one.

    Label tables hold arrays and cannot be keys of a cache; they are told apart by identity.
    """
    kept: dict[int, tuple[weakref.ref[Any], T]] = {}

    def ask(subject: Any, *more: Any) -> T:
        held = kept.get(id(subject))
        if held is None or held[0]() is not subject:
            kept.clear()
            held = weakref.ref(subject, lambda _: kept.clear()), make(subject, *more)
            kept[id(subject)] = held
        return held[1]

    return ask


def row_hits(labels: Labels, images: Images, mask: NDArray[np.bool_], message: Callable[[int], str]) -> Iterator[Hit]:
    """A hit for each marked row of the label table; `message` gets the row."""
    for row in np.flatnonzero(mask).tolist():
        yield file_hit(labels, images, int(labels.file[row]), message(row), int(labels.line[row]))


def file_hits(labels: Labels, images: Images, mask: NDArray[np.bool_], message: str) -> Iterator[Hit]:
    """One hit for each file with marked rows, on the first of them; `message` may hold `{count}`."""
    rows = np.flatnonzero(mask)
    files, start, counts = np.unique(labels.file[rows], return_index=True, return_counts=True)
    for file, row, count in zip(files.tolist(), rows[start].tolist(), counts.tolist(), strict=True):
        yield file_hit(labels, images, file, message.format(count=count), int(labels.line[row]))


def file_hit(labels: Labels, images: Images, file: int, message: str, line: int | None = None) -> Hit:
    """A hit on a label file, or on one of its lines."""
    label = labels.files[file]
    image = images[label.image]
    return Hit(label.path, message, line, split=image.split, image=image.file)


VEILED = " (the file lies outside of the dataset, so each digit is shown as 9 and each letter as x)"
"""What is said behind the text of a file that links or lists name outside of the dataset."""


def bad_hits(
    labels: Labels, images: Images, kind: str, message: str, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[Hit]:
    """A hit for each row that could not be read for that reason; `message` may hold `{text}`.

    `wanted` chooses among them by the text that was in the way.
    """
    for bad in labels.bad:
        if bad.kind == kind and wanted(bad.text):
            text = bad.text if len(bad.text) <= 60 else bad.text[:57] + "..."
            said = message.format(text=text) + VEILED * bad.veiled
            yield file_hit(labels, images, bad.file, said, bad.line)


def show(numbers: NDArray[np.float32]) -> str:
    """Numbers as a person would write them."""
    return " ".join(f"{float(n):.6g}" for n in numbers)
