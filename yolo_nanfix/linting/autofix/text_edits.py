"""Mends label files as text: a pure function of their bytes and findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from math import isfinite
from struct import pack, unpack
from typing import NamedTuple

from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.autofix.fix_table import FIXES
from yolo_nanfix.linting.autofix.row_edits import OPERATIONS, REVEALING, Left, Words, joined, settled, seven

BOM = b"\xef\xbb\xbf"
BOX = 5
SHAPED = ("segment", "obb")
"""The tasks that stop at a file of boxes."""
_ANY = range(1 << 31)
WHOLE = ("bom", "line-ends", "recode", "seven", "clip-all")
"""The operations on a whole file."""


class Mended(NamedTuple):
    """What became of one file.

    Attributes:
        content: its new bytes; the old ones if nothing could be done.
        done: the findings that were mended.
        left: the other ones, each with the reason.
        dropped: the rows that were taken out, each with the finding that asked for it; not those that stand twice.
    """

    content: bytes
    done: tuple[Finding, ...]
    left: tuple[tuple[Finding, Left], ...]
    dropped: tuple[tuple[Finding, Words], ...] = ()


def is_background(content: bytes) -> bool:
    """Whether a label file holds no row, so that Ultralytics trains on its image as background."""
    return not content.removeprefix(BOM).decode("utf-8", "replace").split()


def allowed(finding: Finding, unsafe: bool) -> bool:
    """Whether the finding has a fixer that may be asked; what follows from another finding goes with its cause."""
    return finding.because is None and finding.code in FIXES and (unsafe or FIXES[finding.code].safety != "unsafe")


def mend_text(
    content: bytes, findings: Iterable[Finding], task: str, unsafe: bool, classes: Container[int] = _ANY
) -> Mended:
    """Mend a label file. Bytes that no finding is about stay as they are, line ends and a BOM among them.

    Args:
        content: the file's bytes.
        findings: those about this file.
        task: the task whose label format it has.
        unsafe: whether unsafe fixes are allowed.
        classes: the class numbers of the dataset.
    """
    done: list[Finding] = []
    left: list[tuple[Finding, Left]] = []
    dropped: list[tuple[Finding, Words]] = []
    asked = [finding for finding in findings if allowed(finding, unsafe)]
    hows = {FIXES[finding.code].how: finding for finding in asked}
    if "recode" in hows:
        try:
            return Mended(recode(content), (hows["recode"],), ())
        except Left as why:
            return Mended(content, (), tuple((f, why) for f in asked))
    marked, body = content.startswith(BOM), content.removeprefix(BOM)
    try:
        lines = body.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        return Mended(content, (), tuple((f, Left("the file is not UTF-8 text")) for f in asked))
    before = lines
    by_line: dict[int, list[Finding]] = {}
    for finding in asked:
        if FIXES[finding.code].how not in WHOLE:
            by_line.setdefault(finding.place.line or 0, []).append(finding)
    if "seven" in hows:
        lines = [joined(line, seven(line.split(), task, unsafe) or []) if line.split() else line for line in lines]
        done.append(hows["seven"])
    if "clip-all" in hows:
        lines = [_clipped(line, task) for line in lines]
        done.append(hows["clip-all"])
    mended = _mend_lines(lines, by_line, _Manner(task, unsafe, classes), _Notes(done, left, dropped))
    if task in SHAPED and mended != before and any(map(_is_box, mended)):
        boxes = Left(
            "boxes are left where polygons are needed: Ultralytics would stop at a file that it leaves out now"
        )
        left, mended = [*left, *((finding, boxes) for finding in done)], before
        done, dropped = [], []
    text = "".join(mended)
    if "line-ends" in hows:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        done.append(hows["line-ends"])
    if "bom" in hows and marked:
        marked = False
        done.append(hows["bom"])
    return Mended((BOM if marked else b"") + text.encode("utf-8"), tuple(done), tuple(left), tuple(dropped))


class _Notes(NamedTuple):
    """What was done to rows so far, as in `Mended`."""

    done: list[Finding]
    left: list[tuple[Finding, Left]]
    dropped: list[tuple[Finding, Words]]


class _Manner(NamedTuple):
    """How rows are mended: the task, whether unsafe fixes are allowed, and the class numbers of the dataset."""

    task: str
    unsafe: bool
    classes: Container[int]


def _mend_lines(lines: list[str], by_line: Mapping[int, list[Finding]], manner: _Manner, notes: _Notes) -> list[str]:
    """The lines with the rows mended that findings name; notes what was done and what was not."""
    seen: set[tuple[float, ...]] = set()
    rows = (line.split() for line in lines if by_line and _values(line.split()))
    shapes = {manner.task != "pose" and len(words) > BOX + 1 for words in rows}
    out = []
    for number, line in enumerate(lines, 1):
        row = _values(line.split())
        mended: set[str] = set()
        for finding in by_line.get(number, ()):
            how = FIXES[finding.code].how
            if not (line and how not in mended):  # what mended the row for another finding mended it for this one
                notes.done.append(finding)
                continue
            try:
                words = _mend_row(line.split(), how, manner, row is not None and row in seen)
                if words is not None and how in REVEALING:
                    words = settled(words, *manner, shapes) if words else words
            except Left as why:
                notes.left.append((finding, why))
            else:
                if words is None and how != "duplicate":
                    notes.dropped.append((finding, line.split()))
                line = "" if words is None else joined(line, words)
                mended.add(how)
                notes.done.append(finding)
        if row is not None:
            seen.add(row)
        out.append(line)
    _drop_repeated(lines, out)
    lost = (found for n, found in by_line.items() if not 0 < n <= len(lines))
    notes.left.extend((finding, Left("the file has no such line")) for found in lost for finding in found)
    return out


def _drop_repeated(before: list[str], after: list[str]) -> None:
    """Blank the lines that were mended to what another line says."""
    if before == after:
        return
    met = Counter(row for line in after if (row := _values(line.split())) is not None)
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        row = _values(new.split())
        if old != new and row is not None and met[row] > 1:
            met[row] -= 1
            after[number] = ""


def _is_box(line: str) -> bool:
    """Whether a line is a class and a box, and no more."""
    words = line.split()
    return len(words) == BOX and _numeric(words)


def _clipped(line: str, task: str) -> str:
    """The line clipped to the image as far as that is safe."""
    try:
        words = OPERATIONS["clip"](line.split(), task, False)
    except Left:
        return line
    return line if words is None else joined(line, words)


def _mend_row(words: list[str], how: str, manner: _Manner, repeated: bool) -> list[str] | None:
    """The words of a row after one operation, None if it is dropped; `repeated`: an earlier row is the same."""
    if not words:
        raise Left("the row is empty")
    if how != "duplicate":
        return OPERATIONS[how](words, manner.task, manner.unsafe)
    if not repeated:
        raise Left("no earlier row of the file is exactly the same")
    return None


def _values(words: list[str]) -> tuple[float, ...] | None:
    """The words as single-precision numbers, in which Ultralytics compares rows; None if they are no finite ones."""
    try:
        values = [float(word) for word in words]
        single = tuple(v + 0.0 for v in unpack(f"{len(values)}f", pack(f"{len(values)}f", *values)))
    except (ValueError, OverflowError):
        return None
    return single if single and all(map(isfinite, single)) else None


def _numeric(words: list[str]) -> bool:
    """Whether Python reads all words as numbers, nan and inf among them."""
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False


def recode(content: bytes) -> bytes:
    """Labels in UTF-16 (with a byte order mark), or with bytes outside ASCII in comments, as UTF-8.

    Raises:
        Left: what comes out is no text of numbers.
    """
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if utf16 else "latin-1")
    except UnicodeDecodeError as error:
        raise Left(f"cannot be read as UTF-16 text ({error})") from None
    rows = [line.split() for line in text.splitlines() if line.split()]
    if not rows or any(not _numeric(words) for words in rows):
        raise Left("the file does not hold numbers in UTF-16")
    return text.encode("utf-8")


def relist(content: bytes, folder: str, sep: str, renamed: Mapping[str, str | None]) -> bytes:
    """A list of images with renamed entries changed and those that went away (None) left out.

    Args:
        content: the list's bytes; returned as they are where they are not UTF-8 text.
        folder: the folder of the list, which `./` in it means.
        sep: the separator of paths here.
        renamed: new path, or None, for the path of an image as lint names it.
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
    """What lint calls the image of an entry in a list."""
    return (f"{folder}{sep}{entry[2:]}" if entry.startswith("./") else entry).replace("/", sep)
