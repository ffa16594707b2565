"""What `yolo-nanfix lint` prints for people: fixable findings, where things went, and what a mistyped word meant."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from linting.tiny_set import ROWS, TinySet, encode, picture

from yolo_nanfix.cli.main import main

FAULTY = "0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n1 0.3 0.3 0.1 0.2\n0 0.5 0.9 0.2 0.5\n0 0.5 0.5 0.2 1.005\n" + "".join(
    f"{n % 2} 0.{10 + n} 0.5 0.1 0.1\n" for n in range(40)
)
"""BX004 (unsafe), BX007 (safe), BX006 far out (unsafe) and within 1 % (safe)."""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch) -> TinySet:
    monkeypatch.chdir(tmp_path)
    tiny = TinySet(tmp_path / "my set")
    tiny.rows(FAULTY)
    return tiny


def shown(capsys, *words: str, expect: int = 1) -> tuple[str, str]:
    assert main(["lint", *words]) == expect
    return capsys.readouterr()


def test_what_is_marked_and_counted_is_what_the_command_fixes(tiny: TinySet, capsys):
    out, _ = shown(capsys, "my set")
    marked = {line.partition(" ")[0].strip(":") for line in out.splitlines() if "] [*] " in line}
    assert marked == {"labels/train/a.txt:3", "labels/train/a.txt:5"}
    told = re.search(r"\[\*\] (\d+) fixable with --fix, (\d+) more with --fix --unsafe-fixes: yolo-nanfix (.*)\n", out)
    assert told and told.groups() == ("2", "2", "lint 'my set' --fix")
    before = tiny.state()
    out, _ = shown(capsys, "my set", "--unsafe-fixes", "--diff")
    assert tiny.state() == before
    words = shlex.split(told[3])
    main(words)
    left, err = capsys.readouterr()
    assert "fixed 2 findings" in err and "[*] 2 fixable with --fix --unsafe-fixes" in left
    main([*words, "--unsafe-fixes"])
    left, err = capsys.readouterr()
    assert "fixed 2 findings" in err and "fixable" not in left


def test_the_command_asks_what_was_asked(tiny: TinySet, capsys):
    out, _ = shown(capsys, "my set", "--select", "BX,SG", "--ignore", "BX007", "--deep")
    assert "yolo-nanfix lint 'my set' --deep --select BX,SG --ignore BX007 --fix\n" in out


def test_a_healthy_set_is_offered_no_fix(tiny: TinySet, capsys):
    tiny.rows(ROWS)
    assert "fixable" not in shown(capsys, "my set", expect=0)[0]


def test_of_very_many_it_is_said_that_they_are_at_most_so_many(tiny: TinySet, capsys, monkeypatch):
    monkeypatch.setattr("yolo_nanfix.linting.autofix.autofix.MOST_LOOKED_AT", 1)
    assert "[*] 2 fixable with --fix, up to 2 more with --fix --unsafe-fixes" in shown(capsys, "my set")[0]
    monkeypatch.setattr("yolo_nanfix.linting.autofix.autofix.MOST_TRIED", 3)
    out, _ = shown(capsys, "my set")
    assert "[*] up to 3 fixable with --fix, up to 1 more with --fix --unsafe-fixes" in out


def test_both_of_a_pair_are_named_from_the_dataset_on(tiny: TinySet, capsys, monkeypatch):
    tiny.rows(ROWS)
    for name in ("train/c", "val/d"):
        tiny.put(f"images/{name}.jpg", encode(".jpg", picture(seed=4)))
        tiny.put(f"labels/{name}.txt", ROWS)
    line = "images/val/d.jpg: SP002 [warning] the same bytes as images/train/c.jpg (train)\n"
    assert line in shown(capsys, "my set")[0]
    monkeypatch.chdir("/")
    assert line in shown(capsys, str(tiny.root), "--quiet")[0]
    monkeypatch.chdir(tiny.root.parent)
    said = shown(capsys, "my set", "--files", "my set/images/val/d.jpg")[0]
    assert said.splitlines()[1].startswith("my set/images/val/d.jpg: SP002 ")


@pytest.mark.parametrize("form", ["text", "json", "sarif", "html", "csv"])
def test_what_went_to_a_file_is_said_on_stderr(tiny: TinySet, form: str, capsys):
    out, err = shown(capsys, "my set", "--output-format", form, "--output-file", "out file")
    assert out == "" and err.endswith(f"wrote out file: 1 error, 3 warnings as {form}\n") and Path("out file").is_file()
    assert shown(capsys, "my set", "--output-format", form, "--output-file", "out file", "--quiet") == ("", "")
    out, err = shown(capsys, "my set", "--json", "--output-format", form, "--output-file", "out file")
    assert json.loads(out)["findings"] and "wrote out file" in err


def test_statistics_end_with_the_total(tiny: TinySet, capsys):
    out, _ = shown(capsys, "my set", "--statistics")
    assert out.splitlines()[-1] == "4  total" and sum(int(line.split()[0]) for line in out.splitlines()[:-1]) == 4
    tiny.rows(ROWS)
    assert shown(capsys, "my set", "--statistics", expect=0)[0] == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("lintt x", "'lintt' is unknown; did you mean 'lint'?"),
        ("LINT x", "did you mean 'lint'?"),
        ("xyzzy", "known: train, lint, rule"),
        ("lint x --sellect BX", "unrecognized arguments: --sellect BX; did you mean --select?"),
        ("lint x --fix-unsafe", "did you mean --unsafe-fixes?"),
        ("lint x --output-fromat=json", "did you mean --output-format?"),
        ("lint x --output-format jsn", "argument --output-format: 'jsn' is unknown; did you mean 'json'?"),
        ("lint x --task segmnt", "did you mean 'segment'?"),
        ("lint x --fail-on eror", "did you mean 'error'?"),
        ("lint x --select BX0044", "'BX0044' names no rule; did you mean 'BX004'?"),
        ("lint x --zzzzzz", "unrecognized arguments: --zzzzzz\n"),
        ("handoff x y --to labelstudio", "did you mean 'label-studio'?"),
        ("handoff x y --to cvat --unlabeled", "did you mean --unlabelled?"),
        ("explain rect-validaton", "did you mean 'rect-validation'?"),
        ("--versoin", "did you mean --version?"),
    ],
)
def test_a_mistyped_word_is_met_with_the_nearest(words: str, says: str, capsys):
    assert main(words.split()) == 2
    assert says in capsys.readouterr().err


def test_words_of_any_length_are_shown_cut(capsys):
    for words in (["handoff", f"--json={'x' * 70_000}"], ["lint", "x", "--" + "y" * 70_000], ["z" * 70_000]):
        assert main(words) == 2
        assert len(capsys.readouterr().err) < 4000
