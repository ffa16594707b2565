"""The forms of a lint report that are plain text for files and programs, by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from yolo_nanfix.findings import Report, RuleText
from yolo_nanfix.report import csvout, github, gitlab, junit, plain, sarif
from yolo_nanfix.report.words import json_rows


def strict_json(report: Report) -> str:
    """The report as strict JSON text: no NaN or Infinity tokens, ASCII only, one line for each finding."""
    parts = (
        f'  "{key}": {json_rows(value) if isinstance(value, list) else json.dumps(value, allow_nan=False)}'
        for key, value in report.as_dict().items()
    )
    return "{\n" + ",\n".join(parts) + "\n}\n"


def jsonl(report: Report) -> str:
    """One line of strict ASCII JSON a finding, as `Finding.as_dict` gives it; no line for a clean report."""
    return "".join(json.dumps(finding.as_dict(), allow_nan=False) + "\n" for finding in report.findings)


FORMATS: dict[str, Callable[[Report, Sequence[RuleText]], str]] = {
    "full": plain.full,
    "concise": lambda report, rules: plain.concise(report),
    "json": lambda report, rules: strict_json(report),
    "jsonl": lambda report, rules: jsonl(report),
    "csv": lambda report, rules: csvout.dumps(report),
    "sarif": sarif.dumps,
    "github": lambda report, rules: github.dumps(report),
    "gitlab": lambda report, rules: gitlab.dumps(report),
    "junit": junit.dumps,
}
"""Name -> what writes it. `text`, which depends on a terminal, is in `text.render`."""
