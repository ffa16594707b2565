"""Fixes of the whole set: one finding about the dataset, and all its label files (and data.yaml) rewritten for it.

How to add one:

1. The rule yields its `Hit` with `values`: the facts that the fix needs (which splits, how the columns are read).
2. Its `@rule` has `autofix=unsafe(Operation.NAME)`: a new operation of `Scope.SET`, described in a few words.
3. `_SET_OPERATIONS[Operation.NAME] = Rewrite(row, yaml)`: pure functions, of one row and of the text of data.yaml.
4. The row findings that the finding explains carry its code in `because`: no fix of rows touches them.

An operation need not handle: spelling, line ends and byte order marks of what it does not change; splits that share
label files (each is rewritten once); files that changed since the lint, links, read-only files. If one file cannot be
rewritten, or one row raises `Left`, none is, and the finding is not fixed for that reason. On disk, too, all files are
rewritten or none: if a later file fails, the earlier ones are restored. While a set is rewritten, other fixes wait for
the next run, since their findings come from the wrong reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any, NamedTuple

from yolo_nanfix.dataset.label_parser import PLAIN_COLUMNS as _BOX
from yolo_nanfix.dataset.label_parser import is_polygon, numbers_of
from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.autofix.file_changes import Edit, look, say
from yolo_nanfix.linting.autofix.ground import Ground, LabelFile
from yolo_nanfix.linting.autofix.label_edits import BOM, Words, numbers, operation_of, spell, with_words
from yolo_nanfix.linting.autofix.operations import Operation
from yolo_nanfix.linting.autofix.reasons import Left, Why
from yolo_nanfix.linting.rules.box_units import Scale, divisors

QUARTER = 5
"""From this orientation on, EXIF rotates an image by 90 degrees."""
_BEYOND = 1e-5
"""What reaches out of the image by at most this is rounding, and is cut off."""
_TURNED: dict[int, Callable[[float, float], tuple[float, float]]] = {
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
"""Where a point of the stored pixels is on the shown picture, by the orientation of EXIF."""
_SIDES = 4
"""Numbers of a box."""
UNITS = (Scale.PIXELS, Scale.PIXELS_YX, Scale.PERCENT, Scale.PERMILLE)
"""In sets in these units, a row that lies in its image as it is was written correctly."""
SMALL_SCALES, TINY = (Scale.TWICE, Scale.HUNDREDTH), 0.1
"""Scales in which no number is larger than this."""
ONLY = "only"
"""Value `points`: only the keypoints are to be rewritten."""
_TOLERATED = 0.02
"""A box lies in its image if it reaches out by at most this. A row whose box does, and would not afterwards, is not
changed."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class RowPlace:
    """A row's file, and the finding for which it is rewritten.

    Attributes:
        task: the task of its label format.
        file: its label file, with the splits and the size of the image.
        values: the values of the finding, by name.
    """

    task: str
    file: LabelFile
    values: Mapping[str, Any]

    def within(self, name: str = "splits") -> bool:
        """Whether the file is in the splits that the finding names.

        Raises:
            Left: it is in splits that are named and in others.
        """
        inside = [split in self.values[name] for split in self.file.splits]
        if any(inside) and not all(inside):
            raise Left(Why.SEVERAL_SPLITS, splits=self.file.splits)
        return all(inside)


class Rewrite(NamedTuple):
    """The functions that rewrite a whole set.

    Attributes:
        row: from the words of one row (at least one) and its place to its new words, or the same words; no row is
            dropped.
        yaml: from the text of data.yaml and the values of the finding to its new text; None if data.yaml does not
            change.

    Both raise `Left` if the finding proves wrong; then nothing is rewritten.
    """

    row: Callable[[Words, RowPlace], Words]
    yaml: Callable[[str, Mapping[str, Any]], str] | None = None


def edits_of_set(finding: Finding, labels: Iterable[LabelFile], ground: Ground) -> Iterator[Edit]:
    """The edits for a finding about the set, file by file; the first carries the finding.

    Raises:
        Left: a file cannot be rewritten; the reason begins with its path.
    """
    operation = _SET_OPERATIONS[operation_of(finding)]
    values = dict(finding.values)
    jobs: list[tuple[str, Callable[[str], str]]] = [
        (label.path, partial(_rewrite_rows, operation=operation.row, spot=RowPlace(ground.task, label, values)))
        for label in labels
    ]
    if operation.yaml is not None:
        change_yaml = operation.yaml
        jobs.append((ground.home.data, lambda text: change_yaml(text, values)))
    done: tuple[Finding, ...] = (finding,)
    for path, change in jobs:
        try:
            edit = _edit(path, change, finding.code, ground)
        except Left as why:
            raise why.at(path) from None
        if edit is not None:
            yield edit._replace(done=done)
            done = ()


def _edit(path: str, change: Callable[[str], str], code: str, ground: Ground) -> Edit | None:
    """The edit of one file; None if it does not change."""
    try:
        before = ANYWHERE.read(path)
    except OSError as error:
        raise Left(Why.CANNOT_BE_READ, error=say(error)) from None
    marked = before.startswith(BOM)
    try:
        text = before.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError:
        raise Left(Why.NOT_UTF8) from None
    if (new := change(text)) == text:
        return None
    ground.home.check(path)
    seen = look(path, ground.since_ns, rewrite=True)
    if seen.content != before:
        raise Left(Why.CHANGED_MEANWHILE)
    return Edit(path, path, seen, (BOM if marked else b"") + new.encode("utf-8"), (), code, code, True)


def _rewrite_rows(text: str, operation: Callable[[Words, RowPlace], Words], spot: RowPlace) -> str:
    """The text of a label file with each row rewritten.

    Raises:
        Left: a row cannot be rewritten; the reason names the line.
    """
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        words = line.split()
        if words:
            try:
                lines[number] = with_words(line, operation(words, spot))
            except Left as why:
                raise why.at(line=number + 1) from None
    return "".join(lines)


def shift_classes(words: Words, spot: RowPlace) -> Words:
    """The row with `by` (of the finding) added to its class, in the splits that the finding names.

    Raises:
        Left: that gives no class.
    """
    if not spot.within():
        return words
    number, by = _class_of(words), spot.values["by"]
    if number is None or number != int(number) or number < min(-by, 0):
        return words
    if number + by < 0:
        raise Left(Why.CLASS_TOO_LOW, **{"class": int(number), "by": -by})
    return [str(int(number) + by), *words[1:]]


def unswap_turned(words: Words, spot: RowPlace) -> Words:
    """The row on the shown picture, if EXIF rotates its image by 90 degrees and it is not square."""
    _, _, width, height, turn = spot.file
    if turn < QUARTER and turn != 0:
        return words
    if (files := spot.values["files"]) and spot.file.path not in files:
        return words
    shown, dims = bool(spot.values["shown"]), spot.values["dims"]
    return words if width == height > 0 else into_shown(words, spot.task, (width, height), turn, shown=shown, dims=dims)


def turn_labels(words: Words, spot: RowPlace) -> Words:
    """The row of the stored pixels on the shown picture, if EXIF rotates its image by 90 degrees."""
    if not spot.values["sure"]:
        raise Left(Why.NOT_PROVEN)
    turn = spot.file.turn
    if 0 < turn < QUARTER:
        return words
    return into_shown(words, spot.task, (1, 1), turn, shown=False, dims=spot.values["dims"])


def into_shown(words: Words, task: str, size: tuple[int, int], turn: int, *, shown: bool, dims: int) -> Words:
    """A row of an image that EXIF rotates by 90 degrees, divided by the sides of the wrong frame, corrected.

    Args:
        words: class and numbers.
        task: the task of its label format.
        size: width and height of the shown picture.
        turn: the orientation of EXIF.
        shown: whether it was drawn on the shown picture; else on the stored pixels.
        dims: numbers of a keypoint.

    Raises:
        Left: the size is not known, EXIF does not rotate the image, or a word is no number.
    """
    if min(size) <= 0 or turn not in _TURNED:
        raise Left(Why.TURN_UNKNOWN)
    values, (width, height) = numbers(words), size
    out = list(words)
    polygon = is_polygon(len(words), task)
    if not polygon and len(words) < _BOX:
        raise Left(Why.NO_BOX)
    ratio = height / width if shown else width / height

    def point(at: int) -> None:
        x, y = values[at] * ratio, values[at + 1] / ratio
        x, y = (x, y) if shown else _TURNED[turn](x, y)
        out[at : at + 2] = spell(_without_rounding(x)), spell(_without_rounding(y))

    if polygon:
        for at in range(1, len(words) - 1, 2):
            point(at)
        return out
    point(1)
    sides = values[3] * ratio, values[4] / ratio
    out[3:_BOX] = map(spell, sides if shown else sides[::-1])
    if task == "pose":
        for at in range(_BOX, len(words) - 1, max(dims, 2)):
            if values[at] or values[at + 1]:  # 0, 0: not labelled
                point(at)
    return out


def _without_rounding(value: float) -> float:
    return min(max(value, 0.0), 1.0) if -_BEYOND <= value <= 1 + _BEYOND else value


def renumber(words: Words, spot: RowPlace) -> Words:
    """The row with the place of its class number among the keys; unchanged if labels are already numbered from 0.

    Raises:
        Left: its class is none of the keys.
    """
    values, number = spot.values, _class_of(words)
    if not values["by_keys"] or number is None:
        return words
    if number not in values["numbers"]:
        raise Left(Why.CLASS_NO_KEY, **{"class": number})
    return [str(values["numbers"].index(int(number))), *words[1:]]


def renumber_names(text: str, values: Mapping[str, Any]) -> str:
    """The text of data.yaml with the keys of `names` numbered from 0; if names are the keys, both are swapped.

    Raises:
        Left: `names` is no mapping of numbers in this file, or the result is no such mapping.
    """
    from yolo_nanfix import safe_yaml

    edits = sorted(_edits(safe_yaml.compose(text), text, values))
    for start, end, new in reversed(edits):
        text = f"{text[:start]}{new}{text[end:]}"
    try:
        names = safe_yaml.load_yaml(text)["names"]
    except safe_yaml.NotYaml as error:
        raise Left(Why.NO_YAML_AFTERWARDS, error=str(error)) from None
    if sorted(names) != list(range(len(values["numbers"]))):
        raise Left(Why.KEYS_STAY)
    return text


def _edits(root: Any, text: str, values: Mapping[str, Any]) -> Iterator[tuple[int, int, str]]:
    """Start, end and new text of each key of `names`, and of each value that is swapped with it."""
    import yaml

    names = next((value for key, value in root.value if key.value == "names"), None)
    if not isinstance(names, yaml.MappingNode):
        raise Left(Why.NO_NAMES)
    for key, value in names.value:
        spans = [(node.start_mark.index, node.end_mark.index) for node in (key, value)]
        written = [text[start:end] for start, end in spans]
        number = value.value if values["swapped"] else key.value
        try:
            place = values["numbers"].index(int(number))
        except ValueError:
            raise Left(Why.KEY_NO_NUMBER, key=number) from None
        yield *spans[0], str(place)
        if values["swapped"]:
            yield *spans[1], written[0]


def reread(words: Words, spot: RowPlace) -> Words:
    """The row with its coordinates normalised and its box by centre and size; unchanged if it cannot be read.

    The values of the finding say how it is written: `scale` and `form`, `size` by which all rows were divided, `dims`
    numbers of a keypoint.

    Raises:
        Left: scale, form, or the size of the image is not known.
    """
    values = spot.values
    if not spot.within():
        return words
    if values["scale"] == "unknown":
        raise Left(Why.UNIT_UNKNOWN)
    if values["form"] == "unsure":
        raise Left(Why.FORM_UNSURE)
    if not (spot.file.width and spot.file.height):
        raise Left(Why.SIZE_UNKNOWN)
    numbers = _coordinates(words)
    step = int(values["dims"]) if spot.task == "pose" else 2
    body = numbers[_SIDES:] if spot.task == "pose" else numbers
    if len(numbers) < _SIDES or len(body) % step:
        return words
    new = list(numbers)
    spots = _spots(numbers, spot, step)
    for i in spots:
        new[i], new[i + 1] = _scaled(numbers[i], numbers[i + 1], spot)
    boxed = spot.task == "pose" or len(numbers) == _SIDES
    if boxed and values["points"] != ONLY:
        new[:_SIDES] = _formed((new[0], new[1], new[2], new[3]), str(values["form"]))
    if not boxed or values["points"] != ONLY:
        right = str(values["scale"]) in UNITS or not _lies_inside(new, boxed)
        if right and _lies_inside(numbers, boxed):
            return words
    coordinates = {j for i in spots for j in (i, i + 1)}
    return [words[0], *(f"{new[i]:.6f}" if i in coordinates else words[i + 1] for i in range(len(new)))]


def _spots(numbers: list[float], spot: RowPlace, step: int) -> list[int]:
    """Where the pairs to be scaled begin; those of keypoints only if they are in the same unit."""
    if spot.task != "pose":
        return list(range(0, len(numbers), 2))
    wanted, scale = spot.values["points"], str(spot.values["scale"])
    points = list(range(_SIDES, len(numbers), step))
    largest = max((numbers[j] for i in points for j in (i, i + 1)), default=0.0)
    other = (scale in UNITS and largest <= 1 + _TOLERATED) or (scale in SMALL_SCALES and largest > TINY)
    scaled = [] if wanted == "stay" or other else points
    return scaled if wanted == ONLY else [0, 2, *scaled]


def without_number(words: Words, spot: RowPlace) -> Words:
    """The row without the whole number beside its class, in the splits that the finding names.

    Raises:
        Left: which of the first two columns is the class is not known.
    """
    numbers = _coordinates(words[:2])
    if not spot.within() or len(words) not in _too_wide(spot) or not numbers or numbers[0] != int(numbers[0]):
        return words
    if spot.values["column"] not in (0, 1):
        raise Left(Why.CLASS_UNSURE)
    return words[1:] if spot.values["column"] == 0 else [words[0], *words[2:]]


def without_behind(words: Words, spot: RowPlace) -> Words:
    """The row without the columns that predictions have at their end, in the splits that the finding names.

    The values of the finding say how many `columns` a row of a pose set has, and whether rows have `two` too many.

    Raises:
        Left: whether the column too many is at the end of the row or beside the class is not known.
    """
    numbers = _coordinates(words)
    if not spot.within() or not numbers:
        return words
    if spot.values["ahead"]:
        raise Left(Why.WHERE_UNSURE)
    if numbers[0] > 1 and numbers[0] == int(numbers[0]):
        return words
    last, before = numbers[-1], numbers[-2:][0]
    if spot.task == "pose":
        more = len(words) - int(spot.values["columns"])
    elif len(words) % 2:
        more = 2 if spot.values["two"] and len(words) >= (11 if spot.task == "obb" else 9) else 0
    else:
        more = int(len(words) >= 8)
    whole = last >= 0 and last == int(last)
    if more == 1:
        return words[:-1] if whole or 0 <= last <= 1 else words
    return words[:-2] if more == 2 and whole and 0 <= before <= 1 else words


def _too_wide(spot: RowPlace) -> range | tuple[int, ...]:
    """The numbers of columns of rows with one too many."""
    if spot.task == "pose":
        return (int(spot.values["columns"]) + 1,)
    return range(6, 1_000_000, 2)


def _class_of(words: Words) -> float | None:
    """The first number of a row; None if it is no finite number."""
    numbers = numbers_of(words[:1])
    return numbers[0] if numbers and isfinite(numbers[0]) else None


def _coordinates(words: Words) -> list[float]:
    """The numbers after the class; empty if one of them is no finite number."""
    numbers = numbers_of(words[1:])
    return numbers if numbers and all(map(isfinite, numbers)) else []


def _scaled(x: float, y: float, spot: RowPlace) -> tuple[float, float]:
    """A pair of numbers, normalised."""
    width, height, scale = spot.file.width, spot.file.height, Scale(spot.values["scale"])
    if scale is Scale.SIZE:
        wide, high = spot.values["size"]
        return x * wide / width, y * high / height
    across, down = divisors(scale, width, height)
    return (y / across, x / down) if scale is Scale.PIXELS_YX else (x / across, y / down)


def _formed(box: Box, form: str) -> Box:
    x, y, w, h = box
    if form == "corners":
        return (x + w) / 2, (y + h) / 2, w - x, h - y
    if form == "corner":
        return x + w / 2, y + h / 2, w, h
    return box


def _lies_inside(numbers: list[float], boxed: bool) -> bool:
    """Whether a box (or a polygon) lies in its image, within the tolerance."""
    if boxed:
        x, y, w, h = numbers[:_SIDES]
        ends = (x - w / 2, x + w / 2, y - h / 2, y + h / 2)
        return min(ends) >= -_TOLERATED and max(ends) <= 1 + _TOLERATED and min(w, h) >= 0
    return min(numbers) >= -_TOLERATED and max(numbers) <= 1 + _TOLERATED


_SET_OPERATIONS: dict[Operation, Rewrite] = {
    Operation.RENUMBER: Rewrite(renumber, renumber_names),
    Operation.TURN_LABELS: Rewrite(turn_labels),
    Operation.REREAD: Rewrite(reread),
    Operation.UNSWAP_TURNED: Rewrite(unswap_turned),
    Operation.SHIFT_CLASSES: Rewrite(shift_classes),
    Operation.WITHOUT_NUMBER: Rewrite(without_number),
    Operation.WITHOUT_BEHIND: Rewrite(without_behind),
}
"""What can be done to a whole set."""
