"""TX018 and TX019: label files as bytes. Ultralytics takes them all; other tools do not.

Asked under --deep alone: the fast tier does not keep the bytes, and to read them again would cost a third of its time.
"""

from __future__ import annotations

from collections.abc import Iterator

from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.label_reader import read_bytes
from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.rule import Hit, rule
from yolo_nanfix.linting.rules.rows import Images, file_hit

_MARK = b"\xef\xbb\xbf"


@rule("TX018", "byte-order-mark", Severity.INFO, Effect.ACCEPTS, deep=True)
def byte_order_mark(labels: Labels, images: Images) -> Iterator[Hit]:
    """The label file begins with a byte order mark.

    Why: other tools take the mark for a part of the first class number; joined files have it in their middle.
    Ultralytics: leaves the mark out.
    Example: a label file saved by Notepad as "UTF-8 with BOM".
    Mend: save the file as UTF-8 without the mark.
    """
    for index, content in _contents(labels):
        if content.startswith(_MARK):
            yield file_hit(labels, images, index, "begins with a byte order mark", 1)


@rule("TX019", "line-ends-mixed", Severity.INFO, Effect.ACCEPTS, deep=True)
def line_ends_mixed(labels: Labels, images: Images) -> Iterator[Hit]:
    """The lines of the label file end in different ways, or in bare carriage returns.

    Why: a tool that knows line feeds only reads rows with bare carriage returns as one; mixed ends tell of a merge.
    Ultralytics: takes each of them for the end of a row.
    Example: rows of a Windows and of a Linux tool in one file.
    Mend: end all lines with a line feed.
    """
    for index, content in _contents(labels):
        pairs, bare = content.count(b"\r\n"), content.count(b"\r")
        lone = bare - pairs
        if lone or 0 < pairs < content.count(b"\n"):
            said = f"{lone} bare carriage returns" if lone else "CR LF and LF are mixed"
            yield file_hit(labels, images, index, f"the lines end in different ways: {said}")


def _contents(labels: Labels) -> Iterator[tuple[int, bytes]]:
    """The bytes of each label file that can be read."""
    for index, file in enumerate(labels.files):
        try:
            content = read_bytes(file.path)
        except OSError:
            continue
        if content and file.path.endswith(".txt"):
            yield index, content
