"""What the rules on label rows share: from rows of the label table to hits, and what several rules compute alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.linting.registry import Hit


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
