"""Where results go and how they look: `--json`, `--quiet`, colours and frames, in processes of their own."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import lab
import pytest
from linting.tiny_set import TinySet
from make_datasets import make_dataset
from marks import matrix
from surroundings import LIMIT

from yolo_nanfix.cli.main import main
from yolo_nanfix.cli.parsing import COMMANDS

COMMAND = [sys.executable, "-m", "yolo_nanfix"]
BOX = re.compile("[\u2500-\u259f]")
SEQUENCE = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")
COLOUR = re.compile(r"\x1b\[[\d;]*3[1-7]m")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONIOENCODING": "utf-8", **more}


def piped(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, env=environment(**more), timeout=LIMIT)


def on_terminal(*words: str, **more: str) -> str:
    """What a terminal of 80 columns is sent, stdout and stderr together."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *words], stdout=theirs, stderr=theirs, env=environment(**more)) as run:
        os.close(theirs)
        got = bytearray()
        try:
            while part := os.read(ours, 65536):
                got += part
        except OSError:  # the last writer has closed it
            pass
        os.close(ours)
        run.wait(timeout=LIMIT)
    return got.decode()


@pytest.fixture
def called(capfd):
    """Runs a command in this process, but with real files as stdout and stderr."""

    def called(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return (code, *capfd.readouterr())

    return called


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch) -> TinySet:
    monkeypatch.chdir(tmp_path)
    tiny = TinySet(tmp_path / "set")
    tiny.rows("0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n0 0.5 0.5 0.2 1.005\n")
    return tiny


# One document


JSON = {
    "lint": (["lint", "set"], 1, {"findings", "exit_code"}),
    "lint --diff": (["lint", "set", "--diff"], 1, {"diff", "done"}),
    "lint --fix": (["lint", "set", "--fix"], 1, {"findings"}),
    "lint --write-baseline": (["lint", "set", "--baseline", "b", "--write-baseline"], 0, {"baseline", "findings"}),
    "rule": (["rule", "BX004"], 0, {"code", "why", "fix"}),
    "handoff": (["handoff", "set", "out", "--to", "csv"], 0, {"folder", "images"}),
    "explain rule": (["explain", "bx004"], 0, {"code", "why", "fix"}),
    "explain": (["explain", "rect-validation"], 0, {"name", "targets", "symptom", "affected", "params"}),
    "completion": (["completion", "fish"], 0, {"shell", "script"}),
    "run": (["run", "--json", "--", "sh", "-c", "echo noise; exit 7"], 7, {"command", "exit_code"}),
    "error": (["lint", "nowhere.yaml"], 2, {"error", "exit_code"}),
    "error of the parser": (["lint", "--select"], 2, {"error", "exit_code"}),
    "unknown command": (["lintt"], 2, {"error", "exit_code"}),
    "error of another command": (["explain", "nothing-like-it"], 2, {"error", "exit_code"}),
}


@pytest.mark.parametrize("case", JSON)
def test_stdout_holds_one_document(case: str, faulty: TinySet, called):
    words, code, keys = JSON[case]
    ended, out, err = called(*words, *([] if "--json" in words else ["--json"]))
    assert ended == code, err
    told = json.loads(out, parse_constant=pytest.fail)
    assert keys <= set(told) and told.get("exit_code", code) == code
    if "error" in told:
        assert err.splitlines()[-1] == f"yolo-nanfix: error: {told['error']}"


def test_undo_and_lists_are_documents_too(faulty: TinySet, called):
    called("lint", "set", "--fix")
    assert json.loads(called("lint", "set", "--undo", "--json")[1])["files"] == 1
    assert len(json.loads(called("rule", "--all", "--json")[1])) > 200
    counts = json.loads(called("lint", "set", "--statistics", "--json")[1])
    assert {row["code"] for row in counts} == {"BX004", "BX005"}


@pytest.mark.parametrize("option", ["--json", *matrix("--quiet")])
def test_train_keeps_its_log_off_stdout(option: str, tmp_path: Path):
    """Ultralytics logs on stdout; with `--quiet` nothing is said of a healthy run."""
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, size=(64, 64), seed=0)
    settings = [f"model={lab.TINY}", "epochs=1", "imgsz=64", "batch=4", "workers=0", "device=cpu", "plots=False"]
    done = piped("train", str(data), *settings, f"project={tmp_path}", "name=run", option)
    told = json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())
    assert done.returncode == 0, done.stderr
    if option == "--quiet":
        assert done.stdout == "" and "epochs completed" not in done.stderr
    else:
        summary = json.loads(done.stdout)
        assert "1 epochs completed" in done.stderr and summary["healthy"]
        assert told["guard"] == summary["guard"] and told["metrics"] == summary["metrics"]


def test_a_form_for_a_file_beside_the_document(faulty: TinySet, called):
    _, out, _ = called("lint", "set", "--json", "--output-format", "sarif", "--output-file", "lint.sarif")
    assert json.loads(out)["findings"] and "runs" in json.loads(Path("lint.sarif").read_text())
    assert "name a file for sarif" in called("lint", "set", "--json", "--output-format", "sarif")[2]
    assert "--watch has no end" in called("lint", "set", "--json", "--watch")[2]


def test_an_error_is_one_line_whatever_it_quotes(faulty: TinySet, capsys):
    assert main(["lint", "x\n::error::\x1b[31m.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("yolo-nanfix: error: ") and "\x1b" not in line


@pytest.mark.parametrize(
    ("to", "code", "says"),
    [
        ("> /dev/full", 2, "cannot be printed: No space left"),
        (">&-", 0, ""),
        ("| true", 0, ""),
        (">&- 2>&- <&-", 0, ""),
    ],
)
@pytest.mark.parametrize("option", ["", "--json"])
def test_a_stdout_that_takes_nothing(to: str, code: int, says: str, option: str):
    line = f"set -o pipefail; {sys.executable} -m yolo_nanfix rule --all {option} {to}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(), timeout=LIMIT)
    assert done.returncode == code, done.stderr
    assert says in done.stderr and len(done.stderr.splitlines()) == bool(says)


# Quiet


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["lint", "set"], 2),
        (["lint", "set", "--baseline", "b", "--write-baseline"], 0),
        (["handoff", "set", "out", "--to", "csv"], 0),
        (["rule", "BX004"], 2),
        (["explain", "rect-validation"], 1),
    ],
)
def test_quiet_leaves_the_result(words: list[str], out: int, faulty: TinySet, called):
    _, shown, err = called(*words, "--quiet")
    assert len(shown.splitlines()) == out and err == ""


def test_quiet_fixes_say_what_was_left_and_that_they_wrote(faulty: TinySet, called):
    _, out, err = called("lint", "set", "--fix", "--quiet")
    assert "BX004" in out and err == "1 file changed; --undo takes it back\n"
    assert called("lint", "set", "--fix", "--quiet")[2] == ""  # nothing was left to write
    codes = called("rule", "--all", "--quiet")[1].split()
    assert "BX004" in codes and all(re.fullmatch(r"[A-Z]{2}\d{3}", code) for code in codes)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_common_options(command: str, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert capsys.readouterr().out.count("one JSON document on stdout") == 1


# Colours and frames


@pytest.mark.parametrize("words", [["lint", "set"], ["rule", "BX004"]])
def test_nothing_is_drawn_or_coloured_in_a_pipe(words: list[str], faulty: TinySet):
    out = piped(*words).stdout
    assert not BOX.search(out) and "\x1b" not in out
    forced = piped(*words, FORCE_COLOR="1")
    assert "\x1b[" in forced.stdout and not BOX.search(forced.stdout) and forced.stderr == ""
    assert re.sub(r"\x1b\[[\d;]*m", "", forced.stdout) == out


def test_a_terminal_gets_a_frame_and_colours(faulty: TinySet):
    shown = on_terminal("lint", "set")
    text = SEQUENCE.sub("", shown)
    assert "╭─ yolo-nanfix lint ─" in text and "╰─" in text and COLOUR.search(shown)
    assert {len(line) for line in text.splitlines() if line[:1] in ("╭", "│", "╰")} == {80}
    plain = on_terminal("lint", "set", NO_COLOR="1")
    assert "╭─ yolo-nanfix lint ─" in SEQUENCE.sub("", plain) and not COLOUR.search(plain)
    dumb = on_terminal("lint", "set", TERM="dumb")
    assert not BOX.search(dumb) and "\x1b" not in dumb and "Found 1 error" in dumb
    ascii_only = on_terminal("lint", "set", PYTHONIOENCODING="ascii")
    assert ascii_only.isascii() and "+-" in ascii_only


def test_progress_is_drawn_on_a_terminal_only_and_not_if_quiet(tmp_path: Path):
    data = make_dataset(tmp_path / "set", n_train=1, n_val=1, seed=0)
    (image,) = (data.parent / "images/train").iterdir()
    for number in range(3000):
        os.link(image, image.with_name(f"copy{number}.jpg"))
    hidden = "\x1b[?25l"  # the cursor, while a bar is drawn
    words = ["lint", str(data), "--select", "LY", "--no-cache"]
    assert hidden in on_terminal(*words)
    assert hidden not in on_terminal(*words, "--quiet") and hidden not in on_terminal(*words, TERM="dumb")
    assert "\x1b" not in piped(*words).stderr and "\x1b" not in piped(*words, FORCE_COLOR="1").stderr
