"""TX030 to TX032: label files that are not read, because of their size."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_nanfix.dataset.bounded import LABEL_BYTES, LINE_BYTES, NUMBERS, ROWS
from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.row_hits import bad_hits

_UNREAD = "what it holds was not looked at"


@rule("TX030", "label-file-too-large", Severity.FATAL, Effect.ACCEPTS)
def label_file_too_large(labels: Labels, images: Images) -> Iterator[Hit]:
    """The label file has more than 64 MB.

    Why: no image has so many objects: something else was written there, or one file over and over. Lint does not read
        it.
    Ultralytics: reads it whole into memory, which takes many times its size, once for each process that caches labels.
    Example: a converter that appends all labels of the set to one file.
    Fix: write the labels of this image anew.
    """
    message = f"{{text}} bytes, more than the {LABEL_BYTES >> 20} MB of a label file that are read; {_UNREAD}"
    yield from bad_hits(labels, images, "large", message)


@rule("TX031", "label-rows-too-many", Severity.FATAL, Effect.ACCEPTS)
def label_rows_too_many(labels: Labels, images: Images) -> Iterator[Hit]:
    """The label file has more than 100 000 lines, or 5 million numbers.

    Why: the fullest images, crowds and stars, have some ten thousand objects. In training each row is held against
        each cell of the image, for every image of the batch: 100 000 rows at 640 px take 3 GB for each number that is
        kept of such a pair. Lint does not read the file.
    Ultralytics: takes them all, and runs out of memory in the first batch that the image is in.
    Example: a converter that appends all labels of the set to one file.
    Fix: write the labels of this image anew.
    """
    message = f"{{text}} lines, more than the {ROWS} of a label file that are read; {_UNREAD}"
    yield from bad_hits(labels, images, "many", message)
    message = f"{{text}} numbers, more than the {NUMBERS} of a label file that are read; {_UNREAD}"
    yield from bad_hits(labels, images, "numbers", message)


@rule("TX032", "label-line-too-long", Severity.FATAL, Effect.ACCEPTS)
def label_line_too_long(labels: Labels, images: Images) -> Iterator[Hit]:
    """A line of the label file has more than 1 MB.

    Why: an outline of so many points is none that was drawn; mostly line ends are missing, and all rows are one. Lint
        does not read the file.
    Ultralytics: reads it as one row: a box around all of its points, or the image is dropped.
    Example: rows that were joined with blanks in the place of line ends.
    Fix: write the labels of this image anew, one object a line.
    """
    message = f"a line of {{text}} bytes, more than the {LINE_BYTES >> 20} MB of a line that are read; {_UNREAD}"
    yield from bad_hits(labels, images, "long", message)
