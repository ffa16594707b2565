"""Which task a dataset is labelled for: by `kpt_shape`, or by the columns of its label rows.

A few label files of each folder are read; where their rows differ all of them, so that the answer for a mixed set does
not depend on the sample.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from yolo_nanfix.dataset.config import DataConfig, Layout
from yolo_nanfix.dataset.label_parser import numbers_of
from yolo_nanfix.dataset.listing import Folders
from yolo_nanfix.dataset.options import UNLABELLED, LintOptions
from yolo_nanfix.dataset.paths import NO_LABELS
from yolo_nanfix.tasks import Basis, TaskBasis

SAMPLE = 32
"""Label files that are read first, spread over the folders: about a millisecond."""
MOST_LABELS = 20_000
"""Label files that are read where the rows of the first ones differ."""
LABEL_HEAD = 1 << 16
"""Bytes of a label file that are read: some hundred rows."""
BOX, OBB, POLYGON = 5, 9, 7
"""Columns of a row of detection, of an oriented box, and of the smallest polygon."""
CORNERS_SHARE = 0.95
"""So many of the rows with corners must have four for a set of oriented boxes: in one of polygons others are common."""
ROTATED_SHARE, ROTATED = 0.8, 0.5
"""Fewer are enough if this share of them are rotated parallelograms, as rectangles are in any unit: outlines of four
clicked corners are none, and boxes among outlines are upright."""
NEAR, UPRIGHT = 0.004, 0.01
"""A parallelogram closes but for this share of the image; along an upright edge one coordinate changes by less."""
SCORED = 11
"""Columns of an oriented box, followed by a confidence and a track number."""
SLOPPY = 1.5
"""Coordinates reach no further."""
POINT = 3
"""Numbers of a keypoint with its visibility."""
VISIBLE = (0.0, 1.0, 2.0)


Counts = Counter[str]
"""The label rows of one file, or of several: how many have so many columns (by their number as text), and how many are

- `tracked`: rows of seven columns that a tracker may have written: class, box, confidence and a whole number;
- `rotated`: rows whose four corners are a rotated rectangle;
- `scored`: rows of four corners, a confidence and a track number;
- `unpointed`: not rows but files, in which not every row could be a box with keypoints and their visibility;
- `files`: how many files they are of.
"""
Read = tuple[tuple[int, ...], Counts]
"""Bytes and times of a label file, by which what is cached of it is checked, and its rows."""


def _columns(seen: Counts) -> Counter[int]:
    """How many rows have how many columns."""
    return Counter({int(key): count for key, count in seen.items() if key.isdecimal()})


def _kinds(seen: Counts) -> tuple[int, int, int]:
    """How many rows are boxes, oriented boxes and polygons.

    A row with one column more than a box is one, too, and so is a tracker's if all rows of polygon width are such.
    Oriented boxes may have a confidence and a track number if all rows of that width have. Polygons with an even number
    of columns have one more, a confidence or an id.
    """
    columns = _columns(seen)
    wide = sum(count for width, count in columns.items() if width >= POLYGON)
    tracked = seen["tracked"] if seen["tracked"] == wide else 0
    corners = columns[OBB] + columns[OBB + 1] + (seen["scored"] if seen["scored"] == columns[SCORED] else 0)
    return columns[BOX] + columns[BOX + 1] + tracked, corners, 0 if tracked else wide - corners


def _oriented(seen: Counts) -> bool:
    """Whether outlines are oriented boxes rather than polygons."""
    _, corners, polygons = _kinds(seen)
    if corners >= CORNERS_SHARE * (corners + polygons):
        return True
    return corners >= ROTATED_SHARE * (corners + polygons) and seen["rotated"] >= ROTATED * corners


def _have_keypoints(seen: Counts) -> bool:
    """Whether all rows have the same keypoints."""
    return not seen["unpointed"] and len(_columns(seen)) == 1


def _differ(seen: Counts) -> bool:
    """Whether the rows are of several kinds."""
    return sum(count > 0 for count in _kinds(seen)) > 1 and not _have_keypoints(seen)


def guess(config: DataConfig, folders: Folders, cached: Any = None) -> tuple[Basis, dict[str, Read]]:
    """The task that the labels of a dataset are for, and some of the label files that were read, to be cached.

    Args:
        config: its resolved data.yaml.
        folders: its folders, which were listed.
        cached: the label files of an earlier guess, read back from JSON; those that are unchanged are not read again.
    """
    if config.layout is Layout.CLASS_FOLDERS:
        return Basis(TaskBasis.CLASS_FOLDERS, "classify", {"folders": config.nc}), {}
    if config.layout is Layout.IMAGES:
        return Basis(TaskBasis.IMAGES, UNLABELLED), {}
    if config.raw.get("kpt_shape") is not None:
        return Basis(TaskBasis.KPT_SHAPE, "pose"), {}
    read: dict[str, Read] = {}
    cached = cached if isinstance(cached, Mapping) else {}
    names = {folder: folders.names(folder) for folder in folders.homes_of_labels}
    seen = _total(_read_files(filter(_is_label, _spread(names, SAMPLE)), cached, read))
    if sum(map(len, names.values())) > SAMPLE and (not _columns(seen) or _differ(seen)):
        labels = {folder: sorted(filter(_is_label, some)) for folder, some in names.items()}
        seen = _total(_read_files(_spread(labels, MOST_LABELS), cached, read))
    return _decide(seen), dict(islice(read.items(), SAMPLE))


def _read_files(files: Iterable[str], cached: Mapping[str, Any], read: dict[str, Read]) -> Iterator[Counts]:
    """The rows of label files that can be read, which are put into `read`."""
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116
            if stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                read[file] = stamp, _from_cache(cached.get(file), stamp) or _count_rows(file, status.st_size)
                yield read[file][1]
        except (OSError, ValueError):
            continue


def _from_cache(read: Any, stamp: tuple[int, ...]) -> Counts | None:
    try:
        times, counts = read
        found = Counter({str(key): int(count) for key, count in counts.items()})
        return found if tuple(times) == stamp else None
    except (TypeError, ValueError, AttributeError):
        return None


def _is_label(file: str) -> bool:
    """Whether a file is a .txt, and no list of classes or images."""
    return file[-4:] == ".txt" and file.rpartition(os.sep)[2] not in NO_LABELS


def _spread(names: Mapping[str, Sequence[str]], most: int) -> Iterator[str]:
    """About so many files, evenly from all folders; all of them where there are fewer."""
    step = max(1.0, sum(map(len, names.values())) / most)
    for folder, some in names.items():
        for i in range(int(-(-len(some) // step))):
            yield f"{folder}{os.sep}{some[int(i * step)]}"


def _total(files: Iterable[Counts]) -> Counts:
    """The rows of several files together."""
    total: Counts = Counter()
    for one in files:
        total.update(one)
    return total


def _count_rows(file: str, size: int) -> Counts:
    """Read a label file of so many bytes.

    Raises:
        OSError: it cannot be read.
    """
    data = b""
    if size:  # what says that it is empty may be a file of the system, which would be waited for
        with open(file, "rb") as stream:
            data = stream.read(LABEL_HEAD)
    lines = data.splitlines()
    if len(data) == LABEL_HEAD:
        lines = lines[:-1]
    rows = [words for line in lines if (words := line.split())]
    found = Counter(str(len(words)) for words in rows)
    wide = [numbers for words in rows if len(words) > BOX and (numbers := numbers_of(words))]  # in most sets none
    tests = {"tracked": _tracked, "rotated": _rotated, "scored": _scored}
    found.update({name: sum(map(test, wide)) for name, test in tests.items()})
    found.update(files=1, unpointed=int(len(wide) < len(rows) or not all(map(_pointed, wide))))
    return found


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


def _rotated(row: Sequence[float]) -> bool:
    """Whether the four corners of a row are a parallelogram that is not upright."""
    if not OBB <= len(row) <= SCORED:
        return False
    x, y = row[1:OBB:2], row[2:OBB:2]
    if any(abs(c[0] + c[2] - c[1] - c[3]) > NEAR for c in (x, y)):
        return False
    return min(abs(x[0] - x[1]), abs(y[0] - y[1])) > UPRIGHT and min(abs(x[1] - x[2]), abs(y[1] - y[2])) > UPRIGHT


def _scored(row: Sequence[float]) -> bool:
    """Whether a row is four corners, a confidence, and the number of a track that is no coordinate."""
    if len(row) != SCORED:
        return False
    *corners, confidence, number = row[1:]
    return max(corners) <= SLOPPY and 0 <= confidence <= 1 and number >= 0 and number.is_integer()


def _decide(seen: Counts) -> Basis:
    columns, (boxes, corners, polygons) = _columns(seen), _kinds(seen)
    rows, files = sum(columns.values()), seen["files"]
    if not rows:
        return Basis(TaskBasis.NO_ROWS, "detect", {"files": files})
    if _have_keypoints(seen):
        return Basis(TaskBasis.KEYPOINT_ROWS, "pose", {"files": files, "rows": rows, "columns": next(iter(columns))})
    numbers = {"files": files, "rows": rows, "boxes": boxes, "corners": corners, "polygons": polygons}
    numbers["other"] = rows - boxes - corners - polygons
    if boxes + corners + polygons == 0:
        return Basis(TaskBasis.NO_ROWS, "detect", numbers)
    task = "detect"
    if corners + polygons > boxes:
        task = "obb" if _oriented(seen) else "segment"
    return Basis(TaskBasis.ROWS, task, numbers)


def settled(options: LintOptions, found: Basis) -> tuple[LintOptions, Basis]:
    """The options with a task, the one that is asked or the guess; and why it is this one."""
    if options.task is None:
        return replace(options, task=found.guess), found
    return options, replace(found, kind=TaskBasis.ASKED)
