"""`yolo-nanfix lint --fix`, `--unsafe-fixes`, `--diff`, `--undo`: what they print, change and answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from linting.tiny_set import ROWS, TinySet, encode, picture

from yolo_nanfix.cli.main import main

FAULTY = ROWS + "0 0.5 0.5 0.2 1.005\n1 0.3 0.3 0.1 0.2\n1 nan 0.5 0.2 0.2\n"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinySet:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    tiny = TinySet(tmp_path / "set")
    tiny.rows(FAULTY)
    return tiny


def lint(tiny: TinySet, *options: str) -> int:
    return main(["lint", str(tiny.root), "--isolated", *options])


def text(tiny: TinySet) -> str:
    return (tiny.root / "labels/train/a.txt").read_text()


def test_fix_fixes_says_so_and_reports_what_is_left(tiny: TinySet, capsys):
    assert lint(tiny, "--fix", "--output-format", "json") == 1
    out, err = capsys.readouterr()
    assert [f["code"] for f in json.loads(out)["findings"]] == ["FS055", "TX010"]  # the one image of train
    assert "fixed 2 findings in 1 file (1 BX005, 1 BX007)" in err
    assert "1 finding can be fixed with --unsafe-fixes" in err and "--undo takes it back" in err
    assert text(tiny) == ROWS + "0 0.5 0.5 0.2 1\n1 nan 0.5 0.2 0.2\n"
    assert lint(tiny, "--fix", "--unsafe-fixes") == 0
    assert text(tiny) == ROWS + "0 0.5 0.5 0.2 1\n"


def test_undo_goes_back_run_by_run(tiny: TinySet, capsys):
    lint(tiny, "--fix")
    between = text(tiny)
    lint(tiny, "--fix", "--unsafe-fixes")
    assert lint(tiny, "--undo") == 0 and text(tiny) == between
    assert "1 file as before the last fix run; 1 earlier" in capsys.readouterr().err
    assert lint(tiny, "--undo") == 0 and text(tiny) == FAULTY
    assert lint(tiny, "--undo") == 2
    assert "there is no fix run of" in capsys.readouterr().err


def test_diff_shows_and_writes_nothing(tiny: TinySet, tmp_path: Path, capsys):
    assert lint(tiny, "--diff", "--unsafe-fixes") == 1
    out, err = capsys.readouterr()
    assert "-1 nan 0.5 0.2 0.2\n" in out and "+0 0.5 0.5 0.2 1\n" in out
    assert "would fix 3 findings in 1 file" in err
    assert text(tiny) == FAULTY and not (tmp_path / "home").exists()


def test_only_chosen_rules_are_fixed(tiny: TinySet):
    assert lint(tiny, "--fix", "--select", "BX007") == 0
    assert text(tiny) == FAULTY.replace("1 0.3 0.3 0.1 0.2\n1 nan", "1 nan")


def test_options_that_contradict_each_other_are_refused(tiny: TinySet, monkeypatch):
    monkeypatch.chdir(tiny.root)
    before = tiny.state()
    for options in (("--undo", "--fix"), ("--fix", "--write-baseline", "--baseline", "b.json")):
        assert lint(tiny, *options) == 2
    assert tiny.state() == before


def test_without_a_fix_option_nothing_is_written(tiny: TinySet, tmp_path: Path):
    before = tiny.state()
    assert lint(tiny) == 1
    assert tiny.state() == before and not (tmp_path / "home").exists()


def test_unsafe_fixes_alone_write_nothing_and_say_how_to_write(tiny: TinySet, tmp_path: Path, capsys):
    before = tiny.state()
    for more in ((), ("--quiet",), ("--json",)):
        assert lint(tiny, "--unsafe-fixes", *more) == 1
        assert "--unsafe-fixes alone writes nothing: --fix writes" in capsys.readouterr().err
    assert tiny.state() == before and not (tmp_path / "home").exists()


@pytest.mark.parametrize("more", [("--quiet",), ("--json",), ("--json", "--quiet"), ("--output-format", "concise")])
def test_a_run_that_wrote_says_so_and_names_undo(tiny: TinySet, capsys, more: tuple[str, ...]):
    assert lint(tiny, "--fix", *more) == 1
    out, err = capsys.readouterr()
    assert "--undo takes it back" in err and "1 file" in err
    if "--json" in more:
        fixed = json.loads(out)["fixed"]
        assert (fixed["done"], fixed["files"], fixed["unsafe"]) == ({"BX005": 1, "BX007": 1}, 1, 1)
        assert (fixed["background"], fixed["quarantined"]) == (0, 0)
    lint(tiny, "--fix", *more)
    out, err = capsys.readouterr()
    assert "--undo" not in err  # nothing was left to write


def test_how_many_images_went_to_quarantine_and_how_many_are_background(tiny: TinySet, capsys):
    tiny.put("images/train/c.jpg", encode(".jpg", picture(seed=5)))
    tiny.put("labels/train/c.txt", "0 nan 0.5 0.2 0.2\n")
    lint(tiny, "--diff", "--unsafe-fixes", "--json")
    assert json.loads(capsys.readouterr().out)["quarantined"] == 1
    assert lint(tiny, "--fix", "--unsafe-fixes") == 0
    err = capsys.readouterr().err
    assert "1 image went to quarantine with the labels: " in err and "0 images became background" in err
    assert lint(tiny, "--undo") == 0
    lint(tiny, "--fix", "--unsafe-fixes", "--json")
    fixed = json.loads(capsys.readouterr().out)["fixed"]
    assert (fixed["quarantined"], fixed["background"]) == (1, 0)
