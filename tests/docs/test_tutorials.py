"""What the documentation shows can be run: each command is one, and the tutorials on rules and patches work."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from site_pages import DOCS, ROOT, WRITTEN, blocks, console_lines

from yolo_nanfix import api
from yolo_nanfix.cards import load_all
from yolo_nanfix.cli.parsing import build_parser
from yolo_nanfix.errors import UsageError
from yolo_nanfix.linting.selection import KEYS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_each_command_of_the_pages_is_one(capsys):
    ours = [(page, shlex.split(line, comments=True)) for page, line in console_lines() if "yolo-nanfix " in line]
    assert len(ours) > 20
    for page, line in ours:
        if line[0].removeprefix(".venv/bin/") == "yolo-nanfix":
            try:
                args, rest = build_parser(line[1:]).parse_known_args(line[1:])
            except (SystemExit, UsageError) as error:
                pytest.fail(f"{page}: {shlex.join(line)}: {error} {capsys.readouterr().err}")
            assert args.command and not [word for word in rest if "=" not in word], f"{page}: {shlex.join(line)}"


def test_each_script_of_the_pages_is_there():
    for page, line in console_lines():
        for script in re.findall(r"\bscripts/\w+\.py", line):
            assert (ROOT / script).is_file(), f"{page}: {line}"
        if line.startswith("make "):
            rule = re.compile(rf"^[\w -]*(?<![\w-]){line.split()[1]}(?![\w-])[\w -]*:", re.MULTILINE)
            assert rule.search((ROOT / "Makefile").read_text()), f"{page}: {line}"


READERS = {"yaml": yaml.safe_load, "toml": tomllib.loads, "json": json.loads}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.stem)
def test_blocks_are_well_formed(page):
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, str(page), "exec")
        elif block.language in READERS:
            assert READERS[block.language](block.text)


def test_settings_of_the_pages_are_known():
    known = {row[0] for row in api.guard_settings()} | {name for card in load_all().values() for name in card.params}
    known |= {"enable", "disable", "guard"}
    for page in WRITTEN:
        for block in blocks(page):
            if block.language == "toml":
                table = tomllib.loads(block.text)["tool"]["yolo-nanfix"]
                assert set(table.pop("lint", {})) <= set(KEYS)
                known = {row[0] for row in api.guard_settings()} | {
                    p for card in load_all().values() for p in card.params
                }
                assert set(table) <= known | {"enable", "disable", "guard"}


def test_the_github_action_is_given_inputs_that_it_has():
    inputs = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
    texts = [block.text for block in blocks(DOCS / "tutorials" / "use-in-ci.md") if block.language == "yaml"]
    steps = [step for text in texts for job in yaml.safe_load(text).get("jobs", {}).values() for step in job["steps"]]
    (ours,) = [step for step in steps if "yolo-nanfix@" in step["uses"]]
    assert set(ours["with"]) <= set(inputs)


@pytest.fixture
def clone(tmp_path) -> Path:
    """A copy of what a contributor works on."""
    for folder in ("yolo_nanfix", "patches", "tests", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def follow(page: str, clone: Path) -> None:
    """Write the files of a tutorial, as their captions say."""
    done = 0
    for block in blocks(DOCS / "tutorials" / page):
        if block.caption:
            path = clone / block.caption.removeprefix("append to ")
            appended = block.caption.startswith("append to ")
            assert path.is_file() == appended, block.caption
            with path.open("a" if appended else "w", encoding="utf-8") as file:
                file.write(f"\n\n{block.text}" if appended else block.text)
            done += 1
    assert done > 1


def run(clone: Path, line: str) -> str:
    """What a command of a tutorial prints in the copy."""
    words = shlex.split(line)
    module = {".venv/bin/yolo-nanfix": ["-m", "yolo_nanfix"], ".venv/bin/python": []}[words[0]]
    env = {**os.environ, "PYTHONPATH": str(clone), "YOLO_NANFIX_CACHE": str(clone / "cache"), "COLUMNS": "100"}
    command = [sys.executable, *module, *words[1:]]
    done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def lines_of(page: str) -> list[str]:
    shown = [line for name, line in console_lines() if name == page]
    return [line for line in shown if line.startswith(".venv/")]


def outputs_of(page: str) -> list[str]:
    return [block.text for block in blocks(DOCS / "tutorials" / page) if block.language == "text"]


def test_the_rule_of_the_tutorial_works(clone):
    follow("write-a-rule.md", clone)
    test, rule = lines_of("write-a-rule.md")
    told, of_rule = outputs_of("write-a-rule.md")
    (passed,) = re.findall(r"\d+ passed", told)
    assert f"\n{passed}" in run(clone, test)
    assert run(clone, rule) == of_rule


def test_the_patch_of_the_tutorial_works(clone):
    follow("write-a-patch.md", clone)
    test, patches = lines_of("write-a-patch.md")
    assert "3 passed" in run(clone, test)
    shown = outputs_of("write-a-patch.md")[0]
    assert shown.replace("8.4.190", "") in re.sub(r"ultralytics \d[\d.]+", "ultralytics ", run(clone, patches))


def told(shown: str, real: str) -> list[str]:
    """The lines of an output on a page that are not in the real one in this order; `...` stands for some left out."""
    left, missing = real.splitlines(), []
    for line in shown.splitlines():
        if line == "...":
            continue
        if line.rstrip() in (rest := [one.rstrip() for one in left]):
            left = left[rest.index(line.rstrip()) + 1 :]
        else:
            missing.append(line)
    return missing


def test_the_outputs_of_the_tutorial_on_datasets_are_real(tmp_path):
    """Every command of the page, one after the other; its output as shown."""
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    env |= {"XDG_DATA_HOME": str(tmp_path / "home"), "YOLO_NANFIX_CACHE": str(tmp_path / "cache")}
    env["PYTHONUNBUFFERED"] = "1"  # both streams in order, as on a terminal
    real, compared = "", 0
    for block in blocks(DOCS / "tutorials" / "check-a-dataset.md"):
        if block.language == "console":
            script = "\n".join(line[2:] for line in block.text.splitlines())
            command = ["bash", "-c", script]
            done = subprocess.run(
                command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            assert done.returncode in (0, 1), done.stdout
            real = done.stdout.replace(str(tmp_path), "/tmp/try")
        elif block.language == "text":
            assert told(block.text, real) == [], real
            compared += 1
    assert compared > 6
