"""Findings as GitLab's code quality report, shown in merge requests."""

from __future__ import annotations

from pathlib import Path

from yolo_nanfix.findings import Report, Severity
from yolo_nanfix.report.words import fingerprint, json_rows, printable, relative, sentence, worst_first

SEVERITIES = {
    Severity.FATAL: "blocker",
    Severity.ERROR: "critical",
    Severity.WARNING: "minor",
    Severity.INFO: "info",
}


def dumps(report: Report) -> str:
    """A JSON list, the worst first; fingerprints are unique and hold no line numbers."""
    here = Path.cwd()
    entries = (
        {
            "description": f"{finding.code} {finding.name}: {sentence(finding)}",
            "check_name": finding.code,
            "fingerprint": fingerprint(identity),
            "severity": SEVERITIES[finding.severity],
            "location": {
                "path": printable(relative(finding.place.file, here)),
                "lines": {"begin": finding.place.line or 1},
            },
        }
        for finding, identity in worst_first(report)
    )
    return json_rows(entries) + "\n"
