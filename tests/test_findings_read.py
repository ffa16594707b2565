"""Reports read back from JSON, and as a notebook shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from yolo_nanfix.findings import Effect, Finding, Place, Report, Severity, Skip

HOSTILE = "<script>alert(1)</script>\"'&\n\u202e{{ 7*7 }}\udcff"


def finding(**changes):
    plain = Finding(
        "BX004", "box-side-zero", Severity.ERROR, Effect.ACCEPTS, Place("a.txt", 3), "a side is 0", "drop it"
    )
    return replace(plain, **changes)


REPORT = Report(
    "data.yaml",
    "detect",
    (
        finding(split="train", image="a.jpg", because="CL010"),
        finding(code="IM011", severity=Severity.FATAL, effect=Effect.POISONS, place=Place("b.npy", None, (1, 2, 0))),
        finding(place=Place(HOSTILE), says=HOSTILE),
    ),
    (("IM020", Skip.DEEP),),
    {"train": {"images": 4, "labels": 3, "rows": 9}},
    2,
)

VALUED = replace(
    REPORT,
    findings=(finding(values={"splits": ("train", "val"), "names": ((1, 0), (2, 1)), "x": None}),),
)


def test_what_was_written_is_read_back():
    assert Report.from_dict(json.loads(json.dumps(VALUED.as_dict()))) == VALUED
    assert Report.from_dict(json.loads(json.dumps(REPORT.as_dict()))) == REPORT
    assert Report.from_dict(REPORT.as_dict()) == REPORT


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("findings"), "'findings'"),
        (lambda d: d.update(findings={}), "'findings' that is dict, not list"),
        (lambda d: d.update(data=3), "'data' that is int, not str"),
        (lambda d: d.update(counts={"train": {"images": True, "labels": 0, "rows": 0}}), "'images' that is bool"),
        (lambda d: d["findings"].append("x"), "a finding is a mapping, not str"),
        (lambda d: d["findings"][0].update(severity="awful"), "awful"),
        (lambda d: d["findings"][0].pop("says"), "no 'says'"),
        (lambda d: d["findings"][1]["place"].update(pixel=[1, 2]), "a pixel is x, y and channel"),
        (lambda d: d["findings"][0]["place"].update(line="3"), "'line' that is str"),
        (lambda d: d["findings"][0].update(because=3), "'because' that is int"),
        (lambda d: d["findings"][0].update(values=[]), "'values' that is list"),
        (lambda d: d.update(skipped=[["IM020", "why"]]), "not list"),
    ],
)
def test_what_is_foreign_is_refused_with_the_place(change, says):
    values = REPORT.as_dict()
    change(values)
    with pytest.raises(ValueError, match=says):
        Report.from_dict(values)


@pytest.mark.parametrize("foreign", [None, [], "report", 3])
def test_what_is_no_mapping_is_refused(foreign):
    with pytest.raises(ValueError, match="a lint report is a mapping"):
        Report.from_dict(foreign)


class Reader(HTMLParser):
    """Collects the elements and the text of HTML."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_a_notebook_shows_each_rule_once_and_runs_nothing():
    page = Reader(REPORT._repr_html_())
    assert "1 fatal, 2 error in 4 images of data.yaml" in page.text
    assert page.tags.count("tr") == 3
    assert page.text.index("IM011") < page.text.index("BX004")
    assert "script" not in page.tags
    hostile = Reader(replace(REPORT, findings=REPORT.findings[2:])._repr_html_())
    assert "<script>alert(1)</script>" in hostile.text and "\\u202e" in hostile.text and "\\udcff" in hostile.text
    assert set(hostile.tags) == {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_notebook_shows_a_clean_report_in_a_line():
    assert Reader(replace(REPORT, findings=())._repr_html_()).text == "No findings in 4 images of data.yaml"
