"""Two runs on one page, and the commands that write pages."""

from __future__ import annotations

import json
import shlex

import pytest
import reading

from yolo_nanfix.cli.main import main
from yolo_nanfix.report.html import comparison_page
from yolo_nanfix.run_folder.read import read_run


def test_two_runs_stand_beside_each_other(trained):
    found = reading.read(comparison_page.page((read_run(trained / "healthy"), read_run(trained / "faulty"))))
    assert found.wrong == []
    assert "None of 6 micro-batches dropped" in found.text and "2 of 6 micro-batches dropped because of 1" in found.text
    rows = found.text.partition("Settings that differ")[2].partition("Figures")[0]
    assert "on-fatal" in rows and "quarantine" in rows and "ignore" in rows
    assert "imgsz" not in rows and "save_dir" not in rows
    charts = found.readings()["charts"]
    box = next(c for c in charts if c["key"].startswith("losses"))
    assert [curve["name"] for curve in box["curves"]] == ["A healthy", "B faulty"]
    flags = {a.get("href") for tag, a in found.elements if tag == "a" and "flag" in (a.get("class") or "")}
    assert flags == {"#event-B1", "#event-B2"}
    assert "The guard saw nothing" in found.text


def test_a_run_beside_itself_differs_in_nothing(trained):
    found = reading.read(comparison_page.page((read_run(trained / "faulty"), read_run(trained / "faulty"))))
    assert found.wrong == [] and "Settings that differ None." in found.text


def test_stock_beside_ours(trained):
    found = reading.read(comparison_page.page((read_run(trained / "stock"), read_run(trained / "faulty"))))
    assert found.wrong == []
    assert found.readings()["name"] == "epoch"  # stock knows of no steps
    assert "Nothing is known: the run has no report of yolo-nanfix." in found.text


def test_report_writes_the_page_again_and_says_where(trained, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["report", str(trained / "faulty"), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 of 6 micro-batches dropped" in said and str(out) in said
    assert reading.read(out.read_text(encoding="utf-8")).wrong == []
    assert main(["report", str(trained / "faulty" / "yolo-nanfix.json"), "--json", "-o", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["page"] == str(out) and document["bytes"] == out.stat().st_size
    assert "fix or remove images/train/0005.jpg" in document["to_do"][0] and document["notes"] == []
    assert main(["report", str(trained / "faulty"), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{trained / 'faulty' / 'yolo-nanfix.html'}\n"


def test_compare_writes_into_the_current_folder(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(trained / "healthy"), str(trained / "faulty")]) == 0
    assert str(tmp_path / "yolo-nanfix-compare.html") in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["yolo-nanfix-compare.html"]


@pytest.mark.parametrize("words", [["report", "{run}", "-o", "{tmp}/none/x.html"], ["report", "{run}", "-o", "{tmp}"]])
def test_a_page_that_cannot_be_written_is_one_error(words, trained, tmp_path, capsys):
    assert main([word.format(run=trained / "faulty", tmp=tmp_path) for word in words]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_opening_starts_the_browser(trained, tmp_path, monkeypatch, capsys):
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {shlex.quote(str(tmp_path))}/opened\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{shlex.quote(str(script))} %s")
    monkeypatch.setattr("webbrowser._tryorder", None)
    assert main(["report", str(trained / "faulty"), "-o", str(tmp_path / "a b.html"), "--open"]) == 0
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "a b.html").as_uri()
