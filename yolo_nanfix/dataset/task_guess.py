"""Which task a dataset is labelled for: told by `kpt_shape`, or by the columns of its label rows.

A few label files of each folder are read. Only where their rows differ are all of them counted, so that what is said of
a mixed set does not hang on the sample.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from yolo_nanfix.dataset.config import DataConfig, Layout
from yolo_nanfix.dataset.label_parser import numbers_of
from yolo_nanfix.dataset.listing import Folders
from yolo_nanfix.dataset.options import UNLABELLED, LintOptions
from yolo_nanfix.dataset.paths import NO_LABELS
from yolo_nanfix.tasks import Basis, TaskBasis

SAMPLE = 32
"""Label files that are looked at first, spread over the folders: about a millisecond."""
MOST = 20_000
"""Label files that are looked at where the rows of the first ones differ."""
HEAD = 1 << 16
"""Bytes of a label file that are looked at; some hundred rows."""
BOX, CORNERS, POLYGON = 5, 9, 7
"""Columns of a row of detection, of an oriented box, and of the smallest polygon."""
CORNERS_SHARE = 0.95
"""So many of the rows with corners must have four for a set of oriented boxes: in one of polygons others are common."""
TURNED_SHARE, TURNED = 0.8, 0.5
"""Fewer will do where this share of them are turned parallelograms, as rectangles are in any unit: outlines of four
corners that somebody clicked are none, and boxes among outlines are upright."""
NEAR, UPRIGHT = 0.004, 0.01
"""A parallelogram closes but for this share of the image; along an upright edge one coordinate changes by less."""
SCORED = 11
"""Columns of an oriented box with a confidence and the number of a track behind it."""
SLOPPY = 1.5
"""Coordinates reach no further."""
POINT = 3
"""Numbers of a keypoint with its visibility."""
VISIBLE = (0.0, 1.0, 2.0)


class Look(NamedTuple):
    """What was seen in one label file, as it is cached.

    Attributes:
        stamp: bytes and times of the file.
        columns: how many rows have how many columns.
        pointed: whether every row could be a box with keypoints and their visibility.
        tracked: rows with a confidence and the number of a track.
        turned: rows whose four corners are a turned rectangle.
        scored: rows of four corners, a confidence and the number of a track.
    """

    stamp: tuple[int, ...]
    columns: Mapping[str, int]
    pointed: bool
    tracked: int
    turned: int
    scored: int


class Looks:
    """The label files that were looked at; those that have not changed since are not opened again."""

    def __init__(self, known: Any = None) -> None:
        """`known` is what `kept` gave, read back from JSON; anything else is as good as nothing."""
        self._known = known if isinstance(known, Mapping) else {}
        self.kept: dict[str, Look] = {}

    def few(self) -> dict[str, Look]:
        """Those that are worth caching: of a mixed set, whose labels are all looked at, not all."""
        return dict(islice(self.kept.items(), SAMPLE))

    def at(self, file: str) -> Look | None:
        """What is in a label file; None if it cannot be read."""
        try:
            status = os.stat(file)  # noqa: PTH116
            if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                return None
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            held = self._cached(file, stamp)
            self.kept[file] = held if held is not None else _look(file, stamp)
        except (OSError, ValueError):
            return None
        return self.kept[file]

    def _cached(self, file: str, stamp: tuple[int, ...]) -> Look | None:
        try:
            held = Look(*self._known[file])
            columns = {str(int(width)): int(count) for width, count in held.columns.items()}
            counts = int(held.tracked), int(held.turned), int(held.scored)
            look = Look(tuple(held.stamp), columns, bool(held.pointed), *counts)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return look if look.stamp == stamp else None


def guess(config: DataConfig, folders: Folders, looks: Looks) -> Basis:
    """The task that a dataset with label files speaks for.

    Args:
        config: its resolved data.yaml.
        folders: its folders, which were listed.
        looks: what was seen in label files before; holds afterwards what was seen now.
    """
    if config.layout is Layout.CLASS_FOLDERS:
        return Basis(TaskBasis.CLASS_FOLDERS, "classify", {"folders": config.nc})
    if config.layout is Layout.IMAGES:
        return Basis(TaskBasis.IMAGES, UNLABELLED)
    if config.raw.get("kpt_shape") is not None:
        return Basis(TaskBasis.KPT_SHAPE, "pose")
    names = {folder: folders.names(folder) for folder in folders.homes_of_labels}
    total = sum(map(len, names.values()))
    seen = _count(map(looks.at, filter(_is_label, _spread(names, SAMPLE))))
    if total > SAMPLE and (not seen.columns or _differ(seen)):
        labels = {folder: sorted(filter(_is_label, some)) for folder, some in names.items()}
        seen = _count(map(looks.at, _spread(labels, MOST)))
    return _decide(seen)


def _is_label(file: str) -> bool:
    """Whether a file is a .txt, and no list of classes or images."""
    return file[-4:] == ".txt" and file.rpartition(os.sep)[2] not in NO_LABELS


def _spread(names: Mapping[str, Sequence[str]], most: int) -> Iterator[str]:
    """About so many files, evenly from all folders; all of them where there are fewer."""
    step = max(1.0, sum(map(len, names.values())) / most)
    for folder, some in names.items():
        for i in range(int(-(-len(some) // step))):
            yield f"{folder}{os.sep}{some[int(i * step)]}"


class _Rows:
    """Label rows by their columns."""

    def __init__(self) -> None:
        self.files = 0
        self.columns: Counter[int] = Counter()
        self.tracked = 0
        """Rows of seven columns that a tracker may have written: class, box, confidence and a whole number."""
        self.turned = 0
        self.scored = 0
        self.pointed = True
        """Whether every row could be a box with keypoints and their visibility."""

    @property
    def boxes(self) -> int:
        return self.columns[BOX] + self.columns[BOX + 1] + (self.tracked if self._trackers else 0)

    @property
    def _trackers(self) -> bool:
        """Whether no row of polygon width is anything but a tracker's."""
        return bool(self.tracked) and self.tracked == sum(n for width, n in self.columns.items() if width >= POLYGON)

    @property
    def corners(self) -> int:
        """Those with a confidence and a number too, where no row of that width is anything else."""
        scored = self.scored if self.scored == self.columns[SCORED] else 0
        return self.columns[CORNERS] + self.columns[CORNERS + 1] + scored

    @property
    def oriented(self) -> bool:
        """Whether outlines are oriented boxes rather than polygons."""
        outlines = self.corners + self.polygons
        if self.corners >= CORNERS_SHARE * outlines:
            return True
        return self.corners >= TURNED_SHARE * outlines and self.turned >= TURNED * self.corners

    @property
    def polygons(self) -> int:
        """Odd numbers of columns are polygons; even ones are polygons with one more, a confidence or an id."""
        wide = sum(count for width, count in self.columns.items() if width >= POLYGON) - self.corners
        return 0 if self._trackers else wide


def _count(looks: Iterable[Look | None]) -> _Rows:
    """Count the rows of label files."""
    seen = _Rows()
    for look in looks:
        if look is None:
            continue
        seen.files += 1
        for width, count in look.columns.items():
            seen.columns[int(width)] += count
        seen.tracked += look.tracked
        seen.turned += look.turned
        seen.scored += look.scored
        seen.pointed = seen.pointed and look.pointed
    return seen


def _look(file: str, stamp: tuple[int, ...]) -> Look:
    """Read a label file.

    Raises:
        OSError: it cannot be read.
    """
    data = b""
    if stamp[0]:  # what says that it is empty may be a file of the system, which would be waited for
        with open(file, "rb") as stream:
            data = stream.read(HEAD)
    lines = data.splitlines()
    if len(data) == HEAD:
        lines = lines[:-1]
    rows = [words for line in lines if (words := line.split())]
    columns = {str(width): count for width, count in Counter(map(len, rows)).items()}
    wide = [numbers for words in rows if len(words) > BOX and (numbers := numbers_of(words))]  # in most sets none
    counts = (sum(map(told, wide)) for told in (_tracked, _turned, _scored))
    return Look(stamp, columns, len(wide) == len(rows) and all(map(_pointed, wide)), *counts)


def _pointed(row: Sequence[float]) -> bool:
    """Whether a row could be a box with keypoints, each with x, y and visibility; one of them is seen at least."""
    return (len(row) - BOX) % POINT == 0 and all(value in VISIBLE for value in row[BOX + 2 :: POINT])


def _tracked(row: Sequence[float]) -> bool:
    """Whether a row is a box in the image, a confidence, and the number of a track behind it."""
    if len(row) != POLYGON:
        return False
    x, y, width, height, confidence, number = row[1:]
    inside = width / 2 <= x <= 1 - width / 2 and height / 2 <= y <= 1 - height / 2
    return inside and width > 0 and height > 0 and 0 <= confidence <= 1 and number >= 0 and number.is_integer()


def _turned(row: Sequence[float]) -> bool:
    """Whether the four corners of a row are a parallelogram that is not upright."""
    if not CORNERS <= len(row) <= SCORED:
        return False
    x, y = row[1:CORNERS:2], row[2:CORNERS:2]
    if any(abs(c[0] + c[2] - c[1] - c[3]) > NEAR for c in (x, y)):
        return False
    return min(abs(x[0] - x[1]), abs(y[0] - y[1])) > UPRIGHT and min(abs(x[1] - x[2]), abs(y[1] - y[2])) > UPRIGHT


def _scored(row: Sequence[float]) -> bool:
    """Whether a row is four corners, a confidence, and the number of a track that is no coordinate."""
    if len(row) != SCORED:
        return False
    *corners, confidence, number = row[1:]
    return max(corners) <= SLOPPY and 0 <= confidence <= 1 and number >= 0 and number.is_integer()


def _differ(seen: _Rows) -> bool:
    """Whether the rows are of several kinds."""
    kinds = (seen.boxes, seen.corners, seen.polygons)
    return sum(count > 0 for count in kinds) > 1 and not _all_pointed(seen)


def _all_pointed(seen: _Rows) -> bool:
    """Whether all rows have the same keypoints."""
    return seen.pointed and len(seen.columns) == 1


def _decide(seen: _Rows) -> Basis:
    rows = sum(seen.columns.values())
    if not rows:
        return Basis(TaskBasis.NO_ROWS, "detect", {"files": seen.files})
    boxes, corners, polygons = seen.boxes, seen.corners, seen.polygons
    numbers = {"files": seen.files, "rows": rows, "boxes": boxes, "corners": corners, "polygons": polygons}
    numbers["other"] = rows - boxes - corners - polygons
    if _all_pointed(seen):
        (columns,) = seen.columns
        return Basis(TaskBasis.KEYPOINT_ROWS, "pose", {"files": seen.files, "rows": rows, "columns": columns})
    if boxes + corners + polygons == 0:
        return Basis(TaskBasis.NO_ROWS, "detect", numbers)
    task = "detect"
    if corners + polygons > boxes:
        task = "obb" if seen.oriented else "segment"
    return Basis(TaskBasis.ROWS, task, numbers)


def settled(options: LintOptions, found: Basis) -> tuple[LintOptions, Basis]:
    """The options with a task, the one that is asked or the guess; and why it is this one."""
    if options.task is None:
        return replace(options, task=found.guess), found
    return options, replace(found, kind=TaskBasis.ASKED)
