"""Lint reports in every form that other programs read, also with hostile file names."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urljoin, urlparse

import polars as pl
import pytest
from junitparser import Failure, JUnitXml, Skipped

from yolo_nanfix.api import rules
from yolo_nanfix.findings import Effect, Finding, Place, Report, Severity, Skip
from yolo_nanfix.report import plain, sarif
from yolo_nanfix.report.text_forms import TEXT_FORMS

RULES = rules()
HOSTILE = "/d/a b%,:]]>&<\"'\x1b[0m\n::error::x\r\u202e\ud800\udcff\ufffe/ä=.txt"


def finding(file: str = "/d/labels/a.txt", message: str = "the box has no width", **more: object) -> Finding:
    fields = {
        "code": "BX004", "name": "box-side-zero", "severity": Severity.ERROR, "effect": Effect.ACCEPTS,
        "place": Place(file, 3), "says": message, "fix": "Fix it.", "split": "train", "image": "/d/images/a.jpg",
    }  # fmt: skip
    return Finding(**{**fields, **more})


def report(*findings: Finding) -> Report:
    return Report("/d/data.yaml", "detect", findings, (("TX009", Skip.OTHER_TASK),))


@pytest.fixture
def several(tmp_path: Path, monkeypatch) -> Report:
    """One of each severity, of each kind of place, inside and outside of the working folder, and a hostile one."""
    monkeypatch.chdir(tmp_path)
    inside = str(tmp_path / "labels" / "ä b.txt")
    return Report(
        str(tmp_path / "data.yaml"),
        "detect",
        (
            finding(inside, severity=Severity.INFO, image=None, split=None),
            finding(inside),
            finding(inside),
            finding("/else/x.tiff", code="IM011", name="pixel-nan", severity=Severity.FATAL, effect=Effect.POISONS,
                    place=Place("/else/x.tiff", None, (1, 2, 0)), image="/else/x.tiff"),
            finding(HOSTILE, '=cmd|"\x1b\n,', image=HOSTILE),
            finding(inside, severity=Severity.WARNING, place=Place(inside)),
        ),
        (("TX009", Skip.OTHER_TASK),),
    )  # fmt: skip


def formed(form: str, what: Report) -> str:
    return TEXT_FORMS[form](what, RULES)


@pytest.mark.parametrize("form", TEXT_FORMS)
def test_every_form_survives_hostile_text_and_an_empty_report(form: str, several: Report):
    text = formed(form, several)
    text.encode("utf-8")
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    formed(form, report()).encode("utf-8")


def test_plain_lines(several: Report):
    lines = formed("concise", several).splitlines()
    assert len(lines) == 6
    assert "labels/ä b.txt:3: BX004 [error] the box has no width" in lines
    assert lines[0].startswith("/else/x.tiff@1,2,0: IM011 [fatal]"), "the worst first"


def test_full_shows_the_row_and_the_documentation(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"0 .5 .5 .1 .1\n0 1 1 1 1\n0 .5 .5 0 \xff\x1b" + b"1" * 500)
    told = report(finding(str(tmp_path / "a.txt")), finding(str(tmp_path / "a.txt"), place=Place("b", 9)))
    out = formed("full", replace(told, folders=(str(tmp_path),)))
    (rule,) = (rule for rule in RULES if rule.code == "BX004")
    assert r"  3 | 0 .5 .5 0 \xff\x1b1111" in out and max(map(len, out.splitlines())) < 900
    for text in (rule.title, rule.why, rule.upstream, "Fix it.", "image: /d/images/a.jpg", "b:9: BX004"):
        assert text in out


def test_statistics_count_by_rule(several: Report):
    assert plain.statistics(several).splitlines() == [
        "5  BX004  [error]    box-side-zero",
        "1  IM011  [fatal]    pixel-nan",
        "6  total",
    ]
    assert plain.statistics(report()) == ""


def test_json_lines_are_the_findings(several: Report):
    told = [json.loads(line) for line in formed("jsonl", several).splitlines()]
    assert told == json.loads(json.dumps([f.as_dict() for f in several.findings]))


def test_csv_has_the_columns_of_the_frame_and_no_formula(several: Report):
    text = formed("csv", several)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == several.frame().columns and len(rows) == 6
    assert (rows[1]["line"], rows[3]["x"], rows[3]["y"], rows[3]["channel"]) == ("3", "1", "2", "0")
    assert rows[4]["message"].startswith("'=cmd")
    guarded = list(
        csv.reader(io.StringIO(formed("csv", report(*[finding(says=m) for m in ("+1", "-1", "@a", " =a")]))))
    )
    assert [row[11][0] for row in guarded[1:]] == ["'"] * 4
    again = pl.read_csv(io.StringIO(text), schema_overrides={"line": pl.Int32})
    assert again["code"].to_list() == several.frame()["code"].to_list()


def test_github_commands_decode_to_what_was_meant(several: Report):
    lines = formed("github", several).splitlines()
    found = [re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line) for line in lines]
    assert [m[1] for m in found] == ["error"] * 4 + ["warning", "notice"]
    given = [dict(pair.split("=", 1) for pair in m[2].split(",")) for m in found]
    assert unquote(given[0]["file"]) == "/else/x.tiff" and "line" not in given[0]
    assert given[1] == {"file": "labels/ä b.txt", "line": "3", "title": "BX004 box-side-zero"}
    assert "%25%2C%3A" in given[3]["file"] and "\\x1b" in unquote(found[3][3])


def test_gitlab_has_what_gitlab_asks_for(several: Report):
    told = json.loads(formed("gitlab", several))
    assert {t["severity"] for t in told} == {"blocker", "critical", "minor", "info"}
    assert len({t["fingerprint"] for t in told}) == len(told) == 6
    for entry in told:
        assert set(entry) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert isinstance(entry["location"]["lines"]["begin"], int) and entry["location"]["path"]
    assert told[1]["location"] == {"path": "labels/ä b.txt", "lines": {"begin": 3}}


def test_junit_reads_back(several: Report):
    xml = JUnitXml.fromstring(formed("junit", several).encode())
    suites = {suite.name.split()[0]: suite for suite in xml}
    assert set(suites) == {rule.code for rule in RULES}
    assert (xml.tests, xml.failures, xml.errors) == (len(RULES) + 4, 5, 0)
    boxes = list(suites["BX004"])
    assert [any(isinstance(r, Failure) for r in case.result) for case in boxes] == [False, True, True, True, True]
    assert boxes[1].name == "labels/ä b.txt:3" and boxes[1].result[0].message == "the box has no width"
    assert boxes[0].system_out.endswith("Fix it.")
    (never,) = suites["TX009"]
    assert isinstance(never.result[0], Skipped) and never.result[0].message.startswith(
        "the rule reads segment, obb datasets"
    )
    assert [case.is_passed for case in suites["CL001"]] == [True]


def sarif_of(what: Report) -> dict:
    log = json.loads(formed("sarif", what), parse_constant=pytest.fail)
    assert log["version"] == "2.1.0" and len(log["runs"]) == 1
    return log["runs"][0]


def test_sarif_carries_the_rules(several: Report):
    driver = sarif_of(several)["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == [rule.code for rule in RULES]
    for told, rule in zip(driver["rules"], RULES, strict=True):
        assert told["defaultConfiguration"]["level"] in ("error", "warning", "note")
        for text in (rule.why, rule.upstream, rule.example, rule.fix):
            assert text in told["help"]["text"] and text in told["help"]["markdown"]
        assert told["shortDescription"]["text"] == rule.title and told["name"] == rule.name


def test_sarif_results_are_placed_and_levelled(several: Report, tmp_path: Path):
    run = sarif_of(several)
    root = run["originalUriBaseIds"]["%SRCROOT%"]["uri"]
    assert root.endswith("/") and Path(unquote(urlparse(root).path)) == tmp_path
    assert [r["level"] for r in run["results"]] == ["error"] * 4 + ["warning", "note"]
    first, second, _, hostile, whole, _ = run["results"]
    places = [r["locations"][0]["physicalLocation"] for r in (first, second, hostile)]
    assert places[0] == {"artifactLocation": {"uri": "file:///else/x.tiff"}} and first["properties"]["pixel"] == [
        1,
        2,
        0,
    ]
    assert places[1]["artifactLocation"] == {"uri": "labels/%C3%A4%20b.txt", "uriBaseId": "%SRCROOT%"}
    assert places[1]["region"] == {"startLine": 3} and "region" not in whole["locations"][0]["physicalLocation"]
    assert unquote(urlparse(urljoin(root, places[1]["artifactLocation"]["uri"])).path) == second_file(several)
    uri = places[2]["artifactLocation"]["uri"]
    assert re.fullmatch(r"file:///[\w.~%/-]*", uri) and b"]]>&<" in unquote_to_bytes(uri)
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert second["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///d/images/a.jpg"


def second_file(several: Report) -> str:
    return several.findings[1].place.file


def test_sarif_fingerprints_outlive_other_lines_and_are_unique():
    def marks(*findings: Finding) -> list[str]:
        return [r["partialFingerprints"]["yoloNanfix/v1"] for r in sarif_of(report(*findings))["results"]]

    one, other = "/d/labels/a.txt", "the same as line "
    before = marks(finding(), finding(), finding(says=other + "3"), finding(one.replace("a", "b")))
    moved = [finding(place=Place(one, 9)), finding(place=Place(one, 12)), finding(says=other + "8")]
    assert marks(*moved) == before[:3] and len(set(before)) == 4


def test_sarif_is_capped_worst_first():
    many = [finding(f"/d/{i}.txt", severity=Severity.WARNING) for i in range(sarif.MAX_RESULTS)]
    run = sarif_of(report(*many, finding(severity=Severity.FATAL)))
    assert len(run["results"]) == sarif.MAX_RESULTS and run["results"][0]["properties"]["severity"] == "fatal"
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["level"] == "warning" and note["message"]["text"].startswith("1 of 5001 findings")
    assert "toolExecutionNotifications" not in sarif_of(report(finding()))["invocations"][0]


def test_the_frame_has_one_schema(several: Report):
    frame, empty = several.frame(), report().frame()
    assert frame.schema == empty.schema and (frame.height, empty.height) == (6, 0)
    assert frame.filter(pl.col("severity") == "fatal")["file"].to_list() == ["/else/x.tiff"]
    assert frame.sort("severity")["severity"][0] == "fatal"
    assert frame["line"].to_list() == [3, 3, 3, None, 3, None] and frame["x"].to_list()[3] == 1
    assert frame["image"][0] is None and frame["file"][4].startswith("/d/a b") and "\\udcff" in frame["file"][4]


def test_report_select(several: Report):
    assert [f.code for f in several.select("IM").findings] == ["IM011"]
    assert len(several.select("all", ignore=["pixel-nan"]).findings) == 5
    assert len(several.select("box-side-zero", at_least="warning").findings) == 4
    assert several.select("CL").exit_code == 0
    with pytest.raises(ValueError):
        several.select(at_least="awful")
