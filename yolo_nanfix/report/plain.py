"""Findings as plain lines, without colours and without a limit: concise, full, and counts by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from yolo_nanfix.files import Within
from yolo_nanfix.findings import Finding, Report, RuleText, Severity
from yolo_nanfix.report.words import EFFECT_WORDS, in_order, printable, relative, relative_message, where

_MAX_ROW = 160
"""Characters of an offending row that are shown."""
_MAX_BYTES = 1 << 20
"""Bytes of a label file that are read to show its rows."""


def concise(report: Report) -> str:
    """One line a finding, the worst first: `file:line: CODE [severity] message`."""
    here = Path.cwd()
    return "".join(f"{_head(finding, here)}\n" for finding in in_order(report.findings))


def full(report: Report, rules: Iterable[RuleText]) -> str:
    """Each finding with the row it is about and the documentation of its rule, the worst first."""
    here, known = Path.cwd(), {rule.code: rule for rule in rules}
    rows = _Rows(Within(report.folders))
    return "\n".join(
        "\n".join(_finding_lines(finding, here, known.get(finding.code), rows)) + "\n"
        for finding in in_order(report.findings)
    )


def rule_counts(report: Report) -> list[tuple[int, str, Severity, str]]:
    """For each rule with unexplained findings their number, code, worst severity and name; most first."""
    first: dict[str, Finding] = {}
    counted = Counter(finding.code for finding in report.own)
    for finding in report.own:
        if finding.code not in first or finding.severity.rank < first[finding.code].severity.rank:
            first[finding.code] = finding
    found = [(n, code, first[code].severity, first[code].name) for code, n in counted.items()]
    return sorted(found, key=lambda count: (-count[0], count[1]))


def statistics(report: Report) -> str:
    """One line a rule: `count  CODE  [severity]  name`; the last one is the total, if there are findings."""
    found = rule_counts(report)
    total = sum(count for count, *_ in found)
    wide = len(str(total))
    lines = [f"{count:>{wide}}  {code}  {f'[{severity.value}]':<9}  {name}" for count, code, severity, name in found]
    return "".join(f"{line}\n" for line in (*lines, *([f"{total:>{wide}}  total"] if found else [])))


def _head(finding: Finding, here: Path) -> str:
    follows = f" (follows from {finding.because})" if finding.because else ""
    message = relative_message(finding, here)
    return f"{where(finding.place, here)}: {finding.code} [{finding.severity.value}] {message}{follows}"


def _finding_lines(finding: Finding, here: Path, rule: RuleText | None, rows: _Rows) -> Iterator[str]:
    yield _head(finding, here)
    if row := rows.at(finding.place.file, finding.place.line):
        yield f"  {finding.place.line} | {printable(row[:_MAX_ROW])}"
    if finding.image is not None and finding.image != finding.place.file:
        yield f"  image: {printable(relative(finding.image, here))}"
    yield f"  {finding.name}: {rule.title if rule else EFFECT_WORDS[finding.effect]}"
    if rule:
        yield f"  why: {rule.why}"
        yield f"  Ultralytics: {rule.upstream}"
    yield f"  fix: {finding.fix}"


class _Rows:
    """Rows of text files of the dataset; the last file is cached."""

    def __init__(self, within: Within) -> None:
        self._within, self._file = within, ""
        self._rows: list[bytes] = []

    def at(self, file: str, line: int | None) -> str:
        """A line (1-based) of a text file; empty if there is none."""
        if line is None:
            return ""
        if file != self._file:
            self._file, self._rows = file, self._read(file)
        return self._rows[line - 1].decode("utf-8", "backslashreplace").strip() if line <= len(self._rows) else ""

    def _read(self, file: str) -> list[bytes]:
        try:
            return self._within.read(file, _MAX_BYTES).splitlines()
        except (OSError, ValueError):
            return []
