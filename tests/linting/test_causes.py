"""What a finding about the set explains: row findings hang on it, no fix touches them, and no format loses the link."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from yolo_nanfix.findings import Effect, Finding, Place, Report, Severity
from yolo_nanfix.linting import cache
from yolo_nanfix.linting.autofix.label_edits import allowed
from yolo_nanfix.linting.causes import explained
from yolo_nanfix.linting.registry import Hit
from yolo_nanfix.report import ci_forms, plain, text, text_forms
from yolo_nanfix.tasks import Basis, TaskBasis


def finding(code: str, file: str, line: int | None = None, split: str | None = "train") -> Finding:
    place = Place(file, line)
    return Finding(code, f"name-{code}", Severity.ERROR, Effect.DROPS, place, "Wrong.", f"Fix {code} so.", split)


ROWS = [finding("BX001", "a.txt", 1), finding("BX001", "b.txt", 2), finding("BX006", "b.txt", 2)]
WHOLE = finding("BX900", "data.yaml", split=None)


@pytest.fixture
def report() -> Report:
    cause = Hit("data.yaml", "Wrong.", explains=("BX001", "BX006"))
    findings = tuple(explained([WHOLE, *ROWS], [("BX900", cause)]))
    return Report("data.yaml", "detect", findings, counts={"train": _COUNTS}, basis=_BASIS)


_BASIS = Basis(TaskBasis.ASKED, "detect")
_COUNTS = {"images": 2, "labels": 2, "rows": 3}


def test_what_is_explained_is_chosen_by_code_file_line_and_split():
    other = finding("BX001", "a.txt", 1, "val")

    def hung(*codes: str, **hit: Any) -> list[bool]:
        causes = [("BX900", Hit("data.yaml", "Wrong.", explains=codes, **hit))]
        return [f.because == "BX900" for f in explained([*ROWS, other], causes)]

    assert hung("BX001") == [True, True, False, True]
    assert hung("BX001", split="train") == [True, True, False, False]
    assert hung("BX001", "BX006", explains_in=frozenset({"b.txt"})) == [False, True, True, False]
    assert hung("BX001", explains_not=frozenset({("a.txt", 1)})) == [False, True, False, False]
    assert hung() == [False] * 4


def test_a_cause_never_explains_itself_and_the_first_of_several_counts():
    hits = (Hit("data.yaml", "Wrong.", explains=codes) for codes in (("BX900", "BX001"), ("BX001",)))
    causes = list(zip(("BX900", "BX901"), hits, strict=True))
    assert [f.because for f in explained([WHOLE, ROWS[0]], causes)] == [None, "BX900"]


def test_advice_and_fixes_are_those_of_the_cause(report: Report):
    whole, *rows = report.findings
    assert whole == WHOLE
    assert {row.fix for row in rows} == {"Fix BX900, from which this follows."}
    assert not any(allowed(row, unsafe=True) for row in rows) and all(allowed(row, unsafe=True) for row in ROWS[:2])


def test_own_findings_are_those_whose_cause_is_not_shown(report: Report):
    assert report.own == (WHOLE,)
    assert report.follows(WHOLE) == {"BX001": 2, "BX006": 1} and not report.follows(report.findings[1])
    alone = report.select("BX001")
    assert alone.own == alone.findings and len(alone.own) == 2


def test_identities_do_not_change(report: Report):
    bare = Report("data.yaml", "detect", (WHOLE, *ROWS))
    assert report.identities() == bare.identities()


def test_a_remembered_report_keeps_the_link_and_the_advice(report: Report):
    packed = json.loads(json.dumps(cache.pack(report)))
    assert cache.unpack(packed, "data.yaml", report.root) == report
    mixed = replace(report, findings=(*report.findings, finding("BX001", "c.txt", 3)))
    assert cache.unpack(json.loads(json.dumps(cache.pack(mixed))), "data.yaml", mixed.root) == mixed


def test_text_shows_them_under_their_cause(report: Report):
    page = io.StringIO()
    text.render(report, Console(file=page, width=120))
    shown = page.getvalue()
    assert "explains 2 BX001 and 1 other" in shown and "a.txt" not in shown
    assert "Found 1 error in" in shown and shown.count("BX001") == 1
    assert plain.statistics(report).splitlines()[0].split() == ["1", "BX900", "[error]", "name-BX900"]
    assert "a.txt:1: BX001 [error] Wrong. (follows from BX900)" in plain.concise(report)


def test_every_format_says_it(report: Report):
    assert Report.from_dict(json.loads(json.dumps(report.as_dict()))).findings == report.findings
    assert report.frame()["because"].to_list() == [None, "BX900", "BX900", "BX900"]
    rows = list(csv.DictReader(io.StringIO(text_forms.csv_text(report))))
    assert [row["because"] for row in rows] == ["", "BX900", "BX900", "BX900"]


def test_github_which_shows_ten_gets_the_cause_alone(report: Report):
    assert ci_forms.github_commands(report).count("\n") == 1 and "BX900" in ci_forms.github_commands(report)
    assert ci_forms.github_commands(report.select("BX001")).count("\n") == 2
