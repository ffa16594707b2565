"""Reads many label files at once: those that hold nothing but plain rows of one width are parsed as one table.

Reading numbers is most of the work of a fast lint. A file is plain if it holds digits, signs, points, exponents, single
blanks and line ends only; everything else goes through `LabelReader`, which says what is wrong with it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import repeat
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.bounded import LABEL_BYTES, LINE_BYTES, ROWS, TooLarge, check_lines, read_label
from yolo_nanfix.dataset.image_header import READ
from yolo_nanfix.dataset.label_parser import PLAIN_COLUMNS, LabelReader
from yolo_nanfix.dataset.labels import LabelFile, Labels, join

OBB_COLUMNS = 9
WORTH_IT = 64
"""From so many label files on a table is faster than reading file by file."""
_PLAIN = b"0123456789.-+eE \n"
_LINE_END = 10
_NOT_READ = b"-"
"""Stands for a file that `LabelReader` is to read."""
T = TypeVar("T")
Owners = tuple[Sequence[str], Sequence[int]]
"""The paths of label files, and the index of the image of each."""


def read_labels(
    paths: Sequence[str],
    images: Sequence[int],
    task: str,
    kpt_shape: tuple[int, int] | None,
    sizes: Sequence[int | None] | None = None,
) -> Labels:
    """The label rows of many files as columns, sorted by file and line.

    Args:
        paths: the label files; those that do not exist are left out.
        images: the index of the image of each.
        task, kpt_shape: say how many columns a row should have.
        sizes: bytes of each, where they are known to be regular files.
    """
    slow = LabelReader(task, kpt_shape)
    width = _width(task, kpt_shape)
    worth_it = len(paths) >= WORTH_IT and width
    there = _texts(paths, sizes or [None] * len(paths)) if worth_it else [_NOT_READ] * len(paths)
    texts = [text for text in there if text is not None]
    if len(texts) < len(paths):
        paths, images = _some(paths, there), _some(images, there)
    whole = b"".join(texts)
    if not _all_plain(whole, texts):
        plain = [_plain(text) for text in texts]
        for path, image, text in zip(paths, images, plain, strict=True):
            if text is None:
                slow.read(path, image)
        paths, images = _some(paths, plain), _some(images, plain)
        texts = [text for text in plain if text is not None]
        whole = b"".join(texts)
    if not texts:
        return slow.finish()
    fast, odd = _table(whole, texts, (paths, images), width, task, kpt_shape)
    for i in odd:
        slow.read(paths[i], images[i])
    rest = slow.finish()
    return join((fast, rest)) if rest.files else fast


def _texts(paths: Sequence[str], sizes: Sequence[int | None]) -> list[bytes | None]:
    """What label files hold; None for those that are not there, `_NOT_READ` for those that cannot be read."""
    texts: list[bytes | None] = []
    keep, start, read, end = texts.append, os.open, os.read, os.close
    harmless = min(ROWS, LINE_BYTES)
    for path, size in zip(paths, sizes, strict=True):
        try:
            if size is None or size > LABEL_BYTES:
                text = read_label(path)
            else:  # as `read_label` does, without a call for each
                fd = start(path, READ)
                try:
                    text = read(fd, size + 1)
                finally:
                    end(fd)
                if len(text) != size:  # it has grown, or is a file of the system
                    text = read_label(path)
                elif size > harmless:
                    check_lines(text)
        except (OSError, TooLarge):
            text = _NOT_READ
        keep(text)
    return texts


def _some(items: Sequence[T], texts: Sequence[bytes | None]) -> list[T]:
    """Those of some items whose text is there."""
    return [item for item, text in zip(items, texts, strict=True) if text is not None]


def _all_plain(whole: bytes, texts: list[bytes]) -> bool:
    """Whether all texts are plain as they are."""
    if whole.translate(None, _PLAIN) or not whole:
        return False
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    last = np.frombuffer(whole, np.uint8)[np.cumsum(lengths) - 1]
    return bool(lengths.min() >= PLAIN_COLUMNS and (last == _LINE_END).all())


def _plain(text: bytes) -> bytes | None:
    """A text as a plain one, with single line ends and one at its end; None if it is not plain."""
    if b"\r" in text and text.count(b"\r\n") == text.count(b"\n") == text.count(b"\r"):
        text = text.replace(b"\r\n", b"\n")
    if text.translate(None, _PLAIN) or len(text) < PLAIN_COLUMNS:
        return None
    return text if text.endswith(b"\n") else text + b"\n"


def _width(task: str, kpt_shape: tuple[int, int] | None) -> int:
    """The columns of a row where all rows have the same number; 0 where they do not."""
    if task == "pose":
        return PLAIN_COLUMNS + kpt_shape[0] * kpt_shape[1] if kpt_shape else 0
    return {"detect": PLAIN_COLUMNS, "obb": OBB_COLUMNS}.get(task, 0)


def _table(
    whole: bytes,
    texts: list[bytes],
    owners: Owners,
    width: int,
    task: str,
    kpt_shape: tuple[int, int] | None,
) -> tuple[Labels, list[int]]:
    """The rows of all texts that are plain, and the numbers of those that are not after all; `whole` joins them."""
    counts = _lines(whole, texts)
    odd = np.zeros(len(texts), np.bool_)
    values = _parse(whole, width, int(counts.sum()))
    if values is None:
        odd |= [not _fits(text, width) for text in texts]
        kept = [text for text, strange in zip(texts, odd, strict=True) if not strange]
        values = _parse(b"".join(kept), width, int(counts[~odd].sum()))
        if values is None:  # a file that looks plain and is not: let the careful reader have them all
            odd[:] = True
            values = [np.zeros(0)] * width
        sound = np.flatnonzero(~odd).tolist()
        owners = [owners[0][i] for i in sound], [owners[1][i] for i in sound]
    return _columns(values, counts[~odd], owners, task, kpt_shape), np.flatnonzero(odd).tolist()


def _lines(whole: bytes, texts: list[bytes]) -> NDArray[np.int64]:
    """How many lines each of some texts has, which `whole` joins; each ends with a line end."""
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    return np.diff(np.searchsorted(np.flatnonzero(np.frombuffer(whole, np.uint8) == _LINE_END), ends), prepend=0)


def _fits(text: bytes, width: int) -> bool:
    """Whether each line of a text holds so many numbers."""
    try:
        return all(len(list(map(float, line.split(b" ")))) == width for line in text[:-1].split(b"\n"))
    except ValueError:
        return False


def _parse(text: bytes, width: int, rows: int) -> list[NDArray[np.float64]] | None:
    """The numbers of a text as one column after the other; None if it does not hold so many rows of numbers."""
    if not rows:
        return [np.zeros(0)] * width
    import polars

    try:
        frame = polars.read_csv(
            text,
            separator=" ",
            has_header=False,
            schema={f"c{i}": polars.Float64 for i in range(width)},
            quote_char=None,
            ignore_errors=True,
        )
    except polars.exceptions.PolarsError:
        return None
    columns = frame.get_columns()
    if frame.height != rows or any(column.null_count() for column in columns):
        return None
    return [column.to_numpy() for column in columns]


def _columns(
    values: list[NDArray[np.float64]],
    counts: NDArray[np.int64],
    owners: Owners,
    task: str,
    kpt_shape: tuple[int, int] | None,
) -> Labels:
    rows, width = len(values[0]), len(values)
    numbers = np.empty((rows, width), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for i, column in enumerate(values):
            numbers[:, i] = column
    ends = np.cumsum(counts)
    polygons = task == "obb"
    points, visible, each = _points(numbers, task, kpt_shape)
    box = numbers[:, 1:PLAIN_COLUMNS].copy()
    shape = np.zeros(rows, np.int64)
    if polygons and rows:
        corners = points.reshape(rows, each, 2)
        low, high = corners.min(axis=1), corners.max(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            box = np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)
        shape = np.array(list(map(hash, zip(*(column.tolist() for column in values[1:]), strict=True))), np.int64)
    extra = np.zeros(rows, np.float32)
    if not np.isfinite(numbers).all():
        odd = ~np.isfinite(numbers)
        extra = np.where(odd.any(axis=1), numbers[np.arange(rows), odd.argmax(axis=1)], 0)
    return Labels(
        files=_files(owners, counts.tolist(), polygons),
        bad=(),
        odd=(),
        file=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        line=np.arange(1, rows + 1, dtype=np.int32) - np.repeat(ends - counts, counts).astype(np.int32),
        cls=numbers[:, 0].copy(),
        box=box,
        columns=np.full(rows, width, np.int32),
        shape=shape,
        extra=np.asarray(extra, np.float32),
        points=points,
        visible=visible,
        first=np.arange(rows + 1, dtype=np.int64) * each,
    )


def _files(owners: Owners, counts: list[int], polygons: bool) -> tuple[LabelFile, ...]:
    rows = zip(*owners, counts, [polygons and count > 0 for count in counts], strict=True)
    return tuple(map(tuple.__new__, repeat(LabelFile), rows))  # as `LabelFile(*row)`, in a third of the time


def _points(
    numbers: NDArray[np.float32], task: str, kpt_shape: tuple[int, int] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Corners or keypoints as (P, 2), their visibility as (P,), and how many there are in a row."""
    if task == "obb":
        points = numbers[:, 1:].reshape(-1, 2).copy()
        return points, np.full(len(points), np.nan, np.float32), (OBB_COLUMNS - 1) // 2
    if task == "pose" and kpt_shape:
        spots = numbers[:, PLAIN_COLUMNS:].reshape(-1, kpt_shape[1])
        visible = spots[:, 2].copy() if kpt_shape[1] > 2 else np.full(len(spots), np.nan, np.float32)
        return spots[:, :2].copy(), visible, kpt_shape[0]
    return np.zeros((0, 2), np.float32), np.zeros(0, np.float32), 0
