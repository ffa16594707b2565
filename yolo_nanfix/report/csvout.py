"""Findings as CSV, one row each, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io

from yolo_nanfix.findings import Finding, Report
from yolo_nanfix.report.words import printable
from yolo_nanfix.shown import text_cell

COLUMNS = (
    "code", "name", "severity", "effect", "file", "line", "x", "y", "channel", "split", "image", "message", "fix",
    "because", "partner",
)  # fmt: skip


def dumps(report: Report) -> str:
    """A header and one row a finding, with the columns of `Report.frame()`.

    Text that a spreadsheet would take for a formula gets a leading apostrophe, and control characters are escapes.
    """
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_row, report.findings))
    return page.getvalue()


def _row(finding: Finding) -> list[str | int]:
    place = finding.place
    x, y, channel = place.pixel or ("", "", "")
    line = "" if place.line is None else place.line
    fixed = [finding.code, finding.name, finding.severity.value, finding.effect.value, _safe(place.file)]
    texts = (finding.split, finding.image, finding.message, finding.fix, finding.because, finding.partner)
    return [*fixed, line, x, y, channel, *(_safe(text or "") for text in texts)]


def _safe(text: str) -> str:
    shown = text_cell(printable(text))
    return f"'{shown}" if text_cell(text)[:1] == "'" != shown[:1] else shown
