"""The options of `yolo-nanfix lint`, `yolo-nanfix rule` and the pre-commit hook, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from linting.tiny_set import TinySet
from surroundings import LIMIT

from yolo_nanfix.api import rules
from yolo_nanfix.cli.commands import lint, rule
from yolo_nanfix.cli.main import main
from yolo_nanfix.linting.selection import KEYS

FAULTY = "0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n0 0.5 0.9 0.2 0.5\n"
HOOKS = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"
COMMAND = [sys.executable, "-m", "yolo_nanfix"]
README = HOOKS.with_name("README.md")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch) -> TinySet:
    """BX004 (error) on line 1 and BX006 (warning) on line 3 of one label file, in the current folder."""
    monkeypatch.chdir(tmp_path)
    tiny = TinySet(tmp_path / "set")
    tiny.rows(FAULTY)
    return tiny


def codes(capsys, *words: str, expect: int = 1) -> list[str]:
    assert main(["lint", *words, "--output-format", "concise"]) == expect
    return re.findall(r"(?<=: )[A-Z]{2}\d{3}(?= )", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("--select BX", ["BX004", "BX006"]),
        ("--select CL,BX006 --select box-side-zero", ["BX004", "BX006"]),
        ("--ignore BX004", ["BX006"]),
        ("--select CL --extend-select BX004", ["BX004"]),
        ("--severity BX004=info --severity BX006=info", ["BX004", "BX006"]),
        ("--select CL", []),
        ("--select ALL --ignore BX", []),
    ],
)
def test_choice(tiny: TinySet, capsys, words: str, found: list[str]):
    failing = found and "info" not in words
    assert codes(capsys, "set", *words.split(), expect=1 if failing else 0) == found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("set --select BX0044", "--select: 'BX0044' names no rule; did you mean 'BX004'?"),
        ("set --severity BX004=fatl", "'fatl' is no severity; did you mean 'fatal'?"),
        ("set --severity BX004", "not of the form RULE=LEVEL"),
        ("set --imgsz 0", "--imgsz must be a whole number of pixels above 0"),
        ("set other", "one dataset at a time"),
        ("", "say which dataset"),
        ("--files", "say which dataset"),
        ("set --statistics --output-format junit", "--statistics has the forms text and json"),
        ("set --watch --write-baseline", "do not go together"),
        ("set --write-baseline", "--write-baseline needs --baseline FILE"),
        ("set --baseline b --write-baseline --files set/data.yaml", "a baseline is written for a whole dataset"),
        ("set --baseline b", "does not exist; --write-baseline makes it"),
        ("--files set/nothing.txt", "does not exist"),
        ("set --select BX --watch --ignore Q", "--ignore: 'Q' names no rule"),
    ],
)
def test_wrong_use_exits_2_with_one_line(tiny: TinySet, capsys, words: str, says: str):
    assert main(["lint", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert says in err and len(err.splitlines()) == 1 and out == ""


def test_flags_beat_files(tiny: TinySet, capsys):
    (tiny.root / "nanfix.yaml").write_text("lint: {select: [BX006], imgsz: 32}")
    assert codes(capsys, "set") == ["BX006"]
    assert codes(capsys, "set", "--select", "BX004") == ["BX004"]
    assert codes(capsys, "set", "--isolated") == ["BX004", "BX006"]
    (tiny.root / "nanfix.yaml").write_text("lint: {severity: {BX004: eror}}")
    assert main(["lint", "set"]) == 2
    assert "nanfix.yaml: lint.severity 'BX004': 'eror' is no severity" in capsys.readouterr().err


def test_exit_zero_and_statistics(tiny: TinySet, capsys):
    assert codes(capsys, "set", "--exit-zero", expect=0) == ["BX004", "BX006"]
    assert main(["lint", "set", "--statistics"]) == 1
    assert capsys.readouterr().out == (
        "1  BX004  [error]    box-side-zero\n1  BX006  [warning]  box-spills-out\n2  total\n"
    )
    assert main(["lint", "set", "--statistics", "--output-format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told[0] == {"count": 1, "code": "BX004", "severity": "error", "name": "box-side-zero"}


def test_baseline(tiny: TinySet, capsys):
    assert main(["lint", "set", "--baseline", "known.json", "--write-baseline"]) == 0
    assert "known.json holds 2 findings" in capsys.readouterr().out
    assert main(["lint", "set", "--baseline", "known.json"]) == 0
    assert "2 findings of the baseline are not shown" in capsys.readouterr().out
    tiny.rows(FAULTY + "0 0.2 0.2 0 0.1\n")
    assert codes(capsys, "set", "--baseline", "known.json") == ["BX004"]


@pytest.mark.parametrize("form", lint.FORMS)
def test_every_form_goes_to_stdout_and_to_a_file(tiny: TinySet, form: str, capsys):
    assert main(["lint", "set", "--output-format", form]) == 1
    out = capsys.readouterr().out
    assert main(["lint", "set", "--output-format", form, "--output-file", "report"]) == 1
    assert capsys.readouterr().out == ""
    written = Path("report").read_text(encoding="utf-8")
    assert "BX004" in written and (written == out or form == "text")


def test_a_terminal_without_unicode_gets_escapes(tiny: TinySet):
    image, label = tiny.root / "images/train/a.jpg", tiny.root / "labels/train/a.txt"
    image.rename(image.with_name("ä\udcff.jpg"))
    label.rename(label.with_name("ä\udcff.txt"))
    for form in ("text", "full", "csv", "github"):  # the others are ASCII anyway
        run = subprocess.run(
            [*COMMAND, "lint", "set", "--output-format", form, "--select", "BX"],
            capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, timeout=LIMIT,
        )  # fmt: skip
        assert run.returncode == 1 and b"Traceback" not in run.stderr, (form, run.stderr)
        assert b"BX004" in run.stdout


def test_help_and_version_import_nothing_heavy():
    for words in (["lint", "--help"], ["rule", "--help"], ["--version"]):
        code = (
            "import sys\nfrom yolo_nanfix.cli.main import main\n"
            f"try:\n    main({words!r})\nexcept SystemExit as e:\n    assert e.code == 0\n"
            "print(*sorted({m.split('.')[0] for m in sys.modules}))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.splitlines()[-1].split())
        assert not {"torch", "ultralytics", "numpy", "polars", "cv2", "rich"} & loaded, words


def test_every_option_has_help(capsys):
    with pytest.raises(SystemExit):
        main(["lint", "--help"])
    text = capsys.readouterr().out
    for option in (
        "--task", "--select", "--extend-select", "--ignore", "--severity", "--deep", "--imgsz", "--files", "--baseline",
        "--write-baseline", "--isolated", "--output-format", "--output-file", "--statistics", "--quiet", "--exit-zero",
        "--watch",
    ):  # fmt: skip
        assert re.search(rf"^ +{option}[ ,].*(\n +)?[a-z]", text, re.MULTILINE), option


# rule and explain


@pytest.mark.parametrize("word", ["BX004", "bx004", "box-side-zero", "Box-Side-Zero"])
@pytest.mark.parametrize("command", ["rule", "explain"])
def test_a_rule_is_told_whole(command: str, word: str, capsys):
    assert main([command, word]) == 0
    out = capsys.readouterr().out
    (told,) = (r for r in rules() if r.code == "BX004")
    for text in (told.code, told.name, told.title, told.why, told.upstream, told.example, told.fix, "error"):
        assert text in out


def test_every_rule_is_listed_and_is_json(capsys):
    assert main(["rule", "--all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [r.code for r in rules()]
    assert main(["rule", "--all", "--json"]) == 0
    assert [told["code"] for told in json.loads(capsys.readouterr().out)] == [r.code for r in rules()]
    assert main(["rule", "TX009", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {*rule.FIELDS, "autofix"} and (told["severity"], told["effect"]) == ("fatal", "crashes")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("BX0044", "did you mean 'BX004'?"),
        ("box-side-zer", "did you mean 'BX004'?"),
        ("qqq", "'yolo-nanfix rule --all' lists them"),
        ("", "say one rule"),
        ("BX004 --all", "say one rule"),
    ],
)
def test_an_unknown_rule(words: str, says: str, capsys):
    assert main(["rule", *words.split()]) == 2
    assert says in capsys.readouterr().err


# Single files and the hook


def test_files_stand_before_or_after_other_options(tiny: TinySet, capsys):
    label, other = "set/labels/train/a.txt", "set/labels/val/b.txt"
    assert codes(capsys, "--files", label, other) == ["BX004", "BX006"]
    assert codes(capsys, "--files", "--select", "BX004", label, other) == ["BX004"]
    assert codes(capsys, "set", "--files", label) == ["BX004", "BX006"]
    assert codes(capsys, "--files", other, expect=0) == []


def test_annotations_of_another_format_need_their_dataset_named(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("instances.json").write_text('{"images": [], "annotations": [], "categories": []}')
    Path("package.json").write_text('{"name": "no dataset"}')
    assert main(["lint", "--files", "package.json"]) == 0
    assert main(["lint", "--files", "package.json", "instances.json"]) == 2
    error = capsys.readouterr().err
    assert "there is no data.yaml above instances.json; name its dataset: yolo-nanfix lint instances.json" in error


def hook(*files: str) -> subprocess.Popen[str]:
    """The hook's command as pre-commit runs it, from the top of the repository."""
    settings, _ = yaml.safe_load(HOOKS.read_text())
    program, *words = shlex.split(settings["entry"])
    assert program == "yolo-nanfix"
    return subprocess.Popen([*COMMAND, *words, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_hook_with_partial_lists_in_several_processes(tiny: TinySet):
    settings, of_system = yaml.safe_load(HOOKS.read_text())
    assert settings["id"] == "yolo-nanfix-lint"
    for key in ("entry", "files", "require_serial"):
        assert settings[key] == of_system[key]
    for name in ("a.txt", "a.JPG", "b.jpeg", "data.yaml", "x.npy"):
        assert re.search(settings["files"], name)
    assert not re.search(settings["files"], "train.py")
    Path("notes.txt").write_text("no label\n")
    before = tiny.state()
    batches = (
        ["set/labels/train/a.txt"],
        ["set/labels/val/b.txt", "notes.txt"],
        ["set/images/train/a.jpg"],
        ["notes.txt"],
    )
    runs = [hook(*batch) for batch in batches]
    ends = [run.communicate(timeout=LIMIT) for run in runs]
    assert [run.returncode for run in runs] == [1, 0, 1, 0]
    assert "a.txt:1: BX004" in ends[0][0] and "BX" not in ends[1][0] and "a.txt:1: BX004" in ends[2][0]
    assert not any(err for _, err in ends)
    assert tiny.state() == before


# Watching


def wait_for(run: subprocess.Popen[str], log: Path, text: str, times: int) -> None:
    end = time.monotonic() + LIMIT
    while log.read_text().count(text) < times:
        assert run.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def test_watch_says_what_ends_it_where_ctrl_c_is_ignored(tiny: TinySet):
    log = Path("log")
    with open(log, "w") as stream:
        words = ["bash", "-c", "trap '' INT; exec \"$@\"", "bash", *COMMAND, "lint", "set", "--watch"]
        run = subprocess.Popen(words, stdout=stream, stderr=stream)
    try:
        wait_for(run, log, "Watching", 1)
        assert f"; kill {run.pid} ends." in log.read_text()
        run.send_signal(signal.SIGINT)
        tiny.yaml("train: [\n")
        wait_for(run, log, "Watching", 2)
        run.terminate()
        assert run.wait(timeout=LIMIT) == 143
        assert log.read_text().endswith("yolo-nanfix: ended by SIGTERM\n")
    finally:
        run.kill()
        run.wait()


def test_watch_lints_again_after_each_change_and_ends_with_130(tiny: TinySet):
    log = Path("log")
    with open(log, "w") as stream:
        words = [*COMMAND, "lint", "set", "--watch", "--output-format", "concise"]
        run = subprocess.Popen(words, stdout=stream, stderr=stream)
    try:
        wait_for(run, log, "Watching", 1)
        assert log.read_text().count("BX004") == 1
        tiny.rows("0 0.5 0.5 0.1 0.2\n1 0.3 0.3 0.1 0.2\n")
        wait_for(run, log, "Watching", 2)
        assert log.read_text().count("BX004") == 1
        tiny.yaml("train: [\n")
        wait_for(run, log, "Watching", 3)
        assert "not valid YAML" in log.read_text()
        tiny.yaml("train: images/train\nval: images/val\nnames: [cat, dog]\n")
        tiny.rows(FAULTY)
        wait_for(run, log, "BX004", 2)
        (tiny.root / "nanfix.yaml").write_text("lint: {select: [BX006]}")
        wait_for(run, log, "BX006", 3)
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=LIMIT) == 130
    finally:
        run.kill()
        run.wait()
    assert "Traceback" not in log.read_text() and log.read_text().endswith("interrupted\n")


# What the README shows


def snippet(kind: str, word: str) -> str:
    """The fenced block of the README's lint section that holds a word."""
    section = README.read_text(encoding="utf-8").partition("## The lint rules")[2].partition("\n## ")[0]
    (found,) = (text for text in re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) if word in text)
    return found


def test_the_settings_of_the_readme_are_settings(tiny: TinySet, capsys):
    text = snippet("toml", "tool.yolo-nanfix.lint")
    (tiny.root / "pyproject.toml").write_text(text)
    (tiny.root / "known.json").write_text('{"version": 1, "datasets": {}}')
    assert main(["lint", "set", "--quiet"]) == 1
    assert "a.txt:3: BX006 [error]" in capsys.readouterr().out
    keys = set(re.findall(r"^([a-z-]+) =", text, re.MULTILINE)) | set(text.partition("# also: ")[2].strip().split(", "))
    assert keys == set(KEYS)


def test_the_workflow_of_the_readme_uses_the_action_and_the_hook_as_they_are():
    steps = yaml.safe_load(snippet("yaml", "runs-on"))["jobs"]["lint"]["steps"]
    action = yaml.safe_load(README.with_name("action.yml").read_text())
    assert set(steps[-1]["with"]) <= set(action["inputs"]) and "sarif" in steps[-1]["with"]
    (hook_repo,) = yaml.safe_load(snippet("yaml", "repos:"))["repos"]
    assert [one["id"] for one in hook_repo["hooks"]] == [yaml.safe_load(HOOKS.read_text())[1]["id"]]


def test_the_task_of_the_readme_finds_the_places(tiny: TinySet, capsys):
    (task,) = json.loads(snippet("json", "problemMatcher"))["tasks"]
    assert main([*shlex.split(task["command"])[1:2], "set", *shlex.split(task["command"])[3:]]) == 1
    pattern = task["problemMatcher"]["pattern"]
    found = [re.match(pattern.pop("regexp"), line) for line in capsys.readouterr().out.splitlines()[:1]]
    told = {name: found[0][group] for name, group in pattern.items()}
    message = told.pop("message")
    assert told == {"file": "set/labels/train/a.txt", "line": "1", "code": "BX004", "severity": "error"} and message


def test_jobs_and_cache(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("YOLO_NANFIX_CACHE", str(tmp_path / "memory"))
    tiny = TinySet(tmp_path / "set")
    tiny.rows("0 0.5 0.5 0 0.2\n")
    assert main(["lint", str(tiny.root), "--no-cache", "--jobs", "2"]) == 1
    assert not (tmp_path / "memory").exists()
    assert main(["lint", str(tiny.root)]) == 1
    assert len(list((tmp_path / "memory" / "lint").iterdir())) == 2
    assert main(["lint", str(tiny.root), "--jobs", "0"]) == 2
    assert "1 is the least" in capsys.readouterr().err
