"""Findings for CI services: GitHub's workflow commands, GitLab's code quality report, JUnit XML."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from yolo_nanfix.findings import Finding, Report, RuleText, Severity
from yolo_nanfix.overrides import What
from yolo_nanfix.report.words import (
    finding_sentence,
    fingerprint,
    json_rows,
    printable,
    relative,
    why_skipped,
    worst_first,
)

COMMANDS = {Severity.FATAL: "error", Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
"""GitHub's workflow commands."""
SEVERITIES = {Severity.FATAL: "blocker", Severity.ERROR: "critical", Severity.WARNING: "minor", Severity.INFO: "info"}
"""GitLab's severities."""


def github_commands(report: Report) -> str:
    """One workflow command a finding, the worst first: GitHub shows only the first ten of each kind.

    Findings that another one explains are left out. What settings change comes last.
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
        lines.append(f"::{COMMANDS[finding.severity]} {pairs}::{_data(finding_sentence(finding))}\n")
    overrides = report.overrides
    level = "error" if overrides.fatal_hidden else "warning" if overrides.switch_off else "notice"
    lines += [f"::{level} title=settings::{_data(printable(line))}\n" for line in overrides.lines()]
    return "".join(lines)


def _data(text: str) -> str:
    """Text escaped as the runner decodes it; a line break would end the command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The same for a property value, before the second `::`."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def code_quality_json(report: Report) -> str:
    """GitLab's code quality report as a JSON list, the worst first; fingerprints are unique, without line numbers."""
    here = Path.cwd()
    entries = (
        {
            "description": f"{finding.code} {finding.name}: {finding_sentence(finding)}",
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


def junit_xml(report: Report, rules: Iterable[RuleText]) -> str:
    """JUnit XML in ASCII: a suite for each rule, in it a test for each finding.

    Findings above info are failures, those of info passed tests with output; a rule without findings is one passed
    test, a rule that was not checked a skipped one. What settings and options change is in a separate suite, a failure
    if they came with the dataset and leave fatal findings out.
    """
    here = Path.cwd()
    known = {rule.code: rule for rule in rules}
    by_code: dict[str, list[Finding]] = {code: [] for code in known}
    names = {code: rule.name for code, rule in known.items()}
    for finding in report.findings:
        by_code.setdefault(finding.code, []).append(finding)
        names.setdefault(finding.code, finding.name)
    off = {code: f"left out by {c.where}" for c in report.overrides.of(What.RULES_OFF) for code in c.names}
    reasons = off | {code: why_skipped(why, report, known.get(code)) for code, why in report.skipped}
    root = Element("testsuites", name="yolo-nanfix lint")
    _settings(root, report)
    for code, findings in by_code.items():
        suite = SubElement(root, "testsuite", name=f"{code} {names[code]}")
        for finding in findings:
            _case(suite, finding, here)
        if not findings:
            case = SubElement(suite, "testcase", name=names[code], classname=code, time="0")
            if code in reasons:
                SubElement(case, "skipped", message=printable(reasons[code]))
        _write_counts(suite, (suite,))
    _write_counts(root, tuple(root))
    indent(root)
    written: bytes = tostring(root, encoding="us-ascii", xml_declaration=True)
    return f"{written.decode('ascii')}\n"


def _case(suite: Element, finding: Finding, here: Path) -> None:
    line = "" if finding.place.line is None else f":{finding.place.line}"
    file = printable(relative(finding.place.file, here))
    case = SubElement(suite, "testcase", name=f"{file}{line}", classname=finding.code, file=file, time="0")
    if finding.place.line is not None:
        case.set("line", str(finding.place.line))
    if finding.severity is Severity.INFO:
        SubElement(case, "system-out").text = finding_sentence(finding)
    else:
        kind, message = finding.severity.value, printable(finding.message)
        SubElement(case, "failure", type=kind, message=message).text = finding_sentence(finding)


def _settings(root: Element, report: Report) -> None:
    said = "\n".join(map(printable, report.overrides.lines()))
    if not said:
        return
    suite = SubElement(root, "testsuite", name="settings")
    case = SubElement(suite, "testcase", name="settings", classname="settings", time="0")
    if report.overrides.fatal_hidden:
        hidden = f"{report.overrides.fatal_hidden} fatal findings left out by settings that came with the dataset"
        SubElement(case, "failure", type="fatal", message=hidden).text = said
    else:
        SubElement(case, "system-out").text = said
    _write_counts(suite, (suite,))


def _write_counts(element: Element, suites: tuple[Element, ...]) -> None:
    for name, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("skipped", "testcase/skipped")):
        element.set(name, str(sum(len(suite.findall(path)) for suite in suites)))
    element.set("errors", "0")
    element.set("time", "0")
