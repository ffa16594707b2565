"""Reads label files, split into rows and numbers the way Ultralytics splits them."""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from math import isfinite, nan

import numpy as np

from yolo_nanfix.dataset.bounded import Oversized, TooLarge, read_label
from yolo_nanfix.dataset.labels import BadRow, LabelFile, Labels, OddNumber
from yolo_nanfix.shown import cut

PLAIN_COLUMNS = 5
LEAST, MOST = -0.5, 1.5
"""Parts of an image, those of sloppy rows among them."""
LARGE = 1 << 20
"""Characters from which on a file is split row by row: all words and numbers at once take 15 times its memory."""
KEPT = 1000
"""Characters of what is in the way of reading a row, and odd numbers of one file, that are kept at most."""


class _Lines:
    """The words of each line of a large text, split anew whenever they are asked for."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[list[str]]:
        return map(str.split, self._lines)


class _Rows:
    """Number and words of each line that holds any, likewise."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return sum(map(bool, self._lines))

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return ((number, words) for number, words in enumerate(self._lines, 1) if words)


Lines = list[list[str]] | _Lines
Rows = list[tuple[int, list[str]]] | _Rows
Numbers = Sequence[float]


class LabelReader:
    """Reads label files one after the other and hands out the columns at the end."""

    def __init__(self, task: str, kpt_shape: tuple[int, int] | None) -> None:
        """`task` and `kpt_shape` (keypoints, dimensions) say how many columns a row should have."""
        self._pose = task == "pose"
        self._points = PLAIN_COLUMNS + kpt_shape[0] * kpt_shape[1] if kpt_shape else None
        self._dims = kpt_shape[1] if kpt_shape else 2
        self._files: list[LabelFile] = []
        self._bad: list[BadRow] = []
        self._odd: list[OddNumber] = []
        self._file, self._line, self._columns = array("i"), array("i"), array("i")
        self._numbers = array("d")  # class and four box numbers of each row
        self._polygons: dict[int, int] = {}  # row: hash of its points
        self._counts, self._x, self._y, self._visible = array("i"), array("d"), array("d"), array("d")
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
        except TooLarge as large:
            self._note_oversized(path, image, large.found)
            return True
        except (OSError, UnicodeDecodeError) as error:
            self._files.append(LabelFile(path, image, 0, False))
            self._bad.append(BadRow(index, None, "unreadable", str(error)))
            return True
        lines: Lines = [line.split() for line in text.splitlines()] if len(text) <= LARGE else _Lines(text)
        strange = not text.isascii() or "_" in text
        if not strange and not self._pose and self._add_plain(index, lines):
            self._files.append(LabelFile(path, image, len(lines), False))
            return True
        rows: Rows = _Rows(lines) if isinstance(lines, _Lines) else [(n, t) for n, t in enumerate(lines, 1) if t]
        if strange:
            self._note_odd(index, rows)
        polygons = self._add(index, rows)
        self._files.append(LabelFile(path, image, len(rows), polygons))
        return True

    def _note_oversized(self, path: str, image: int, found: Oversized) -> None:
        """Keep that a file is not read."""
        self._bad.append(BadRow(len(self._files), found.line, found.kind, str(found.number)))
        self._files.append(LabelFile(path, image, found.lines, False))

    def _note_encoding(self, index: int, data: bytes) -> None:
        """Keep what of the bytes other tools stumble over."""
        if data.startswith(codecs.BOM_UTF8):
            self._bad.append(BadRow(index, 1, "mark", ""))
        if b"\r" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            pairs, lone = data.count(b"\r\n"), data.count(b"\r") - data.count(b"\r\n")
            if lone or pairs < data.count(b"\n"):
                said = f"{lone} bare carriage returns" if lone else "CR LF and LF are mixed"
                self._bad.append(BadRow(index, None, "ends", said))

    def _note_odd(self, index: int, rows: Rows) -> None:
        """Keep the first tokens that Python reads as numbers although they do not look like plain ones."""
        odd = (
            OddNumber(index, line, cut(token, KEPT))
            for line, tokens in rows
            for token in tokens
            if ("_" in token or not token.isascii()) and _number(token) is not None
        )
        self._odd += islice(odd, KEPT)

    def _add(self, index: int, rows: Rows) -> bool:
        """Add the rows of one file that are numbers; True if Ultralytics reads the file as polygons."""
        parsed: list[tuple[int, Numbers]] = []
        packed = isinstance(rows, _Rows)
        for line, tokens in rows:
            if self._points is not None and not self._pose and len(tokens) == self._points:
                tokens = tokens[:PLAIN_COLUMNS]  # pose rows keep their box in the other tasks
            try:
                values = [float(token) for token in tokens]
                parsed.append((line, array("d", values) if packed else values))
            except ValueError:
                self._bad.append(_unparsable(index, line, tokens))
        polygons = not self._pose and any(len(numbers) > 6 for _, numbers in parsed)
        mixed = [line for line, numbers in parsed if polygons and len(numbers) == PLAIN_COLUMNS]
        if mixed:
            self._bad.append(BadRow(index, mixed[0], "mixed", f"{len(mixed)} of {len(parsed)} rows are boxes"))
        for line, numbers in parsed:
            if not self._fits(len(numbers), polygons):
                self._bad.append(self._misfit(index, line, numbers))
            elif polygons and len(numbers) != PLAIN_COLUMNS:
                self._add_polygon(index, line, numbers)
            else:
                self._add_row(index, line, numbers, numbers[:PLAIN_COLUMNS])
        return polygons

    def _add_plain(self, index: int, lines: Lines) -> bool:
        """Add a file that holds nothing but plain boxes; False, with nothing added, if it holds more."""
        if set(map(len, lines)) != {PLAIN_COLUMNS}:
            return False
        try:
            numbers = array("d", map(float, chain.from_iterable(lines)))
        except ValueError:
            return False
        self._file.extend(array("i", (index,)) * len(lines))
        self._line.extend(range(1, len(lines) + 1))
        self._columns.extend(array("i", (PLAIN_COLUMNS,)) * len(lines))
        self._numbers.extend(numbers)
        self._counts.extend(array("i", (0,)) * len(lines))
        return True

    def _add_row(self, index: int, line: int, numbers: Numbers, box: Numbers) -> None:
        """Add one row whose class and box (or corners) are `box`."""
        if odd := _first_odd(numbers):
            self._extra[len(self._line)] = odd
        self._file.append(index)
        self._line.append(line)
        self._columns.append(len(numbers))
        self._numbers.extend(box)
        points: Numbers
        points, dims = (numbers[PLAIN_COLUMNS:], self._dims) if self._pose else (numbers[1:], 2)
        if len(numbers) == PLAIN_COLUMNS or (self._pose and self._points is None):
            points = ()  # a row of 3 columns is a polygon of one point
        x = points[::dims]
        self._counts.append(len(x))
        self._x.extend(x)
        self._y.extend(points[1::dims][: len(x)])
        self._visible.extend(points[2::dims] if dims > 2 else [nan] * len(x))

    def _fits(self, width: int, polygons: bool) -> bool:
        """Whether Ultralytics takes a row of so many columns."""
        if self._pose:
            return (self._points is None and width >= PLAIN_COLUMNS) or width == self._points
        return width == PLAIN_COLUMNS or (polygons and width >= 3 and width % 2 == 1)

    def _misfit(self, index: int, line: int, numbers: Numbers) -> BadRow:
        """A row with another number of columns than is wanted."""
        head, behind = self._head(numbers), self._behind(numbers)
        if head is not None and head[1] > 1:
            behind = 0  # no coordinate: the number beside the class is the one too many
        ahead = behind == 1 and not self._pose and abs(numbers[1] - numbers[3]) > abs(numbers[-1] - numbers[-3])
        return BadRow(index, line, "columns", str(len(numbers)), head, behind, ahead)

    def _behind(self, numbers: Numbers) -> int:
        """How many columns a prediction may have put behind a row that would fit without them."""
        width = len(numbers)
        more = width - (self._points or width) if self._pose else int(width > 7 and width % 2 == 0)
        if more not in (1, 2) or (self._pose and self._seen(numbers, more)):
            return 0
        return more if of_prediction(numbers, more) else 0

    def _seen(self, numbers: Numbers, more: int) -> bool:
        """Whether the columns too many of a pose row are the visibilities of its keypoints."""
        points = ((self._points or 0) - PLAIN_COLUMNS) // self._dims
        return self._dims == 2 and points == more and all(n in (0, 1, 2) for n in numbers[PLAIN_COLUMNS + 2 :: 3])

    def _head(self, numbers: Numbers) -> tuple[float, float] | None:
        """The first two numbers if the row would fit with one of them and both are whole, unlike all others."""
        width = len(numbers) - 1
        fits = width == self._points if self._pose else width == PLAIN_COLUMNS or (width > 6 and width % 2 == 1)
        second = numbers[1] if len(numbers) > 1 else nan
        rest = numbers[2 : PLAIN_COLUMNS + 1] if self._pose else numbers[2:]
        numbered = (
            fits
            and isfinite(second)
            and second == int(second) >= 0
            and all(LEAST <= number <= MOST for number in rest)
            and not all(number in (0, 1) for number in rest)
        )
        return (numbers[0], second) if numbered else None

    def _add_polygon(self, index: int, line: int, numbers: Numbers) -> None:
        """Add a polygon row by its corners; `finish` turns them into a box as Ultralytics does."""
        x, y, odd = numbers[1::2], numbers[2::2], _first_odd(numbers)
        corners = [odd] * 4 if odd != odd else [min(x), min(y), max(x), max(y)]
        self._polygons[len(self._line)] = hash(tuple(numbers[1:]))
        self._add_row(index, line, numbers, [numbers[0], *corners])

    def finish(self) -> Labels:
        """The columns of all files read so far."""
        shape = np.zeros(len(self._line), np.int64)
        polygon = np.fromiter(self._polygons, np.int64, len(self._polygons))
        shape[polygon] = np.fromiter(self._polygons.values(), np.int64, len(self._polygons))
        extra = np.zeros(len(self._line), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.frombuffer(self._numbers, np.float64).reshape(-1, PLAIN_COLUMNS).astype(np.float32)
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
            files=tuple(self._files),
            bad=tuple(self._bad),
            odd=tuple(self._odd),
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


def of_prediction(numbers: Numbers, more: int) -> bool:
    """Whether a row is a whole class, parts of an image, and `more` columns that a prediction has behind them.

    These are a confidence or the number of a track if there is one, else both.
    """
    cls, *rest = numbers[:-more]
    last = numbers[-1]
    numbered = last >= 0 and isfinite(last) and last == int(last)
    if not (isfinite(cls) and cls == int(cls) >= 0) or not all(LEAST <= n <= MOST or n in (0, 1, 2) for n in rest):
        return False
    return numbered and 0 <= numbers[-2] <= 1 if more > 1 else numbered or 0 <= last <= 1


def _first_odd(numbers: Numbers) -> float:
    """The first number that is NaN, else the first infinite one, else 0."""
    odd = [n for n in numbers if not isfinite(n)]
    return next((n for n in odd if n != n), odd[0]) if odd else 0.0


def _number(token: str) -> float | None:
    """The token as a number, or None."""
    try:
        return float(token)
    except ValueError:
        return None


def _unparsable(index: int, line: int, tokens: list[str]) -> BadRow:
    """Name what is in the way of reading a row as numbers."""
    if tokens[0].startswith("#"):
        return BadRow(index, line, "comment", _joined(tokens))
    culprit = next(token for token in tokens if _number(token) is None)
    if "#" in culprit:
        return BadRow(index, line, "comment", _joined(tokens))
    return BadRow(index, line, "comma" if any(c in culprit for c in ",;") else "number", cut(culprit, KEPT))


def _joined(tokens: list[str]) -> str:
    """The words of a row, cut."""
    return cut(" ".join(cut(token, KEPT) for token in tokens[:KEPT]), KEPT)
