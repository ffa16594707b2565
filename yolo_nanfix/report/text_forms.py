"""The output formats of a lint report for files and programs, by name; short ones are here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from yolo_nanfix.findings import Finding, Report, RuleText
from yolo_nanfix.report.words import json_rows, printable
from yolo_nanfix.wording import text_cell

CSV_COLUMNS = (
    "code", "name", "severity", "effect", "file", "line", "x", "y", "channel", "split", "image", "message", "fix",
    "because", "partner",
)  # fmt: skip


def strict_json(report: Report) -> str:
    """The report as strict JSON text: no NaN or Infinity tokens, ASCII only, one line for each finding."""
    parts = (
        f'  "{key}": {json_rows(value) if isinstance(value, list) else json.dumps(value, allow_nan=False)}'
        for key, value in report.as_dict().items()
    )
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _module(name: str) -> Any:
    """A module that writes a format, imported when needed: the command line needs only the names."""
    return import_module(f"yolo_nanfix.report.{name}")


def jsonl(report: Report) -> str:
    """One line of strict ASCII JSON a finding, as `Finding.as_dict` gives it; no line for a clean report."""
    return "".join(json.dumps(finding.as_dict(), allow_nan=False) + "\n" for finding in report.findings)


def csv_text(report: Report) -> str:
    """A header and one row a finding, with the columns of `Report.frame()`, safe to open in a spreadsheet.

    Text that a spreadsheet would take for a formula gets a leading apostrophe; control characters are escaped.
    """
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(map(_csv_row, report.findings))
    return page.getvalue()


def _csv_row(finding: Finding) -> list[str | int]:
    place = finding.place
    x, y, channel = place.pixel or ("", "", "")
    line = "" if place.line is None else place.line
    fixed = [finding.code, finding.name, finding.severity.value, finding.effect.value, _cell(place.file)]
    texts = (finding.split, finding.image, finding.message, finding.fix, finding.because, finding.partner)
    return [*fixed, line, x, y, channel, *(_cell(text or "") for text in texts)]


def _cell(text: str) -> str:
    shown = text_cell(printable(text))
    return f"'{shown}" if text_cell(text)[:1] == "'" != shown[:1] else shown


TEXT_FORMS: dict[str, Callable[[Report, Sequence[RuleText]], str]] = {
    "full": lambda report, rules: _module("plain").full(report, rules),
    "concise": lambda report, rules: _module("plain").concise(report),
    "json": lambda report, rules: strict_json(report),
    "jsonl": lambda report, rules: jsonl(report),
    "csv": lambda report, rules: csv_text(report),
    "sarif": lambda report, rules: _module("sarif").sarif_json(report, rules),
    "github": lambda report, rules: _module("ci_forms").github_commands(report),
    "gitlab": lambda report, rules: _module("ci_forms").code_quality_json(report),
    "junit": lambda report, rules: _module("ci_forms").junit_xml(report, rules),
}
"""From names to the functions that write them. `text`, which depends on a terminal, is in `text.render`."""
