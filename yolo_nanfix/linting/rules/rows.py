"""What the rules on label rows share: from rows of the label table to hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.linting.dataset import Image
from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.rule import Hit

Images = tuple[Image, ...]


def row_hits(labels: Labels, images: Images, mask: NDArray[np.bool_], message: Callable[[int], str]) -> Iterator[Hit]:
    """A hit for each marked row of the label table; `message` gets the row."""
    for row in np.flatnonzero(mask).tolist():
        yield file_hit(labels, images, int(labels.file[row]), message(row), int(labels.line[row]))


def file_hit(labels: Labels, images: Images, file: int, message: str, line: int | None = None) -> Hit:
    """A hit on a label file, or on one of its lines."""
    label = labels.files[file]
    image = images[label.image]
    return Hit(label.path, message, line, split=image.split, image=image.file)


def bad_hits(labels: Labels, images: Images, kind: str, message: str) -> Iterator[Hit]:
    """A hit for each row that could not be read for that reason; `message` may hold `{text}`."""
    for bad in labels.bad:
        if bad.kind == kind:
            text = bad.text if len(bad.text) <= 60 else bad.text[:57] + "..."
            yield file_hit(labels, images, bad.file, message.format(text=text), bad.line)


def show(numbers: NDArray[np.float32]) -> str:
    """Numbers as a person would write them."""
    return " ".join(f"{float(n):.6g}" for n in numbers)
