"""Fixes for label files and lists of images, as pure functions of their rows and bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from math import isfinite
from struct import pack, unpack
from typing import NamedTuple

from yolo_nanfix.dataset.label_parser import PLAIN_COLUMNS as _BOX
from yolo_nanfix.dataset.label_parser import is_polygon, numbers_of
from yolo_nanfix.findings import Finding, Safety
from yolo_nanfix.linting.autofix.operations import TOLERANCE, Operation, Scope
from yolo_nanfix.linting.autofix.reasons import Left, Reason, Why
from yolo_nanfix.linting.registry import autofixes

Words = list[str]
Corner = tuple[float, float]
_CORNERS = 3
_LIKE_PIXELS = 2.0
_SMALLEST = 1e-6
_ROUND = 1e-9
REVEALING = (Operation.COMMAS, Operation.COMMENT, Operation.COLUMNS, Operation.MARK)
"""Operations that make an unreadable row readable, so that its other defects show only now."""
BOM = b"\xef\xbb\xbf"
SHAPED = ("segment", "obb")
"""The tasks whose training stops at a file of boxes."""
_ANY = range(1 << 31)


def spell(value: float) -> str:
    """A number with at most nine decimals, never with an exponent."""
    return f"{value:.9f}".rstrip("0").rstrip(".") or "0"


def numbers(words: Words) -> list[float]:
    """The words as finite numbers; raises `Left` if one of them is none."""
    values = numbers_of(words)
    if values is None:
        raise Left(Why.NOT_NUMBERS)
    if not all(map(isfinite, values)):
        raise Left(Why.NOT_FINITE)
    return values


def with_words(line: str, words: Words) -> str:
    """The line with other words and the same line end; the line itself if the words are the same."""
    if words == line.split():
        return line
    return " ".join(words) + line[len(line.splitlines()[0]) :]


def clip(words: Words, task: str, unsafe: bool) -> Words | None:
    """The row clipped to the image; unchanged numbers keep their spelling. None: nothing remains.

    Raises:
        Left: it needs an unsafe fix, or no fix is right.
    """
    if task == "obb":
        raise Left(Why.ROTATED)
    values = numbers(words)
    polygon = is_polygon(len(words), task)
    if max(map(abs, values[1:] if polygon else values[1:_BOX]), default=0) > _LIKE_PIXELS:
        raise Left(Why.LOOKS_LIKE_PIXELS)
    if polygon:
        return _clip_polygon(words, values, unsafe)
    if len(words) < _BOX or (task != "pose" and len(words) > _BOX + 1):
        raise Left(Why.NO_BOX)
    return _clip_box(words, values, unsafe)


def _clip_box(words: Words, values: list[float], unsafe: bool) -> Words | None:
    """As `clip`, for a row that begins with class x y w h."""
    if min(values[3:_BOX]) < 0:
        raise Left(Why.SIDE_NEGATIVE)
    out, reach = list(words), max(max(values[1:_BOX]) - 1, -min(values[1:_BOX]))
    for centre, side in ((1, 3), (2, 4)):
        low, high = values[centre] - values[side] / 2, values[centre] + values[side] / 2
        reach = max(reach, -low, high - 1)
        if low >= -_ROUND and high <= 1 + _ROUND:
            continue
        low, high = max(low, 0.0), min(high, 1.0)
        if high - low < _SMALLEST:
            return _judge_outside(unsafe)
        out[centre], out[side] = spell((low + high) / 2), spell(high - low)
    _judge(reach, unsafe)
    return out


def _clip_polygon(words: Words, values: list[float], unsafe: bool) -> Words | None:
    """As `clip`, for class and corners x y: points just outside move to the edge, parts far outside are cut off."""
    points = values[1:]
    reach = max(max(points) - 1, -min(points))
    _judge(reach, unsafe)
    if any(max(axis) <= 0 or min(axis) >= 1 for axis in (points[::2], points[1::2])):
        return _judge_outside(unsafe)
    if reach > TOLERANCE + _ROUND:
        spelt = dict(zip(points, words[1:], strict=True))
        corners = cut(list(zip(points[::2], points[1::2], strict=True)))
        if len(corners) < _CORNERS:
            return _judge_outside(unsafe)
        return words[:1] + [spelt.get(v, spell(v)) for corner in corners for v in corner]
    clipped = [min(max(value, 0.0), 1.0) for value in points]
    return words[:1] + [
        word if new == old else spell(new) for word, old, new in zip(words[1:], points, clipped, strict=True)
    ]


def cut(corners: list[Corner]) -> list[Corner]:
    """A polygon cut at the four edges of the image (Sutherland and Hodgman); no corner twice in a row."""
    for axis, edge, sign in ((0, 0.0, 1), (0, 1.0, -1), (1, 0.0, 1), (1, 1.0, -1)):
        out: list[Corner] = []
        for one, two in zip([*corners[-1:], *corners[:-1]], corners, strict=True):
            inside = [sign * (point[axis] - edge) >= 0 for point in (one, two)]
            if inside[0] != inside[1]:
                part = (edge - one[axis]) / (two[axis] - one[axis])
                other = one[1 - axis] + part * (two[1 - axis] - one[1 - axis])
                out.append((edge, other) if axis == 0 else (other, edge))
            if inside[1]:
                out.append(two)
        corners = [point for point, before in zip(out, [*out[-1:], *out[:-1]], strict=True) if point != before]
    return corners


def _judge(reach: float, unsafe: bool) -> None:
    """Raise `Left` if a clip by so much is not safe, or if there is nothing to clip."""
    if reach <= _ROUND:
        raise Left(Why.INSIDE)
    if reach > TOLERANCE + _ROUND and not unsafe:
        raise Left(Why.FAR, reach=reach)


def _judge_outside(unsafe: bool) -> Words | None:
    """A box completely outside: None (dropped) with unsafe fixes, else raises `Left`."""
    if not unsafe:
        raise Left(Why.BOX_OUTSIDE_KEPT)
    return None


def commas(words: Words, task: str, unsafe: bool) -> Words | None:
    """The row with spaces for separating commas, or with points for decimal ones; None if that is no row."""
    line = " ".join(words)
    pointed = line.replace(",", ".").replace(";", " ").split()
    spaced = line.replace(",", " ").replace(";", " ").split()
    decimal = len(words) >= _BOX or ";" in line  # if semicolons separate, commas are decimal
    for candidate in (pointed, spaced) if decimal else (spaced, pointed):
        if _reads_as_row(candidate):
            return candidate
    return None


def comment(words: Words, task: str, unsafe: bool) -> Words | None:
    """The row up to the comment; None if that is no row."""
    before = " ".join(words).partition("#")[0].split()
    return before if _reads_as_row(before) else None


def columns(words: Words, task: str, unsafe: bool) -> Words | None:
    """Class and box of a row that ends with a confidence; None of other rows. Raises `Left` for other numbers."""
    if task != "detect" or len(words) != _BOX + 1 or not _reads_as_row(words[:_BOX]):
        return None
    if not 0 <= numbers(words)[_BOX] <= 1:
        raise Left(Why.NO_CONFIDENCE)
    return words[:_BOX]


def sides(words: Words, task: str, unsafe: bool) -> Words | None:
    """The box with positive sides; its centre stays.

    Raises:
        Left: it would reach out of the image, so that x and y are hardly its centre, but perhaps a corner from which
            the box was drawn to the left or upwards.
    """
    if len(words) != _BOX:
        raise Left(Why.NO_PLAIN_BOX)
    values = numbers(words)
    reach = max(abs(c - 0.5) + abs(side) / 2 - 0.5 for c, side in zip(values[1:3], values[3:], strict=True))
    if reach > TOLERANCE + _ROUND:
        raise Left(Why.MAY_BE_CORNER)
    return words[:3] + [w.lstrip("-") if v < 0 else w for w, v in zip(words[3:], values[3:], strict=True)]


def spelling(words: Words, task: str, unsafe: bool) -> Words | None:
    """The row with plain digits for unusual spellings; the values do not change."""
    values = numbers(words)
    return [
        word if word.isascii() and "_" not in word else f"{value:.15g}"
        for word, value in zip(words, values, strict=True)
    ]


def _reads_as_row(words: Words) -> bool:
    """Whether the words are a whole class and a box or polygon with finite numbers."""
    try:
        values = numbers(words)
    except Left:
        return False
    return (len(values) == _BOX or is_polygon(len(values), "")) and values[0] >= 0 and values[0] == int(values[0])


def as_valid(words: Words, task: str, unsafe: bool, classes: Container[int], shapes: Collection[bool]) -> Words:
    """A row that can be read now, if it is valid: its class is known, it lies in the image, it fits the other rows.

    Args:
        words: the row.
        task: the task of its label format.
        unsafe: whether it may be clipped far.
        classes: the class numbers of the dataset.
        shapes: whether the other rows of the file are polygons; empty if there are no readable ones.

    Raises:
        Left: it is not valid; the fix would only replace its defect by another one.
    """
    values = numbers(words)
    if int(values[0]) not in classes:
        raise Left(Why.CLASS_UNKNOWN, **{"class": values[0]})
    polygon = is_polygon(len(words), task)
    if shapes and polygon not in shapes:
        raise Left(Why.AMONG_BOXES if polygon else Why.AMONG_POLYGONS)
    if task == "obb" or (task != "pose" and polygon):
        if max(values[1:]) > 1 or min(values[1:]) < 0:
            raise Left(Why.CORNERS_OUTSIDE)
        return words
    if min(values[3:_BOX]) <= 0:
        raise Left(Why.SIDE_NOT_POSITIVE)
    ends = [values[at] + side * values[at + 2] / 2 for at in (1, 2) for side in (-1, 1)]
    if min(ends) >= -_ROUND and max(ends) <= 1 + _ROUND:
        return words
    clipped = clip(words, task, unsafe)
    if clipped is None:
        raise Left(Why.BOX_OUTSIDE)
    return clipped


_ROW_OPERATIONS: dict[Operation, Callable[[Words, str, bool], Words | None]] = {
    Operation.CLIP: clip,
    Operation.DROP: lambda words, task, unsafe: None,
    Operation.MARK: lambda words, task, unsafe: [bare for word in words if (bare := word.replace("\ufeff", ""))],
    Operation.COMMAS: commas,
    Operation.COMMENT: comment,
    Operation.COLUMNS: columns,
    Operation.SIDES: sides,
    Operation.SPELLING: spelling,
}
"""Operations on a row: from words, task and whether unsafe fixes are allowed to words, or None (dropped)."""


class Edited(NamedTuple):
    """The result of fixing one file.

    Attributes:
        content: its new bytes; the old ones if nothing was fixed.
        done: the findings that were fixed.
        left: the others, each with the reason.
        dropped: the rows that were removed, each with its finding; without repeated ones.
    """

    content: bytes
    done: tuple[Finding, ...]
    left: tuple[tuple[Finding, Reason], ...]
    dropped: tuple[tuple[Finding, Words], ...] = ()


def is_background(content: bytes) -> bool:
    """Whether a label file holds no row, so that Ultralytics trains on its image as background."""
    return not content.removeprefix(BOM).decode("utf-8", "replace").split()


def allowed(finding: Finding, unsafe: bool) -> bool:
    """Whether the finding has an autofix that may be applied; one that another finding explains has none."""
    fix = autofixes().get(finding.code)
    return finding.because is None and fix is not None and (unsafe or fix.safety is not Safety.UNSAFE)


def operation_of(finding: Finding) -> Operation:
    """The operation of a finding's autofix; KeyError if it has none."""
    return autofixes()[finding.code].operation


def edit_text(
    content: bytes, findings: Iterable[Finding], task: str, unsafe: bool, classes: Container[int] = _ANY
) -> Edited:
    """Fix a label file. Bytes that no finding is about do not change, nor do line ends and a byte order mark.

    Args:
        content: the file's bytes.
        findings: those about this file.
        task: the task of its label format.
        unsafe: whether unsafe fixes are allowed.
        classes: the class numbers of the dataset.
    """
    done: list[Finding] = []
    left: list[tuple[Finding, Reason]] = []
    dropped: list[tuple[Finding, Words]] = []
    asked = [finding for finding in findings if allowed(finding, unsafe)]
    whole = {operation_of(finding): finding for finding in asked if operation_of(finding).scope is Scope.TEXT}
    if Operation.RECODE in whole:
        try:
            return Edited(recode(content), (whole[Operation.RECODE],), ())
        except Left as why:
            return Edited(content, (), tuple((f, why.reason) for f in asked))
    marked, body = content.startswith(BOM), content.removeprefix(BOM)
    try:
        lines = body.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        return Edited(content, (), tuple((f, Reason(Why.NOT_UTF8)) for f in asked))
    before = lines
    by_line: dict[int, list[Finding]] = {}
    for finding in asked:
        if operation_of(finding) not in whole:
            by_line.setdefault(finding.place.line or 0, []).append(finding)
    if Operation.SEVEN in whole:
        lines = [with_words(line, line.split()[:_BOX]) if line.split() else line for line in lines]
        done.append(whole[Operation.SEVEN])
    if Operation.CLIP_ALL in whole:
        lines = [_clipped(line, task) for line in lines]
        done.append(whole[Operation.CLIP_ALL])
    edited = _edit_lines(lines, by_line, _Work(task, unsafe, classes, done, left, dropped))
    if task in SHAPED and edited != before and any(map(_is_box, edited)):
        left, edited = [*left, *((finding, Reason(Why.BOXES_LEFT)) for finding in done)], before
        done, dropped = [], []
    text = "".join(edited)
    if Operation.LINE_ENDS in whole:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        done.append(whole[Operation.LINE_ENDS])
    if Operation.BOM in whole and marked:
        marked = False
        done.append(whole[Operation.BOM])
    return Edited((BOM if marked else b"") + text.encode("utf-8"), tuple(done), tuple(left), tuple(dropped))


class _Work(NamedTuple):
    """The arguments of `edit_text`, and the results so far, as in `Edited`."""

    task: str
    unsafe: bool
    classes: Container[int]
    done: list[Finding]
    left: list[tuple[Finding, Reason]]
    dropped: list[tuple[Finding, Words]]


def _edit_lines(lines: list[str], by_line: Mapping[int, list[Finding]], work: _Work) -> list[str]:
    """The lines with the rows of findings fixed; adds the results to `work`."""
    seen: set[tuple[float, ...]] = set()
    rows = (line.split() for line in lines if by_line and _values(line.split()))
    shapes = {is_polygon(len(words), work.task) for words in rows}
    out = []
    for number, line in enumerate(lines, 1):
        row = _values(line.split())
        used: set[Operation] = set()
        for finding in by_line.get(number, ()):
            operation = operation_of(finding)
            if not line or operation in used:  # the same operation fixed it for another finding
                work.done.append(finding)
                continue
            try:
                words = _edit_row(line.split(), operation, work, row is not None and row in seen)
                if words and operation in REVEALING:
                    words = as_valid(words, work.task, work.unsafe, work.classes, shapes)
            except Left as why:
                work.left.append((finding, why.reason))
            else:
                if words is None and operation is not Operation.DUPLICATE:
                    work.dropped.append((finding, line.split()))
                line = "" if words is None else with_words(line, words)
                used.add(operation)
                work.done.append(finding)
        if row is not None:
            seen.add(row)
        out.append(line)
    _drop_repeated(lines, out)
    lost = (found for n, found in by_line.items() if not 0 < n <= len(lines))
    work.left.extend((finding, Reason(Why.NO_SUCH_LINE)) for found in lost for finding in found)
    return out


def _drop_repeated(before: list[str], after: list[str]) -> None:
    if before == after:
        return
    met = Counter(row for line in after if (row := _values(line.split())) is not None)
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        row = _values(new.split())
        if old != new and row is not None and met[row] > 1:
            met[row] -= 1
            after[number] = ""


def _is_box(line: str) -> bool:
    words = line.split()
    return len(words) == _BOX and numbers_of(words) is not None


def _clipped(line: str, task: str) -> str:
    """The line clipped to the image as far as that is safe."""
    try:
        words = clip(line.split(), task, False)
    except Left:
        return line
    return line if words is None else with_words(line, words)


def _edit_row(words: Words, operation: Operation, work: _Work, repeated: bool) -> Words | None:
    """The words of a row after one operation, None if it is dropped; `repeated`: an earlier row is the same."""
    if not words:
        raise Left(Why.EMPTY_ROW)
    if operation is not Operation.DUPLICATE:
        return _ROW_OPERATIONS[operation](words, work.task, work.unsafe)
    if not repeated:
        raise Left(Why.NOT_REPEATED)
    return None


def _values(words: Words) -> tuple[float, ...] | None:
    """The words as float32, as Ultralytics compares rows; None if one is no finite number."""
    values = numbers_of(words)
    try:
        single = tuple(v + 0.0 for v in unpack(f"{len(words)}f", pack(f"{len(words)}f", *values))) if values else ()
    except OverflowError:
        return None
    return single if single and all(map(isfinite, single)) else None


def recode(content: bytes) -> bytes:
    """Labels in UTF-16 (with a byte order mark), or with bytes outside ASCII in comments, as UTF-8.

    Raises:
        Left: the result is no text of numbers.
    """
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if utf16 else "latin-1")
    except UnicodeDecodeError as error:
        raise Left(Why.NOT_UTF16, error=str(error)) from None
    rows = [line.split() for line in text.splitlines() if line.split()]
    if not rows or any(numbers_of(words) is None for words in rows):
        raise Left(Why.NO_NUMBERS)
    return text.encode("utf-8")


def relist(content: bytes, folder: str, sep: str, renamed: Mapping[str, str | None]) -> bytes:
    """A list of images with renamed entries changed and moved ones (None) removed.

    Args:
        content: the list's bytes; returned unchanged if they are not UTF-8 text.
        folder: the folder of the list, for which `./` stands.
        sep: the separator of paths on this system.
        renamed: from the path of an image, as lint names it, to the new path or None.
    """
    marked, body = content.startswith(BOM), content.removeprefix(BOM)
    try:
        lines = body.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        return content
    out = []
    for line in lines:
        entry = line.strip()
        path = _path_of(entry, folder, sep)
        if path in renamed:
            new = renamed[path]
            suffix = "" if new is None else new.rpartition(".")[2]
            line = "" if new is None else line.replace(entry, f"{entry.rpartition('.')[0]}.{suffix}")
        out.append(line)
    return (BOM if marked else b"") + "".join(out).encode("utf-8")


def listed(content: bytes, folder: str, sep: str) -> set[str]:
    """The images that a list names, as lint names them; the arguments are those of `relist`."""
    lines = content.removeprefix(BOM).decode("utf-8", "replace").splitlines()
    return {_path_of(line.strip(), folder, sep) for line in lines}


def _path_of(entry: str, folder: str, sep: str) -> str:
    """The path that lint uses for an entry of a list."""
    return (f"{folder}{sep}{entry[2:]}" if entry.startswith("./") else entry).replace("/", sep)
