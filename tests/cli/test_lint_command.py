"""`yolo-nanfix lint` as a user runs it."""

from __future__ import annotations

import gc
import json
import os
import signal
from pathlib import Path

import pytest
from linting.tiny_set import TinySet
from make_datasets import make_dataset

from yolo_nanfix.cli.main import main


def _run(*words: str) -> int:
    return main(["lint", *words])


@pytest.fixture
def faulty(tmp_path: Path) -> str:
    tiny = TinySet(tmp_path / "set")
    tiny.rows("0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n")
    return str(tiny.root)


def test_a_clean_set_exits_0(tmp_path: Path, capsys):
    assert _run(str(TinySet(tmp_path).root)) == 0
    out, err = capsys.readouterr()
    assert "No findings in 2 images" in out and err == ""


def test_findings_exit_1_and_go_to_stdout(faulty: str, capsys):
    assert _run(faulty) == 1
    out, err = capsys.readouterr()
    assert "a.txt:1: BX004 [error]" in out and "Found 1 error" in out and err == ""


def test_quiet(faulty: str, capsys):
    assert _run(faulty, "--quiet") == 1
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_json(faulty: str, capsys):
    assert _run(faulty, "--output-format", "json") == 1
    assert [f["code"] for f in json.loads(capsys.readouterr().out)["findings"]] == ["BX004"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_output_file(faulty: str, form: str, tmp_path: Path, capsys):
    file = tmp_path / "out"
    assert _run(faulty, "--output-format", form, "--output-file", str(file)) == 1
    assert "BX004" in file.read_text() and "\x1b" not in file.read_text()
    assert capsys.readouterr().out == ""
    assert _run(faulty, "--output-file", str(tmp_path / "none" / "out")) == 2
    assert "--output-file" in capsys.readouterr().err


def test_the_task_reaches_the_rules(faulty: str, capsys):
    assert _run(faulty, "--task", "segment", "--quiet") == 1
    assert "FS058 [fatal]" in (told := capsys.readouterr().out) and "explains 2 TX009" in told


def test_unusable_data_is_one_error(tmp_path: Path, capsys):
    assert _run(str(tmp_path / "nowhere.yaml")) == 2
    assert "does not exist" in capsys.readouterr().err


def test_an_interrupt_ends_with_130_and_leaves_nothing_behind(tmp_path, capsys):
    """A real signal in the middle of a scan of 12 000 images."""
    data = make_dataset(tmp_path / "set", n_train=1, n_val=1, seed=0)
    (image,) = (data.parent / "images" / "train").iterdir()
    for number in range(12_000):
        os.link(image, image.with_name(f"copy{number}.jpg"))
    before = sorted(tmp_path.rglob("*"))
    usual = signal.signal(signal.SIGALRM, signal.default_int_handler)
    gc.disable()  # a signal that arrives in a callback of the collector, as Hypothesis has one, is lost
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        code = main(["lint", str(data)])
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
    assert code == 130
    assert "interrupted" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
