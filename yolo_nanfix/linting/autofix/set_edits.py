"""Fixes of the whole set: one finding about the dataset, and all its label files (and data.yaml) rewritten for it.

How to add one:

1. The rule yields its `Hit` with `values`: the facts that the fix needs (which splits, how the columns are to be read).
2. `catalogue.FIXES[code] = Fixer("name", "safe" or "unsafe", "does this and that")`.
3. `OPERATIONS["name"] = Operation(row, yaml)`: pure functions, of one row and of the text of data.yaml.
4. The row findings that the finding explains carry its code in `because`: no fix of rows touches them.

What an operation need not care for: spelling, line ends and byte order marks of what it leaves as it is; splits that
share label files (each is rewritten once); files that changed since the lint, links, read-only files. If but one file
cannot be rewritten, or one row raises `Left`, none is, and the finding is left with that reason. On disk, too, all
files are rewritten or none: what was done is put back where a later file fails. While a set is rewritten other fixes
of the same files wait for the next run, since they were found under the wrong reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.autofix.edits import Edit
from yolo_nanfix.linting.autofix.file_changes import look, say
from yolo_nanfix.linting.autofix.fix_table import FIXES
from yolo_nanfix.linting.autofix.frame_change import into_shown, turn_row
from yolo_nanfix.linting.autofix.renumber import renumber_names, renumber_row
from yolo_nanfix.linting.autofix.reread import reread, without_behind, without_number
from yolo_nanfix.linting.autofix.row_edits import Left, Words, joined, shift_class

QUARTER = 5
"""From this orientation on, EXIF turns an image by a quarter."""
BOM = b"\xef\xbb\xbf"


class LabelFile(NamedTuple):
    """One label file of the dataset, and the image that it belongs to.

    Attributes:
        path: the label file.
        splits: the splits in which its image is.
        width, height: of the image in pixels, as lint's table has them; 0 if unknown.
        turn: the orientation by which EXIF turns the image; 0 if several do.
    """

    path: str
    splits: tuple[str, ...]
    width: int
    height: int
    turn: int = 1


@dataclass(frozen=True)
class Spot:
    """Where a row stands, and why it is looked at.

    Attributes:
        task: the task whose label format it has.
        file: its label file, with the splits and the size of the image.
        values: the values of the finding, by name.
    """

    task: str
    file: LabelFile
    values: Mapping[str, Any]

    def within(self, name: str = "splits") -> bool:
        """Whether the file is in the splits that the finding names.

        Raises:
            Left: it is in some that are named and in some that are not.
        """
        inside = [split in self.values[name] for split in self.file.splits]
        if any(inside) and not all(inside):
            raise Left(f"is a label file of the splits {' and '.join(self.file.splits)}; the finding is not about all")
        return all(inside)


class ChangeYaml(Protocol):
    """Gives the new text of data.yaml."""

    def __call__(self, text: str, /, *, values: Mapping[str, Any]) -> str:
        """From its text and the values of the finding."""


class Operation(NamedTuple):
    """What is done to a whole set.

    Attributes:
        row: the words of one row (never none) and where it stands, to its new words; the same words where nothing is
            to be done. A set is rewritten without losing a row: it gives words, never nothing.
        yaml: the text of data.yaml and the values of the finding (as `values=`), to its new text; None where data.yaml
            stays.

    Both raise `Left` where the finding cannot be right after all; nothing is rewritten then.
    """

    row: Callable[[Words, Spot], Words]
    yaml: ChangeYaml | None = None


@dataclass
class Rewriting:
    """What a fix of the whole set would rewrite.

    Attributes:
        finding: the finding about the set.
        task: the task whose label format the files have.
        labels: the label files of the set that exist, each once.
        yaml: data.yaml.
        since_ns: files that changed after this time are not rewritten.
        check_place: raises `Left` for a file that may not be rewritten, because of where it is.
        paths: the files that would change; known after `check`.
    """

    finding: Finding
    task: str
    labels: tuple[LabelFile, ...]
    yaml: str
    since_ns: int | None
    check_place: Callable[[str], None]
    paths: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Find out whether every file can be rewritten.

        Raises:
            Left: one cannot; the reason begins with its path.
        """
        self.paths = [edit.path for edit in self.edits()]
        if not self.paths:
            raise Left("there is nothing to rewrite")

    def edits(self) -> Iterator[Edit]:
        """The edits, file by file; the first carries the finding.

        Raises:
            Left: a file cannot be rewritten; the reason begins with its path.
        """
        operation = OPERATIONS[FIXES[self.finding.code].how]
        values = dict(self.finding.values)
        done: tuple[Finding, ...] = (self.finding,)
        jobs: list[tuple[str, Callable[[str], str]]] = []
        for label in self.labels:
            spot = Spot(self.task, label, values)
            jobs.append((label.path, partial(_rows, operation=operation.row, spot=spot)))
        if operation.yaml is not None:
            jobs.append((self.yaml, partial(operation.yaml, values=values)))
        for path, change_text in jobs:
            try:
                edit = self._edit(path, change_text, done)
            except Left as why:
                raise Left(f"{path}: {why}") from None
            if edit is not None:
                done = ()
                yield edit

    def _edit(self, path: str, change: Callable[[str], str], done: tuple[Finding, ...]) -> Edit | None:
        """The edit of one file; None if it stays as it is."""
        try:
            before = ANYWHERE.read(path)
        except OSError as error:
            raise Left(f"cannot be read ({say(error)})") from None
        marked = before.startswith(BOM)
        try:
            text = before.removeprefix(BOM).decode("utf-8")
        except UnicodeDecodeError:
            raise Left("is not UTF-8 text") from None
        if (new := change(text)) == text:
            return None
        self.check_place(path)
        seen = look(path, self.since_ns, rewrite=True)
        if seen.content != before:
            raise Left("changed while it was read; lint again")
        code = self.finding.code
        return Edit(path, path, seen, (BOM if marked else b"") + new.encode("utf-8"), done, code, group=code)


def _rows(text: str, operation: Callable[[Words, Spot], Words], spot: Spot) -> str:
    """The text of a label file with each row rewritten.

    Raises:
        Left: a row cannot be; the reason names the line.
    """
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        words = line.split()
        if words:
            try:
                lines[number] = joined(line, operation(words, spot))
            except Left as why:
                raise Left(f"line {number + 1} {why}") from None
    return "".join(lines)


def shift_classes(words: Words, spot: Spot) -> Words:
    """The row with `by` (of the finding) added to its class number, in the splits that the finding names."""
    return shift_class(words, spot.values["by"]) if spot.within() else words


def renumber(words: Words, spot: Spot) -> Words:
    """The row with its class numbered by the place of its key in `names`."""
    return renumber_row(words, spot.values)


def unswap_turned(words: Words, spot: Spot) -> Words:
    """The row as it is on the shown picture, if EXIF turns its image by a quarter and it is not square."""
    _, _, width, height, turn = spot.file
    if turn < QUARTER and turn != 0:
        return words
    if (files := spot.values["files"]) and spot.file.path not in files:
        return words
    shown, dims = bool(spot.values["shown"]), spot.values["dims"]
    return words if width == height > 0 else into_shown(words, spot.task, (width, height), turn, shown=shown, dims=dims)


def turn_labels(words: Words, spot: Spot) -> Words:
    """The row of the stored pixels as it is on the shown picture, if EXIF turns its image by a quarter."""
    if not spot.values["sure"]:
        raise Left("tells nothing for sure: look at some of the images with their labels")
    turn = spot.file.turn
    return words if 0 < turn < QUARTER else turn_row(words, spot.task, turn, dims=spot.values["dims"])


OPERATIONS: dict[str, Operation] = {
    "renumber": Operation(renumber, renumber_names),
    "turn-labels": Operation(turn_labels),
    "reread": Operation(reread),
    "unswap-turned": Operation(unswap_turned),
    "shift-classes": Operation(shift_classes),
    "without-number": Operation(without_number),
    "without-behind": Operation(without_behind),
}
"""What can be done to a whole set, by the name that `catalogue.Fixer.how` has."""
