"""Findings as workflow commands, which GitHub Actions shows beside the lines of a pull request."""

from __future__ import annotations

from pathlib import Path

from yolo_nanfix.findings import Report, Severity
from yolo_nanfix.report.words import printable, relative, sentence, worst_first

COMMANDS = {Severity.FATAL: "error", Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def dumps(report: Report) -> str:
    """One command a finding, the worst first: GitHub shows the first ten of each kind only.

    Findings that another one explains are left out, or they would fill the room. What settings change stands last.
    """
    here, lines = Path.cwd(), []
    own = set(map(id, report.own))
    for finding in (finding for finding, _ in worst_first(report) if id(finding) in own):
        given = {
            "file": relative(finding.place.file, here),
            "line": "" if finding.place.line is None else str(finding.place.line),
            "title": f"{finding.code} {finding.name}",
        }
        pairs = ",".join(f"{name}={_property(printable(value))}" for name, value in given.items() if value)
        lines.append(f"::{COMMANDS[finding.severity]} {pairs}::{_data(sentence(finding))}\n")
    overrides = report.overrides
    level = "error" if overrides.fatal_hidden else "warning" if overrides.switch_off else "notice"
    lines += [f"::{level} title=settings::{_data(printable(line))}\n" for line in overrides.lines()]
    return "".join(lines)


def _data(text: str) -> str:
    """Text as the runner decodes it; line breaks never get here unescaped, or they would end the command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The same for a value before the `::`."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
