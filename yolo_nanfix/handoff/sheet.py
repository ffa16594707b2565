"""CSV: one row a box of each image, and one a finding that belongs to no box; `file` is the image in the dataset.

Text that a spreadsheet would take for a formula gets a leading apostrophe, also in names.
"""

from __future__ import annotations

import csv
import io

from yolo_nanfix.findings import Finding
from yolo_nanfix.scene import Scene, plain, worst
from yolo_nanfix.wording import text_cell

FILE = "handoff.csv"
HEAD = (
    "image", "split", "width", "height", "line", "class", "left", "top", "right", "bottom", "codes", "severity",
    "message", "fix", "file",
)  # fmt: skip


def csv_file(scenes: list[Scene]) -> dict[str, bytes]:
    """The files of the export by name: `handoff.csv`, with images that cannot be opened, too."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\r\n")
    rows.writerow(HEAD)
    for scene in scenes:
        start = (text_cell(scene.name), _text(scene.split), scene.width, scene.height)
        file = _text(scene.original)
        for shape in scene.shapes:
            box = (f"{side:.2f}" for side in shape.box)
            rows.writerow((*start, shape.line, text_cell(shape.label), *box, *_about(shape.defects), file))
        for finding in scene.defects:
            line = (finding.place.line or "", *("",) * 5)
            rows.writerow((*start, *line, *_about((finding,)), file))
        if not scene.shapes and not scene.defects:
            rows.writerow((*start, *("",) * 6, *_about(()), file))
    return {FILE: stream.getvalue().encode()}


def _text(text: str) -> str:
    return text_cell(plain(text))


def _about(findings: tuple[Finding, ...]) -> tuple[str, str, str, str]:
    """Codes, worst severity, messages and fixes, one cell each."""
    severity = worst(findings)
    texts = (text_cell("; ".join(dict.fromkeys(plain(text) for text in column))) for column in (
        [f.message for f in findings], [f.fix for f in findings],
    ))  # fmt: skip
    return (" ".join(f.code for f in findings), severity.value if severity else "", *texts)  # type: ignore[return-value]
