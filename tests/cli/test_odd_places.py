"""Words that lead nowhere: links that go round, names that are too long, folders in the place of files."""

from __future__ import annotations

import pytest
from linting.tiny_set import TinySet

from yolo_nanfix.cli.main import main

WORDS = (
    ("lint", "X"),
    ("lint", "X/data.yaml"),
    ("lint", "--files", "X"),
    ("lint", "set", "--root", "X"),
    ("lint", "set", "--baseline", "X"),
    ("lint", "set", "--output-file", "X/f"),
    ("handoff", "X", "out", "--to", "csv"),
    ("report", "X"),
    ("report", "X/yolo-nanfix.json"),
    ("compare", "X", "X"),
    ("diagnose", "X"),
)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_place_that_leads_nowhere_is_told_in_one_line(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    TinySet(tmp_path / "set")
    (tmp_path / "round").symlink_to("round")
    for place in ("round", "x" * 300, "set/data.yaml/x"):
        assert main([word.replace("X", place) for word in words]) == 2, place
        error = capsys.readouterr().err
        assert error.startswith("yolo-nanfix: error: ") and error.count("\n") == 1
