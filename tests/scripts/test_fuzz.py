"""A part of the fuzz campaign, and that its judges see what they are for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_core import Box, Case, judge_files, judge_output, snapshot

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_odd_inputs_end_in_clear_answers(tmp_path):
    """Without incidents, whose part is in tests/diagnosis: they alone need torch."""
    kinds = "labels,yaml,coco,voc,ndjson,images,settings,runs,caches,journals,words"
    command = [sys.executable, SCRIPTS / "fuzz.py", "--count", "100", "--jobs", "1", "--seed", "15", "--kind", kinds]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "cases of" in ended.stdout and list(tmp_path.iterdir()) == []


@pytest.fixture
def box(tmp_path) -> Box:
    made = Box(tmp_path / "box")
    made.make()
    (made.case / "a.txt").write_text("0")
    return made


def test_what_a_case_may_not_do_to_files_is_seen(box):
    before = snapshot(box.root)
    assert judge_files(Case([]), before, snapshot(box.root)) == []
    (box.outside / "owned").touch()
    (box.temporary / "left").touch()
    (box.case / "a.txt").write_text("1")
    (box.case / "out").mkdir()
    (box.home / ".cache" / "yolo-nanfix").mkdir(parents=True)
    after = snapshot(box.root)
    said = {"bytes lost: case/a.txt", "left behind: tmp/left", "write outside: outside", "write outside: outside/owned"}
    assert set(judge_files(Case([], writes=("out",)), before, after)) == said
    assert "bytes lost: case/out" in judge_files(Case([]), before, after)
    assert "bytes lost: case/a.txt" not in judge_files(Case([], fixes=True), before, after)
    assert "bytes lost: case/a.txt" in judge_files(Case([], fixes=True, undone=True), before, after)


@pytest.mark.parametrize(
    ("words", "code", "out", "err", "wrong"),
    [
        ([], 0, b"fine\n", b"", ""),
        ([], 3, b"", b"ValueError: x", "exit code 3"),
        ([], 2, b"", b"Traceback (most recent call last)\nx", "traceback"),
        (["--json"], 1, b"{}", b"", ""),
        (["--json"], 2, b"", b"error", "not json"),
        (["--json"], 0, b'{"a": NaN}', b"", "not json"),
        (["--output-format", "junit"], 1, b"<a>", b"", "not junit"),
        (["--output-format", "junit"], 1, b"<a/>", b"", ""),
        ([], 0, b"\x1b[31mred", b"", "control characters"),
        ([], 2, b"", b"x" * 60_000, "60000 bytes"),
    ],
)
def test_what_a_command_may_not_print_is_seen(words, code, out, err, wrong):
    found = judge_output(words, code, out, err)
    assert (not found) if not wrong else any(text.startswith(wrong) for text in found)
