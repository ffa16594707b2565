"""How the process that waited for a launcher learns how the run ended, from a report or without one."""

from __future__ import annotations

import json
import time

import pytest

from yolo_nanfix import api, runs
from yolo_nanfix.errors import NanfixError, RankLost
from yolo_nanfix.guard.lost_ranks import How, LostRank
from yolo_nanfix.run_folder.summary import PAGE_NAME, REPORT_NAME, RunContext, written_since


@pytest.mark.parametrize("text", ["", "{", "[]", '"no"'])
def test_a_report_that_is_older_or_damaged_is_none(text, tmp_path):
    assert written_since(tmp_path) == {}
    (tmp_path / REPORT_NAME).write_text(text)
    assert written_since(tmp_path) == {}
    (tmp_path / REPORT_NAME).write_text('{"outcome": "finished"}')
    assert written_since(tmp_path, time.time())["outcome"] == "finished"
    assert written_since(tmp_path, time.time() + 60) == {}  # of an earlier part of a run that was resumed


def test_where_no_rank_could_write_a_report_there_is_one_that_says_so(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "last.pt").touch()
    told = runs.report_without_ranks(tmp_path, -9, RunContext(), api.status().as_dict())
    assert json.loads((tmp_path / REPORT_NAME).read_text())["reasons"] == told["reasons"]
    assert (told["outcome"], told["state"], told["healthy"]) == ("failed", "failed", False)
    assert "signal 9" in told["reasons"][0] and "last.pt" in told["reasons"][0]
    assert (tmp_path / PAGE_NAME).is_file()
    assert type(runs.error_of(told)) is NanfixError


def test_the_error_is_that_of_the_ranks():
    lost = LostRank(0, How.RAISED, 1, 2, 2, error="ValueError: no")
    failed = {"outcome": "failed", "reasons": ["no"], "ranks": {"processes": 2, "lost": [lost.as_dict()]}}
    assert isinstance(runs.error_of(failed), RankLost) and str(runs.error_of(failed)) == str(lost)
    interrupted = runs.error_of({**failed, "outcome": "interrupted"})
    assert isinstance(interrupted, KeyboardInterrupt)
