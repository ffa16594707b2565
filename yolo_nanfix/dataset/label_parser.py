"""Parses label files, split into rows and numbers as Ultralytics splits them.

Parsing numbers is most of the work of a fast lint. Files with nothing but plain rows of one width (digits, signs,
points, exponents, single spaces and line ends) are parsed together as one table by `read_labels`; all others by
`LabelReader`, which says what is wrong with them.
"""

from __future__ import annotations

import codecs
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress, islice, repeat
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.bounded import LABEL_BYTES, LABEL_ROWS, LINE_BYTES, check_lines, read_label
from yolo_nanfix.dataset.image_header import READ
from yolo_nanfix.dataset.labels import BadRow, Labels, join_labels
from yolo_nanfix.errors import LabelsTooLarge
from yolo_nanfix.wording import cut

PLAIN_COLUMNS = 5
LOWEST, HIGHEST = -0.5, 1.5
"""Normalised coordinates, those of sloppy rows among them."""
PACKED_FROM = 1 << 20
"""Characters from which on the numbers of a file are packed: Python objects would take 15 times as much memory."""
QUOTED_TEXT = 1000
"""Characters of a word or row, and unusually spelt numbers of one file, that are quoted at most."""
Row = Sequence[float]


def rows_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """1-based number and words of each line of a label file that is not blank, as Ultralytics splits them."""
    return ((number, words) for number, words in enumerate(map(str.split, text.splitlines()), 1) if words)


def numbers_of(words: Iterable[str | bytes]) -> list[float] | None:
    """The words of a row as numbers; None if one is not a number."""
    try:
        return list(map(float, words))
    except ValueError:
        return None


def is_polygon(columns: int, task: str) -> bool:
    """Whether a row of so many columns, class included, is a class and the corners of a polygon."""
    return task != "pose" and columns > PLAIN_COLUMNS + 1 and columns % 2 == 1


class LabelReader:
    """Reads label files one by one, and returns the columns of all at the end."""

    def __init__(self, task: str, kpt_shape: tuple[int, int] | None) -> None:
        """`task` and `kpt_shape` (keypoints, dimensions) say how many columns a row should have."""
        self._pose = task == "pose"
        self._points = PLAIN_COLUMNS + kpt_shape[0] * kpt_shape[1] if kpt_shape else None
        self._dims = kpt_shape[1] if kpt_shape else 2
        self._files: list[tuple[str, int, int, bool]] = []  # path, image, rows, polygons
        self._bad: list[BadRow] = []
        self._file, self._line, self._columns = array("i"), array("i"), array("i")
        self._numbers = array("f")  # class and four box numbers of each row
        self._polygons: dict[int, int] = {}  # row: hash of its points
        self._counts, self._x, self._y, self._visible = array("i"), array("f"), array("f"), array("f")
        self._extra: dict[int, float] = {}  # row: first number that is not finite, behind the first five

    def read(self, path: str, image: int) -> bool:
        """Read the label file of an image; False if there is none."""
        index = len(self._files)
        try:
            data = read_label(path)
            if data is None:
                return False
            self._note_encoding(index, data)
            text = data.decode("utf-8-sig")
        except LabelsTooLarge as large:
            self._bad.append(BadRow(index, large.line, large.kind, number=large.number))
            self._files.append((path, image, large.lines, False))
            return True
        except (OSError, UnicodeDecodeError) as error:
            self._files.append((path, image, 0, False))
            self._bad.append(BadRow(index, None, "unreadable", str(error)))
            return True
        if not text.isascii() or "_" in text:
            self._note_odd(index, text)
        rows, polygons = self._add(index, text)
        self._files.append((path, image, rows, polygons))
        return True

    def _note_encoding(self, index: int, data: bytes) -> None:
        """Note a byte order mark and mixed line ends, which other tools cannot read."""
        if data.startswith(codecs.BOM_UTF8):
            self._bad.append(BadRow(index, 1, "mark"))
        if b"\r" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            pairs, lone = data.count(b"\r\n"), data.count(b"\r") - data.count(b"\r\n")
            if lone or pairs < data.count(b"\n"):
                self._bad.append(BadRow(index, None, "ends", number=lone))

    def _note_odd(self, index: int, text: str) -> None:
        """Note the first words that Python reads as numbers although they are spelt unusually."""
        odd = (
            BadRow(index, line, "spelling", cut(token, QUOTED_TEXT))
            for line, words in rows_of(text)
            for token in words
            if ("_" in token or not token.isascii()) and numbers_of((token,)) is not None
        )
        self._bad += islice(odd, QUOTED_TEXT)

    def _add(self, index: int, text: str) -> tuple[int, bool]:
        """Add the rows of one file that are numbers: how many rows it has, and whether Ultralytics reads polygons."""
        parsed: list[tuple[int, Row]] = []
        count, large = 0, len(text) > PACKED_FROM
        for line, words in rows_of(text):
            count += 1
            if self._points is not None and not self._pose and len(words) == self._points:
                words = words[:PLAIN_COLUMNS]  # pose rows keep their box in the other tasks
            values = numbers_of(words)
            if values is None:
                self._bad.append(_unparsable(index, line, words))
            else:
                parsed.append((line, array("d", values) if large else values))
        if not self._pose and {len(numbers) for _, numbers in parsed} == {PLAIN_COLUMNS}:  # as nearly all files are
            self._add_boxes(index, parsed)
            return count, False
        polygons = not self._pose and any(len(numbers) > PLAIN_COLUMNS + 1 for _, numbers in parsed)
        mixed = [line for line, numbers in parsed if polygons and len(numbers) == PLAIN_COLUMNS]
        if mixed:
            self._bad.append(BadRow(index, mixed[0], "mixed", number=len(mixed), of=len(parsed)))
        for line, numbers in parsed:
            if not self._fits(len(numbers), polygons):
                self._bad.append(self._misfit(index, line, numbers))
            elif polygons and len(numbers) != PLAIN_COLUMNS:
                self._add_polygon(index, line, numbers)
            else:
                self._add_row(index, line, numbers, numbers[:PLAIN_COLUMNS])
        return count, polygons

    def _add_boxes(self, index: int, parsed: list[tuple[int, Row]]) -> None:
        """Add the rows of one file, all of which are plain boxes; as `_add_row` does, in half the time."""
        self._file.extend(repeat(index, len(parsed)))
        self._line.extend(line for line, _ in parsed)
        self._columns.extend(repeat(PLAIN_COLUMNS, len(parsed)))
        self._numbers.extend(chain.from_iterable(numbers for _, numbers in parsed))
        self._counts.extend(repeat(0, len(parsed)))

    def _add_row(self, index: int, line: int, numbers: Row, box: Row) -> None:
        """Add one row whose class and box (or corners) are `box`."""
        if odd := _first_odd(numbers):
            self._extra[len(self._line)] = odd
        self._file.append(index)
        self._line.append(line)
        self._columns.append(len(numbers))
        self._numbers.extend(iter(box))  # which may be an array of another kind
        points: Row
        points, dims = (numbers[PLAIN_COLUMNS:], self._dims) if self._pose else (numbers[1:], 2)
        if len(numbers) == PLAIN_COLUMNS or (self._pose and self._points is None):
            points = ()  # a row of 3 columns is a polygon of one point
        x = points[::dims]
        self._counts.append(len(x))
        self._x.extend(iter(x))
        self._y.extend(iter(points[1::dims][: len(x)]))
        self._visible.extend(iter(points[2::dims]) if dims > 2 else repeat(nan, len(x)))

    def _fits(self, width: int, polygons: bool) -> bool:
        """Whether Ultralytics takes a row of so many columns."""
        if self._pose:
            return (self._points is None and width >= PLAIN_COLUMNS) or width == self._points
        return width == PLAIN_COLUMNS or (polygons and width >= 3 and width % 2 == 1)

    def _misfit(self, index: int, line: int, numbers: Row) -> BadRow:
        """A row with another number of columns than is wanted."""
        head, behind = self._head(numbers), self._behind(numbers)
        if head is not None and head[1] > 1:
            behind = 0  # no coordinate: the number beside the class is the one too many
        ahead = behind == 1 and not self._pose and abs(numbers[1] - numbers[3]) > abs(numbers[-1] - numbers[-3])
        return BadRow(index, line, "columns", "", len(numbers), 0, head, behind, ahead)

    def _behind(self, numbers: Row) -> int:
        """How many columns a prediction may have put behind a row that would fit without them."""
        width = len(numbers)
        more = width - (self._points or width) if self._pose else int(width > 7 and width % 2 == 0)
        if more not in (1, 2) or (self._pose and self._seen(numbers, more)):
            return 0
        return more if of_prediction(numbers, more) else 0

    def _seen(self, numbers: Row, more: int) -> bool:
        """Whether the columns too many of a pose row are the visibilities of its keypoints."""
        points = ((self._points or 0) - PLAIN_COLUMNS) // self._dims
        return self._dims == 2 and points == more and all(n in (0, 1, 2) for n in numbers[PLAIN_COLUMNS + 2 :: 3])

    def _head(self, numbers: Row) -> tuple[float, float] | None:
        """The first two numbers if the row would fit with one of them and both are whole, unlike all others."""
        width = len(numbers) - 1
        fits = width == self._points if self._pose else width == PLAIN_COLUMNS or is_polygon(width, "")
        second = numbers[1] if len(numbers) > 1 else nan
        rest = numbers[2 : PLAIN_COLUMNS + 1] if self._pose else numbers[2:]
        numbered = (
            fits
            and isfinite(second)
            and second == int(second) >= 0
            and all(LOWEST <= number <= HIGHEST for number in rest)
            and not all(number in (0, 1) for number in rest)
        )
        return (numbers[0], second) if numbered else None

    def _add_polygon(self, index: int, line: int, numbers: Row) -> None:
        """Add a polygon row by its corners; `finish` turns them into a box as Ultralytics does."""
        x, y, odd = numbers[1::2], numbers[2::2], _first_odd(numbers)
        corners = [odd] * 4 if odd != odd else [min(x), min(y), max(x), max(y)]
        self._polygons[len(self._line)] = 1 if odd else hash(tuple(numbers[1:]))  # each NaN has a hash of its own
        self._add_row(index, line, numbers, [numbers[0], *corners])

    def finish(self) -> Labels:
        """The columns of all files read so far."""
        shape = np.zeros(len(self._line), np.int64)
        polygon = np.fromiter(self._polygons, np.int64, len(self._polygons))
        shape[polygon] = np.fromiter(self._polygons.values(), np.int64, len(self._polygons))
        extra = np.zeros(len(self._line), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.frombuffer(self._numbers, np.float32).reshape(-1, PLAIN_COLUMNS)
            box = numbers[:, 1:].copy()
            box[polygon, :2] = (numbers[polygon, 1:3] + numbers[polygon, 3:]) / 2
            box[polygon, 2:] = numbers[polygon, 3:] - numbers[polygon, 1:3]
            points = np.column_stack([np.array(self._x, np.float32), np.array(self._y, np.float32)])
            visible = np.array(self._visible, np.float32)
        for row, value in self._extra.items():
            extra[row] = value
        for column in numbers.T:
            extra = np.where(np.isfinite(extra) & ~np.isfinite(column), column, extra)
        return Labels(
            paths=tuple(path for path, *_ in self._files),
            image=np.array([image for _, image, _, _ in self._files], np.int64),
            rows=np.array([rows for _, _, rows, _ in self._files], np.int64),
            polygons=np.array([polygons for *_, polygons in self._files], np.bool_),
            bad=tuple(self._bad),
            file=np.array(self._file, np.int32),
            line=np.array(self._line, np.int32),
            cls=numbers[:, 0].copy(),
            box=box,
            columns=np.array(self._columns, np.int32),
            shape=shape,
            points=points,
            visible=visible,
            first=np.concatenate([[0], np.cumsum(np.array(self._counts, np.int64))]),
            extra=extra,
        )


def of_prediction(numbers: Row, more: int) -> bool:
    """Whether a row is a whole class, normalised coordinates, and `more` columns that a prediction has behind them.

    These are a confidence or the number of a track if there is one, else both.
    """
    cls, *rest = numbers[:-more]
    last = numbers[-1]
    numbered = last >= 0 and isfinite(last) and last == int(last)
    if not (isfinite(cls) and cls == int(cls) >= 0) or not all(LOWEST <= n <= HIGHEST or n in (0, 1, 2) for n in rest):
        return False
    return numbered and 0 <= numbers[-2] <= 1 if more > 1 else numbered or 0 <= last <= 1


def _first_odd(numbers: Row) -> float:
    """The first number that is NaN, else the first infinite one, else 0."""
    odd = [n for n in numbers if not isfinite(n)]
    return next((n for n in odd if n != n), odd[0]) if odd else 0.0


def _unparsable(index: int, line: int, tokens: list[str]) -> BadRow:
    """Name what is in the way of reading a row as numbers."""
    if tokens[0].startswith("#"):
        return BadRow(index, line, "comment", _row_text(tokens))
    cause = next(token for token in tokens if numbers_of((token,)) is None)
    if "#" in cause:
        return BadRow(index, line, "comment", _row_text(tokens))
    return BadRow(index, line, "comma" if any(c in cause for c in ",;") else "number", cut(cause, QUOTED_TEXT))


def _row_text(tokens: list[str]) -> str:
    """The words of a row, cut."""
    return cut(" ".join(cut(token, QUOTED_TEXT) for token in tokens[:QUOTED_TEXT]), QUOTED_TEXT)


OBB_COLUMNS = 9
WORTH_IT = 64
"""From so many label files on, parsing them as one table is faster than reading file by file."""
_PLAIN = b"0123456789.-+eE \n"
_LINE_END = 10
_NOT_READ = b"-"
"""The text of a file that `LabelReader` has to read."""
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
    read = _texts(paths, sizes or [None] * len(paths)) if worth_it else [_NOT_READ] * len(paths)
    texts = [text for text in read if text is not None]
    if len(texts) < len(paths):
        paths, images = _some(paths, images, read)
    whole = b"".join(texts)
    if not _all_plain(whole, texts):
        plain = [_plain_text(text) for text in texts]
        for path, image, text in zip(paths, images, plain, strict=True):
            if text is None:
                slow.read(path, image)
        paths, images = _some(paths, images, plain)
        texts = [text for text in plain if text is not None]
        whole = b"".join(texts)
    if not texts:
        return slow.finish()
    fast, odd = _plain_table(whole, texts, (paths, images), width, task, kpt_shape)
    for i in odd:
        slow.read(paths[i], images[i])
    rest = slow.finish()
    return join_labels((fast, rest)) if rest.paths else fast


def _texts(paths: Sequence[str], sizes: Sequence[int | None]) -> list[bytes | None]:
    """The bytes of label files; None for those that do not exist, `_NOT_READ` for those that cannot be read."""
    texts: list[bytes | None] = []
    keep, start, read, end = texts.append, os.open, os.read, os.close
    harmless = min(LABEL_ROWS, LINE_BYTES)
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
        except (OSError, LabelsTooLarge):
            text = _NOT_READ
        keep(text)
    return texts


def _some(paths: Sequence[str], images: Sequence[int], texts: Sequence[bytes | None]) -> tuple[list[str], list[int]]:
    """Those paths and images that have a text."""
    chosen = [text is not None for text in texts]
    return list(compress(paths, chosen)), list(compress(images, chosen))


def _all_plain(whole: bytes, texts: list[bytes]) -> bool:
    """Whether all texts are plain as they are."""
    if whole.translate(None, _PLAIN) or not whole:
        return False
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    last = np.frombuffer(whole, np.uint8)[np.cumsum(lengths) - 1]
    return bool(lengths.min() >= PLAIN_COLUMNS and (last == _LINE_END).all())


def _plain_text(text: bytes) -> bytes | None:
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


def _plain_table(
    whole: bytes,
    texts: list[bytes],
    owners: Owners,
    width: int,
    task: str,
    kpt_shape: tuple[int, int] | None,
) -> tuple[Labels, list[int]]:
    """The rows of all texts that are plain, and the indices of those that are not; `whole` joins them."""
    counts = _line_counts(whole, texts)
    odd = np.zeros(len(texts), np.bool_)
    values = _parse(whole, width, int(counts.sum()))
    if values is None:
        odd |= [not _all_rows_fit(text, width) for text in texts]
        values = _parse(b"".join(compress(texts, ~odd)), width, int(counts[~odd].sum()))
        if values is None:  # a file that looks plain and is not: `LabelReader` reads them all
            odd[:] = True
            values = [np.zeros(0)] * width
        owners = list(compress(owners[0], ~odd)), list(compress(owners[1], ~odd))
    return _columns(values, counts[~odd], owners, task, kpt_shape), np.flatnonzero(odd).tolist()


def _line_counts(whole: bytes, texts: list[bytes]) -> NDArray[np.int64]:
    """How many lines each of some texts has, which `whole` joins; each ends with a line end."""
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    return np.diff(np.searchsorted(np.flatnonzero(np.frombuffer(whole, np.uint8) == _LINE_END), ends), prepend=0)


def _all_rows_fit(text: bytes, width: int) -> bool:
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
        paths=tuple(owners[0]),
        image=np.array(owners[1], np.int64),
        rows=counts,
        polygons=polygons & (counts > 0),
        bad=(),
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
