"""TX: label files as text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.clues import UNREAD, Clue, met
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.causes import Explains
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.keypoints import BOX_COLUMNS, other_width
from yolo_nanfix.linting.rules.row_hits import VEILED, bad_hits, file_hit, row_hits

BOXES = ("detect", "segment", "obb")
SIX = "6"
BYTE_ORDER_MARK = "\ufeff"
_ABOUT_BOXES = (
    *("BX001", "BX002", "BX004", "BX005", "BX006", "BX008", "BX009", "BX012", "BX013", "BX014", "BX015", "BX016"),
    *("BX019", "BX020", "BX021"),
)
"""What is found besides where a confidence and a number are taken for a corner."""


@rule("TX001", "label-unreadable", Severity.ERROR, Effect.DROPS)
def label_unreadable(labels: Labels, images: Images) -> Iterator[Hit]:
    """The label file is not UTF-8 text.

    Why: the whole image is missing from training.
    Ultralytics: drops the image with one line in the log ("'utf-8' codec can't decode").
    Example: labels saved by an editor as UTF-16.
    Fix: save the file as UTF-8.
    """
    for bad in labels.bad:
        if bad.kind == "unreadable":
            utf16 = any(f"byte {mark} in position 0" in bad.text for mark in ("0xff", "0xfe"))
            what = "is UTF-16 text, not UTF-8" if utf16 else f"cannot be read as UTF-8 text ({bad.text})"
            yield file_hit(labels, images, bad.file, what, bad.line)


@rule("TX002", "not-a-number", Severity.ERROR, Effect.DROPS)
def not_a_number(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A row holds something that is not a number.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image with one line in the log, without the line number.
    Example: `0 0.5 0.5 0.2 n/a`.
    Fix: write class numbers and coordinates as numbers.
    """
    names = _names(config)

    def plain(text: str) -> bool:
        return not (_has_nul(text) or _has_mark(text) or _is_markup(text) or text in names)

    yield from bad_hits(labels, images, "number", "{text!r} is not a number", plain)


@rule("TX003", "comma-separated", Severity.ERROR, Effect.DROPS)
def comma_separated(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row is separated by commas or semicolons, or has decimal commas.

    Why: one such row takes the whole image out of training.
    Ultralytics: splits at blanks only, and drops the image.
    Example: `0,0.5,0.5,0.2,0.2` or `0 0,5 0,5 0,2 0,2`.
    Fix: separate the numbers by blanks and use decimal points.
    """
    blanks = "numbers are separated by blanks"
    yield from bad_hits(labels, images, "comma", f"{{text!r}} has semicolons; {blanks}", lambda text: ";" in text)
    yield from bad_hits(labels, images, "comma", f"{{text!r}} has commas; {blanks}", lambda text: ";" not in text)


@rule("TX004", "comment-in-label", Severity.ERROR, Effect.DROPS)
def comment_in_label(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row holds a comment.

    Why: label files have no comments; one takes the whole image out of training.
    Ultralytics: drops the image with one line in the log.
    Example: `# checked by Ann`.
    Fix: remove the comment.
    """
    yield from bad_hits(labels, images, "comment", "{text!r} holds a comment")


@rule("TX005", "column-count", Severity.ERROR, Effect.DROPS)
def column_count(labels: Labels, images: Images, config: DataConfig, task: str) -> Iterator[Hit]:
    """A row has a number of columns that no label format has.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image with one line in the log, without the line number.
    Example: `0 0.5 0.5 0.2`.
    Fix: write class x y width height; for polygons class and pairs of x y; for pose all keypoints. Predictions are
        written without `save_conf`, and by `predict` rather than `track`.
    """
    wanted = "5 columns, or 1 and pairs of x y from 3 points on"
    if task == "pose" and config.kpt_shape:
        wanted = f"{5 + config.kpt_shape[0] * config.kpt_shape[1]} columns"
    named = {SIX}
    if task == "pose" and config.kpt_shape:
        named |= {str(BOX_COLUMNS), str(other_width(config.kpt_shape))}
    for bad in labels.bad:
        if bad.kind == "columns" and bad.text not in named:
            message = f"{bad.text} columns; {task} labels have {wanted}{_behind(int(bad.text), config, task)}"
            yield file_hit(labels, images, bad.file, message, bad.line)


def _behind(width: int, config: DataConfig, task: str) -> str:
    """What one column too many looks like: predictions are saved with more behind a row (8: behind a triangle)."""
    whole = 5 + config.kpt_shape[0] * config.kpt_shape[1] if config.kpt_shape else 0
    more = width - whole if task == "pose" and whole else int(width % 2 == 0 and width >= 8)
    return "; a confidence or a track's number behind the row?" if more in (1, 2) else ""


@rule("TX006", "boxes-among-polygons", Severity.ERROR, Effect.DROPS, BOXES)
def boxes_among_polygons(labels: Labels, images: Images) -> Iterator[Hit]:
    """A file mixes boxes and polygons.

    Why: the whole image is missing from training.
    Ultralytics: drops the image ("labels mix segment and detection rows").
    Example: one row of 5 columns, a box or a polygon of two points, among rows of 9.
    Fix: write all objects of the file as boxes, or all as polygons.
    """
    yield from bad_hits(labels, images, "mixed", "boxes (or polygons of two points) among polygons in one file: {text}")


@rule("TX007", "row-of-seven", Severity.ERROR, Effect.DROPS, ("detect",))
def row_of_seven(table: Table) -> Iterator[Hit]:
    """All rows of a file have seven columns, as trackers write them: class, box, confidence, number of the track.

    Why: more than six columns are read as a polygon: confidence and track number become a corner.
    Ultralytics: drops the image if a track number is above 1; else it trains on the box around the three "points".
    Example: `0 0.5 0.5 0.2 0.2 0.93 12`.
    Fix: cut the rows to class x y width height.
    """
    message = "rows of 7 columns, as trackers write them, are read as polygons of 3 points"
    told: set[str] = set()
    chosen = np.flatnonzero(tracked(table))
    for image in chosen.tolist():
        split = table.split_of(image)
        hit = Hit(table.labels[image], message, 1, split=split, image=table.files[image])
        if split not in told:  # one a split says what follows
            told.add(split)
            files = (table.labels[i] for i in chosen[table.split[chosen] == table.split[image]].tolist())
            hit = hit._replace(explains=Explains(_ABOUT_BOXES, frozenset(files)))
        yield hit


def tracked(table: Table) -> NDArray[np.bool_]:
    """(N,) bool, the images all of whose rows are those of a tracker."""
    tracked = table.clues[:, Clue.TRACKED]
    sure = table.clues[:, Clue.NUMBER_OVER_ONE] > 0
    if not table.clues[:, Clue.CORNERS].any():
        sure[:] = True  # where the set has polygons as well, 0 and 1 may be coordinates of a triangle
    return np.asarray((tracked > 0) & (tracked == table.lines) & sure)


@rule("TX008", "polygons-for-detect", Severity.INFO, Effect.ACCEPTS, ("detect",))
def polygons_for_detect(table: Table) -> Iterator[Hit]:
    """Label files hold polygons, and the task is detect.

    Why: fine if the set is made for segmentation; worth knowing if you expected boxes.
    Ultralytics: trains on the boxes around the polygons.
    Example: COCO segmentation labels used with a detection model.
    Fix: nothing; use the task segment to train on the shapes.
    """
    polygons = np.flatnonzero(table.polygons & ~tracked(table))
    if len(polygons):
        first = int(polygons[0])
        message = f"{len(polygons)} of {table.labelled.sum()} label files hold polygons; their boxes are trained on"
        yield Hit(table.labels[first], message, split=table.split_of(first))


@rule("TX009", "boxes-for-segment", Severity.FATAL, Effect.CRASHES, ("segment", "obb"))
def boxes_for_segment(labels: Labels, images: Images) -> Iterator[Hit]:
    """A file holds plain boxes, and the task needs polygons.

    Why: a single such file among thousands stops training at start.
    Ultralytics: raises ValueError ("requires equal numbers of boxes and segments") without naming the file.
    Example: one file of 5-column rows in a segmentation set.
    Fix: write the objects as polygons (for obb: four corners), or train the task detect.
    """
    boxes = np.bincount(labels.file, minlength=len(labels.files))
    for index, file in enumerate(labels.files):
        if boxes[index] and not file.polygons:
            yield file_hit(labels, images, index, "holds boxes of 5 columns where polygons are needed")


@rule("TX010", "label-nan", Severity.ERROR, Effect.DROPS)
def label_nan(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row holds NaN.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image, and its message shows an empty list.
    Example: `0 nan 0.5 0.2 0.2`.
    Fix: correct the row or remove it.
    """
    yield from row_hits(labels, images, np.isnan(labels.extra), lambda row: "the row holds nan")


@rule("TX011", "label-infinite", Severity.ERROR, Effect.DROPS)
def label_infinite(labels: Labels, images: Images, task: str) -> Iterator[Hit]:
    """A row holds an infinite number.

    Why: one such row takes the whole image out of training; often a converter took the image size as 0.
    Ultralytics: drops the image with one line in the log.
    Example: `0 inf 0.5 0.2 0.2`, or 1e400, which no float holds.
    Fix: convert the annotation again with the right image size.
    """
    mask = np.isinf(labels.extra)
    if task == "pose":  # there only the class, x and y of keypoints, and what is negative are looked at
        mask = np.isinf(labels.cls) | np.isneginf(labels.box).any(axis=1)
    yield from row_hits(labels, images, mask, lambda row: f"the row holds {labels.extra[row]}")


@rule("TX012", "number-odd-spelling", Severity.WARNING, Effect.ACCEPTS)
def number_odd_spelling(labels: Labels, images: Images) -> Iterator[Hit]:
    """A number is spelt with underscores or with digits outside ASCII.

    Why: it is read as a number that you may not have meant: 0.5_1 is 0.51.
    Ultralytics: reads it as Python does.
    Example: `0 0.5_1 0.5 0.2 0.2`.
    Fix: write the number with plain digits.
    """
    for odd in labels.odd:
        read = f"is read as {float(odd.text):.6g}"
        message = f"{odd.text!r} {f'is an odd spelling{VEILED}' if odd.veiled else read}"
        yield file_hit(labels, images, odd.file, message, odd.line)


@rule("TX013", "row-of-six", Severity.ERROR, Effect.DROPS)
def row_of_six(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row has six columns: a confidence or an angle behind the box.

    Why: predictions saved with `save_conf`, or boxes with an angle; the whole image is missing from training.
    Ultralytics: drops the image ("labels require 5 columns, 6 columns detected").
    Example: `0 0.5 0.5 0.2 0.2 0.93`.
    Fix: cut the confidence off; write boxes with an angle as four corners for the task obb.
    """
    yield from bad_hits(
        labels,
        images,
        "columns",
        "6 columns: a confidence, a track's number or an angle behind the box?",
        lambda text: text == SIX,
    )


@rule("TX014", "class-name-for-number", Severity.ERROR, Effect.DROPS)
def class_name_for_number(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A row holds the name of a class where its number belongs.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("could not convert string to float: 'cat'").
    Example: `cat 0.5 0.5 0.2 0.2`.
    Fix: write the class number, counted from 0 in the order of `names`.
    """
    names = _names(config)
    yield from bad_hits(
        labels, images, "number", "{text!r} is the name of a class; its number belongs here", lambda text: text in names
    )


@rule("TX015", "label-nul-bytes", Severity.ERROR, Effect.DROPS)
def label_nul_bytes(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row holds NUL bytes.

    Why: the file was cut short when a disk was full or a machine crashed, or is UTF-16 without a mark.
    Ultralytics: drops the image with one line in the log.
    Example: a file of the right size that holds nothing but zeros.
    Fix: restore the file from a copy, or convert the annotation again.
    """
    yield from bad_hits(labels, images, "number", "{text!r} holds NUL bytes", _has_nul)


@rule("TX016", "byte-order-mark-inside", Severity.ERROR, Effect.DROPS)
def byte_order_mark_inside(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row begins with a byte order mark that cannot be seen.

    Why: files with such a mark were joined; the row looks right in every editor, and the image is missing.
    Ultralytics: takes the mark at the start of a file, and drops the image for one further down.
    Example: `copy a.txt + b.txt` on Windows.
    Fix: remove the mark: U+FEFF.
    """
    yield from bad_hits(labels, images, "number", "{text!r} begins with a byte order mark", _has_mark)


@rule("TX017", "label-markup", Severity.ERROR, Effect.DROPS)
def label_markup(labels: Labels, images: Images) -> Iterator[Hit]:
    """A label file holds XML, HTML or JSON.

    Why: annotations that were never converted, or the error page of a download; the image is missing from training.
    Ultralytics: drops the image with one line in the log.
    Example: a Pascal VOC file renamed to .txt.
    Fix: convert the annotations to YOLO rows, or download the labels again.
    """
    seen: set[int] = set()
    for bad in labels.bad:
        if bad.kind == "number" and _is_markup(bad.text) and bad.file not in seen:
            seen.add(bad.file)
            message = f"{bad.text[:60]!r} is XML, HTML or JSON, not a label{VEILED * bad.veiled}"
            yield file_hit(labels, images, bad.file, message, bad.line)


@rule("TX023", "instance-id-column", Severity.ERROR, Effect.DROPS, LABELLED)
def instance_id_column(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """All rows have one column too many: a whole number beside the class, of an instance or of a track.

    Why: not one image with objects is left to train on.
    Ultralytics: drops each image with one line in the log; where none is left training does not start.
    Example: `0 1907 0.1 0.1 0.5 0.1 0.3 0.4`: class, instance, corners.
    Fix: take the column that is not the class out of all rows.
    """
    columns = 5 + config.kpt_shape[0] * config.kpt_shape[1] if config.kpt_shape else 0
    for split, count, rows in met(table, Clue.NUMBERED):
        column = _number_column(table, split)
        which = ("the first column", "the second column", "the first or the second column")[column]
        message = (
            f"{which} of {count} of {rows} rows is a whole number, one column too many for {task}: the id of an "
            "instance or of a track, beside the class?"
        )
        splits = tuple(table.splits) if split is None else (split,)
        values = {"splits": splits, "columns": columns, "column": column, "rows": count}
        yield Hit(str(config.yaml_file), message, split=split, values=values, explains=Explains(UNREAD))


def _number_column(table: Table, split: str | None) -> int:
    """Which of the first two columns is no class, 0 or 1; 2 where the numbers do not tell."""
    images = slice(None) if split is None else table.members[split]
    first, second = (bool(table.clues[images, clue].any()) for clue in (Clue.FIRST_OVER, Clue.SECOND_OVER))
    return 2 if first == second else int(second)


def _names(config: DataConfig) -> frozenset[str]:
    """The class names, and the single words of them, that are no numbers."""
    words = {word for name in config.names.values() for word in (name, *name.split())}
    return frozenset(word for word in words if word)


def _has_nul(text: str) -> bool:
    return "\0" in text


def _has_mark(text: str) -> bool:
    return not _has_nul(text) and text.startswith(BYTE_ORDER_MARK)


def _is_markup(text: str) -> bool:
    return text[0] in "<{["
