"""TX018 and TX019: label files as bytes. Ultralytics takes them all; other tools do not."""

from __future__ import annotations

from collections.abc import Iterator

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.row_hits import bad_hits


@rule("TX018", "byte-order-mark", Severity.INFO, Effect.ACCEPTS)
def byte_order_mark(labels: Labels, images: Images) -> Iterator[Hit]:
    """The label file begins with a byte order mark.

    Why: other tools take the mark for a part of the first class number; joined files have it in their middle.
    Ultralytics: leaves the mark out.
    Example: a label file saved by Notepad as "UTF-8 with BOM".
    Fix: save the file as UTF-8 without the mark.
    """
    yield from bad_hits(labels, images, "mark", "begins with a byte order mark")


@rule("TX019", "line-ends-mixed", Severity.INFO, Effect.ACCEPTS)
def line_ends_mixed(labels: Labels, images: Images) -> Iterator[Hit]:
    """The lines of the label file end in different ways, or in bare carriage returns.

    Why: a tool that knows line feeds only reads rows with bare carriage returns as one; mixed ends tell of a merge.
    Ultralytics: takes each of them for the end of a row.
    Example: rows of a Windows and of a Linux tool in one file.
    Fix: end all lines with a line feed.
    """
    yield from bad_hits(labels, images, "ends", "the lines end in different ways: {text}")
