"""Findings as JUnit XML: a suite for each rule, in it a test for each finding."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from yolo_nanfix.findings import Finding, Report, RuleText, Severity
from yolo_nanfix.overrides import What
from yolo_nanfix.report.words import printable, relative, sentence, why_skipped


def dumps(report: Report, rules: Iterable[RuleText]) -> str:
    """Findings above info are failures, those of info passed tests with output; a rule without any is one passed test.

    Rules that were not asked are skipped tests, also those that settings leave out. What settings and options change is
    in a suite of its own, a failure if they came with the dataset and leave fatal findings out. All of it is ASCII.
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
        _count(suite, (suite,))
    _count(root, tuple(root))
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
        SubElement(case, "system-out").text = sentence(finding)
    else:
        kind, message = finding.severity.value, printable(finding.message)
        SubElement(case, "failure", type=kind, message=message).text = sentence(finding)


def _settings(root: Element, report: Report) -> None:
    """What settings change, where there is any."""
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
    _count(suite, (suite,))


def _count(element: Element, suites: tuple[Element, ...]) -> None:
    """Write how many tests there are and how they ended."""
    for name, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("skipped", "testcase/skipped")):
        element.set(name, str(sum(len(suite.findall(path)) for suite in suites)))
    element.set("errors", "0")
    element.set("time", "0")
