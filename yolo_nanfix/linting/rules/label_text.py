"""TX: label files as text: what cannot be read, and columns of other formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.bounded import LABEL_BYTES, LABEL_ROWS, LINE_BYTES, NUMBERS
from yolo_nanfix.dataset.clues import LEAST_OF_SET, SHARE_OF_SET, UNREAD, Clue, met
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.label_boxes import once
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.autofix.operations import Operation, safe, unsafe
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.boxes import NOT_POSE
from yolo_nanfix.linting.rules.keypoints import BOX_COLUMNS, other_width
from yolo_nanfix.linting.rules.row_hits import MASKED, bad_hits, file_hit, plain_facts, row_hits

SIX = 6
BYTE_ORDER_MARK = "\ufeff"
_ABOUT_BOXES = (
    *("BX001", "BX002", "BX004", "BX005", "BX006", "BX008", "BX009", "BX012", "BX013", "BX014", "BX015", "BX016"),
    *("BX019", "BX020", "BX021"),
)
"""What else is found where a confidence and a track number are read as a corner."""
MANY_BEHIND = 0.5
"""This share of rows with a track number is enough, if no row has another number of columns for another reason: a
tracker writes none where it has no track."""
OVER = 0.25
"""At least this share of the track numbers must be above 1, so no coordinates: the first two tracks are not."""
AHEAD = 0.5
"""If more than this share of the outlines jump at their first corner, not at their end, nothing is cut."""
_EXPLAINED = (
    *UNREAD,
    *_ABOUT_BOXES,
    *("SG001", "SG002", "SG003", "SG004", "SG005", "SG006", "SG007", "SG009", "SG010"),
    *("SG011", "SG012", "SG013", "SG014", "OB001", "OB002", "OB003", "OB004", "OB005", "OB006", "OB007", "OB009"),
)
"""What else is found where rows cannot be read, or a confidence and a track number are read as a corner."""


@rule("TX001", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.RECODE))
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
            says = "{utf16:is UTF-16 text, not UTF-8|cannot be read as UTF-8 text}{error:=| (#)}"
            values = {"utf16": utf16, "error": "" if utf16 else bad.text}
            yield file_hit(labels, images, bad.file, says, bad.line, values)


@rule("TX002", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.DROP))
def not_a_number(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A row holds something that is not a number.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image with one line in the log, without the line number.
    Example: `0 0.5 0.5 0.2 n/a`.
    Fix: write class numbers and coordinates as numbers.
    """
    names = _class_words(config)

    def plain(text: str) -> bool:
        return not (_has_nul(text) or _has_mark(text) or _is_markup(text) or text in names)

    yield from bad_hits(labels, images, "number", "{text!r} is not a number", plain)


@rule("TX003", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.COMMAS))
def comma_separated(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row is separated by commas or semicolons, or has decimal commas.

    Why: one such row takes the whole image out of training.
    Ultralytics: splits at spaces only, and drops the image.
    Example: `0,0.5,0.5,0.2,0.2` or `0 0,5 0,5 0,2 0,2`.
    Fix: separate the numbers by spaces and use decimal points.
    """
    says = "{text!r} has semicolons; numbers are separated by spaces"
    yield from bad_hits(labels, images, "comma", says, lambda text: ";" in text)
    says = "{text!r} has commas; numbers are separated by spaces"
    yield from bad_hits(labels, images, "comma", says, lambda text: ";" not in text)


@rule("TX004", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.COMMENT))
def comment_in_label(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row holds a comment.

    Why: label files cannot hold comments; one takes the whole image out of training.
    Ultralytics: drops the image with one line in the log.
    Example: `# checked by Ann`.
    Fix: remove the comment.
    """
    yield from bad_hits(labels, images, "comment", "{text!r} holds a comment")


@rule("TX005", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.DROP))
def column_count(labels: Labels, images: Images, config: DataConfig, task: str) -> Iterator[Hit]:
    """A row has a number of columns that no label format has.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image with one line in the log, without the line number.
    Example: `0 0.5 0.5 0.2`.
    Fix: write class x y width height; for polygons class and pairs of x y; for pose all keypoints. Predictions are
        written without `save_conf`, and by `predict` rather than `track`.
    """
    named, pose = {SIX}, config.pose_columns if task == "pose" else 0
    if pose and config.kpt_shape:
        named |= {BOX_COLUMNS, other_width(config.kpt_shape)}
    says = (
        "{columns} columns; {task} labels have {wanted:0=5 columns, or 1 and pairs of x y from 3 points on|# columns}"
        "{predicted:; a confidence or a track number at the end of the row?|}"
    )
    for bad in labels.bad:
        if bad.kind == "columns" and bad.number not in named:
            width = bad.number  # at least 8: a triangle and a confidence
            predicted = width - pose in (1, 2) if pose else width % 2 == 0 and width >= 8
            values = {"columns": width, "task": task, "wanted": pose, "predicted": predicted}
            yield file_hit(labels, images, bad.file, says, bad.line, values)


@rule("TX006", Severity.ERROR, Effect.DROPS, NOT_POSE)
def boxes_among_polygons(labels: Labels, images: Images) -> Iterator[Hit]:
    """A file mixes boxes and polygons.

    Why: the whole image is missing from training.
    Ultralytics: drops the image ("labels mix segment and detection rows").
    Example: one row of 5 columns, a box or a polygon of two points, among rows of 9.
    Fix: write all objects of the file as boxes, or all as polygons.
    """
    yield from bad_hits(
        labels, images, "mixed", "boxes (or polygons of two points) among polygons in one file: {count} of {of} rows"
    )


@rule("TX007", Severity.ERROR, Effect.DROPS, ("detect",), autofix=unsafe(Operation.SEVEN))
def row_of_seven(table: Table) -> Iterator[Hit]:
    """All rows of a file have seven columns, as trackers write them: class, box, confidence, number of the track.

    Why: more than six columns are read as a polygon: confidence and track number become a corner.
    Ultralytics: drops the image if a track number is above 1; else it trains on the box around the three "points".
    Example: `0 0.5 0.5 0.2 0.2 0.93 12`.
    Fix: cut the rows to class x y width height.
    """
    says = "rows of 7 columns, as trackers write them, are read as polygons of 3 points"
    explained: set[str] = set()
    chosen = np.flatnonzero(tracked(table))
    for image in chosen.tolist():
        split = table.split_of(image)
        hit = Hit(table.labels[image], says, 1, split=split, image=table.files[image])
        if split not in explained:  # one of each split explains what follows
            explained.add(split)
            files = (table.labels[i] for i in chosen[table.split[chosen] == table.split[image]].tolist())
            hit = hit._replace(explains=_ABOUT_BOXES, explains_in=frozenset(files))
        yield hit


def tracked(table: Table) -> NDArray[np.bool_]:
    """(N,) bool, the images whose rows are all those of a tracker."""
    tracked = table.clues[:, Clue.TRACKED]
    sure = table.clues[:, Clue.NUMBER_OVER_ONE] > 0
    if not table.clues[:, Clue.CORNERS].any():
        sure[:] = True  # if the set has polygons, too, 0 and 1 may be coordinates of a triangle
    return np.asarray((tracked > 0) & (tracked == table.lines) & sure)


@rule("TX008", Severity.INFO, Effect.ACCEPTS, ("detect",))
def polygons_for_detect(table: Table) -> Iterator[Hit]:
    """Label files hold polygons, and the task is detect.

    Why: fine for a segmentation set; worth knowing if you expected boxes.
    Ultralytics: trains on the boxes around the polygons.
    Example: COCO segmentation labels used with a detection model.
    Fix: nothing; use the task segment to train on the shapes.
    """
    polygons = np.flatnonzero(table.polygons & ~tracked(table))
    if len(polygons):
        first = int(polygons[0])
        says = "{files} of {of} label files hold polygons; their boxes are trained on"
        values = {"files": len(polygons), "of": int(table.labelled.sum())}
        yield Hit(table.labels[first], says, split=table.split_of(first), values=values)


@rule("TX009", Severity.FATAL, Effect.CRASHES, ("segment", "obb"))
def boxes_for_segment(labels: Labels, images: Images) -> Iterator[Hit]:
    """A file holds plain boxes, and the task needs polygons.

    Why: a single such file among thousands stops training at start.
    Ultralytics: raises ValueError ("requires equal numbers of boxes and segments") without naming the file.
    Example: one file of 5-column rows in a segmentation set.
    Fix: write the objects as polygons (for obb: four corners), or train the task detect.
    """
    boxes = np.bincount(labels.file, minlength=len(labels.paths))
    for file in np.flatnonzero((boxes > 0) & ~labels.polygons).tolist():
        yield file_hit(labels, images, file, "holds boxes of 5 columns where polygons are needed")


@rule("TX010", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.DROP))
def label_nan(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row holds NaN.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image, and its message shows an empty list.
    Example: `0 nan 0.5 0.2 0.2`.
    Fix: correct the row or remove it.
    """
    yield from row_hits(labels, images, np.flatnonzero(np.isnan(labels.extra)), "the row holds nan")


@rule("TX011", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.DROP))
def label_infinite(labels: Labels, images: Images, task: str) -> Iterator[Hit]:
    """A row holds an infinite number.

    Why: one such row takes the whole image out of training; often a converter took the image size as 0.
    Ultralytics: drops the image with one line in the log.
    Example: `0 inf 0.5 0.2 0.2`, or 1e400, which no float holds.
    Fix: convert the annotation again with the right image size.
    """
    mask = np.isinf(labels.extra)
    if task == "pose":  # Ultralytics checks only the class, x and y of keypoints, and negative numbers
        mask = np.isinf(labels.cls) | np.isneginf(labels.box).any(axis=1)
    rows = np.flatnonzero(mask)
    yield from row_hits(labels, images, rows, "the row holds {number}", number=labels.extra[rows])


@rule("TX012", Severity.WARNING, Effect.ACCEPTS, autofix=unsafe(Operation.SPELLING))
def number_odd_spelling(labels: Labels, images: Images) -> Iterator[Hit]:
    """A number is spelt with underscores or with digits outside ASCII.

    Why: it is read as a number that you may not have meant: 0.5_1 is 0.51.
    Ultralytics: reads it as Python does.
    Example: `0 0.5_1 0.5 0.2 0.2`.
    Fix: write the number with plain digits.
    """
    for bad in (bad for bad in labels.bad if bad.kind == "spelling"):
        says = "{text!r} is an unusual spelling" + MASKED if bad.masked else "{text!r} is read as {number}"
        number = None if bad.masked else plain_facts(np.array([float(bad.text)]))[0]
        yield file_hit(labels, images, bad.file, says, bad.line, {"text": bad.text, "number": number})


@rule("TX013", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.COLUMNS))
def row_of_six(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row has six columns: a confidence or an angle after the box.

    Why: predictions saved with `save_conf`, or boxes with an angle; the whole image is missing from training.
    Ultralytics: drops the image ("labels require 5 columns, 6 columns detected").
    Example: `0 0.5 0.5 0.2 0.2 0.93`.
    Fix: cut the confidence off; write boxes with an angle as four corners for the task obb.
    """
    says = "{columns} columns: a confidence, a track number or an angle after the box?"
    yield from bad_hits(labels, images, "columns", says, number=SIX, name="columns")


@rule("TX014", Severity.ERROR, Effect.DROPS)
def class_name_for_number(labels: Labels, images: Images, config: DataConfig) -> Iterator[Hit]:
    """A row holds the name of a class where its number belongs.

    Why: one such row takes the whole image out of training.
    Ultralytics: drops the image ("could not convert string to float: 'cat'").
    Example: `cat 0.5 0.5 0.2 0.2`.
    Fix: write the class number, counted from 0 in the order of `names`.
    """
    says = "{text!r} is the name of a class; its number belongs here"
    yield from bad_hits(labels, images, "number", says, _class_words(config).__contains__)


@rule("TX015", Severity.ERROR, Effect.DROPS, autofix=unsafe(Operation.DROP))
def label_nul_bytes(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row holds NUL bytes.

    Why: the file was cut short when a disk was full or a machine crashed, or it is UTF-16 without a mark.
    Ultralytics: drops the image with one line in the log.
    Example: a file of the right size that holds nothing but zeros.
    Fix: restore the file from a copy, or convert the annotation again.
    """
    yield from bad_hits(labels, images, "number", "{text!r} holds NUL bytes", _has_nul)


@rule("TX016", Severity.ERROR, Effect.DROPS, autofix=safe(Operation.MARK))
def byte_order_mark_inside(labels: Labels, images: Images) -> Iterator[Hit]:
    """A row begins with an invisible byte order mark.

    Why: files with such a mark were joined; the row looks right in every editor, but the image is dropped.
    Ultralytics: accepts the mark at the start of a file, and drops the image for one further down.
    Example: `copy a.txt + b.txt` on Windows.
    Fix: remove the mark: U+FEFF.
    """
    yield from bad_hits(labels, images, "number", "{text!r} begins with a byte order mark", _has_mark)


@rule("TX017", Severity.ERROR, Effect.DROPS)
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
            says = "{text!r} is XML, HTML or JSON, not a label" + (MASKED if bad.masked else "")
            yield file_hit(labels, images, bad.file, says, bad.line, {"text": bad.text[:60]})


@rule("TX023", Severity.ERROR, Effect.DROPS, LABELLED, autofix=unsafe(Operation.WITHOUT_NUMBER))
def instance_id_column(table: Table, config: DataConfig, task: str) -> Iterator[Hit]:
    """All rows have one column too many: a whole number beside the class, the id of an instance or of a track.

    Why: no image with objects remains to train on.
    Ultralytics: drops each image with one line in the log; where none remains, training does not start.
    Example: `0 1907 0.1 0.1 0.5 0.1 0.3 0.4`: class, instance, corners.
    Fix: remove the column that is not the class from all rows.
    """
    for split, count, rows in met(table, Clue.NUMBERED):
        clues = table.clues[table.images_in(split)]
        first, second = bool(clues[:, Clue.FIRST_OVER].any()), bool(clues[:, Clue.SECOND_OVER].any())
        says = (
            "the {column:0=first column|1=second column|first or the second column} of {rows} of {of} rows is a whole "
            "number, one column too many for {task}: the id of an instance or of a track, beside the class?"
        )
        values = {"splits": table.splits_in(split), "columns": config.pose_columns, "rows": count, "of": rows}
        values |= {"column": 2 if first == second else int(second), "task": task}  # 2: the numbers do not tell
        yield Hit(str(config.yaml_file), says, split=split, values=values, explains=UNREAD)


@rule("TX027", Severity.ERROR, Effect.DROPS, ("segment", "obb", "pose"), autofix=unsafe(Operation.WITHOUT_BEHIND))
def prediction_columns(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Rows are predictions with more columns at their end: a confidence, a track number, or both.

    Why: the images are missing from training, or trained on with a corner at (confidence, number).
    Ultralytics: drops images with rows of one column too many, or with a number above 1; two more columns after an
        outline or an oriented box are read as a corner.
    Example: `0 0.1 0.1 0.5 0.1 0.3 0.4 0.93`, as `save_txt` writes it with `save_conf`.
    Fix: cut these columns off; save predictions without `save_conf`, and by `predict` rather than `track`.
    """
    for split, (one, two, rows, ahead) in behind(table).items():
        if one and two:
            says = (
                "{rows} of {of} rows end with a confidence, {tracks} of them with a track number, too, as "
                "predictions are saved with `save_conf` or by `track`"
            )
        elif two:
            says = (
                "{rows} of {of} rows end with a confidence and a track number, as predictions are saved with "
                "`save_conf` or by `track`"
            )
        elif ahead:
            says = (
                "{rows} of {of} rows have a column too many: a confidence, beside the class or after the outline, as "
                "predictions are saved with `save_conf` or by `track`"
            )
        else:
            says = (
                "{rows} of {of} rows end with a column too many: a confidence or a track number, as predictions are "
                "saved with `save_conf` or by `track`"
            )
        values = {"splits": table.splits_in(split), "columns": config.pose_columns, "two": bool(two), "ahead": ahead}
        values |= {"rows": one + two, "of": rows, "tracks": two}
        yield Hit(str(config.yaml_file), says, split=split, values=values, explains=_EXPLAINED)


@rule("TX018", Severity.INFO, Effect.ACCEPTS, autofix=safe(Operation.BOM))
def byte_order_mark(labels: Labels, images: Images) -> Iterator[Hit]:
    """The label file begins with a byte order mark.

    Why: other tools take the mark for a part of the first class number; in joined files it is inside the text.
    Ultralytics: skips the mark.
    Example: a label file saved by Notepad as "UTF-8 with BOM".
    Fix: save the file as UTF-8 without the mark.
    """
    yield from bad_hits(labels, images, "mark", "begins with a byte order mark")


@rule("TX019", Severity.INFO, Effect.ACCEPTS, autofix=safe(Operation.LINE_ENDS))
def line_ends_mixed(labels: Labels, images: Images) -> Iterator[Hit]:
    """The lines of the label file end in different ways, or in bare carriage returns.

    Why: a tool that knows only line feeds reads rows with bare carriage returns as one; mixed ends hint at a merge.
    Ultralytics: takes each of them as the end of a row.
    Example: rows of a Windows and of a Linux tool in one file.
    Fix: end all lines with a line feed.
    """
    yield from bad_hits(
        labels,
        images,
        "ends",
        "the lines end in different ways: {count:0=CR LF and LF are mixed|# bare carriage returns}",
    )


@rule("TX030", Severity.FATAL, Effect.ACCEPTS)
def label_file_too_large(labels: Labels, images: Images) -> Iterator[Hit]:
    """The label file has more than 64 MB.

    Why: no image has so many objects: something else was written, or one file over and over. Lint does not read it.
    Ultralytics: reads it whole into memory, which takes many times its size, once for each process that caches labels.
    Example: a converter that appends all labels of the set to one file.
    Fix: write the labels of this image again.
    """
    says = "{bytes} bytes, more than the {limit} MB of a label file that are read; what it holds was not looked at"
    yield from bad_hits(labels, images, "large", says, name="bytes", limit=LABEL_BYTES >> 20)


@rule("TX031", Severity.FATAL, Effect.ACCEPTS)
def label_rows_too_many(labels: Labels, images: Images) -> Iterator[Hit]:
    """The label file has more than 100 000 lines, or 5 million numbers.

    Why: the fullest images, crowds and stars, have some ten thousand objects. In training each row is compared with
        each cell of the image, for every image of the batch: 100 000 rows at 640 px take 3 GB for each number that is
        stored of such a pair. Lint does not read the file.
    Ultralytics: reads all of them, and runs out of memory in the first batch with the image.
    Example: a converter that appends all labels of the set to one file.
    Fix: write the labels of this image again.
    """
    says = "{rows} lines, more than the {limit} of a label file that are read; what it holds was not looked at"
    yield from bad_hits(labels, images, "many", says, name="rows", limit=LABEL_ROWS)
    says = "{numbers} numbers, more than the {limit} of a label file that are read; what it holds was not looked at"
    yield from bad_hits(labels, images, "numbers", says, name="numbers", limit=NUMBERS)


@rule("TX032", Severity.FATAL, Effect.ACCEPTS)
def label_line_too_long(labels: Labels, images: Images) -> Iterator[Hit]:
    """A line of the label file has more than 1 MB.

    Why: nobody draws an outline of so many points; mostly line ends are missing, and all rows are one. Lint does not
        read the file.
    Ultralytics: reads it as one row: a box around all of its points, or the image is dropped.
    Example: rows that were joined with spaces instead of line ends.
    Fix: write the labels of this image again, one object a line.
    """
    says = "a line of {bytes} bytes, more than the {limit} MB of a line that are read; what it holds was not looked at"
    yield from bad_hits(labels, images, "long", says, name="bytes", limit=LINE_BYTES >> 20)


class Behind(NamedTuple):
    """How many rows of a set, or of a split, have columns too many.

    Attributes:
        one: rows with one column too many.
        two: rows with a confidence and a track number.
        rows: all rows.
        ahead: whether most rows with one column too many have it beside the class, not at their end.
    """

    one: int
    two: int
    rows: int
    ahead: bool


@once
def behind(table: Table) -> Mapping[str | None, Behind]:
    """The columns too many of the set (None), or else of single splits; empty if there are none."""
    parts: dict[str | None, Behind] = {}
    parts |= {split: found for split in table.splits if (found := _of(table, split)) is not None}
    whole = _of(table, None)
    if whole is None:
        return parts
    extra = sum(part.one + part.two for part in parts.values())
    of_some = len(parts) < len(table.splits) and extra == whole.one + whole.two < whole.rows
    return parts if of_some else {None: whole}


def _of(table: Table, split: str | None) -> Behind | None:
    """The columns too many of a split, or of the set (None); None if there are none."""
    images = table.images_in(split)
    counts, rows = table.clues[images].sum(axis=0), int(table.lines[images].sum())
    one, two, over = (int(counts[clue]) for clue in (Clue.ONE_BEHIND, Clue.TWO_BEHIND, Clue.TWO_OVER_ONE))
    ahead = counts[Clue.ONE_AHEAD] > AHEAD * one
    misfits, numbered = int(counts[Clue.MISFIT]), int(counts[Clue.NUMBERED])
    if one + two < LEAST_OF_SET or (numbered >= LEAST_OF_SET and numbered >= SHARE_OF_SET * rows):
        return None
    if over and over >= OVER * two and one + two >= SHARE_OF_SET * rows:
        return Behind(one, two, rows, bool(ahead and not two))
    return (
        Behind(one, 0, rows, bool(ahead))
        if one >= max(LEAST_OF_SET, MANY_BEHIND * rows, SHARE_OF_SET * misfits)
        else None
    )


def _class_words(config: DataConfig) -> frozenset[str]:
    """The class names and their single words, without empty ones."""
    return frozenset(word for name in config.names.values() for word in (name, *name.split()) if word)


def _has_nul(text: str) -> bool:
    return "\0" in text


def _has_mark(text: str) -> bool:
    return not _has_nul(text) and text.startswith(BYTE_ORDER_MARK)


def _is_markup(text: str) -> bool:
    return text[0] in "<{["
