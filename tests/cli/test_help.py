"""The help of every command: it fits 80 columns, shows examples that are right, and comes at once."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from yolo_nanfix.cli.main import main
from yolo_nanfix.cli.parsing import COMMANDS, build_parser


def help_of(command: str, capsys, monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def examples(text: str) -> list[str]:
    """The command lines under `examples:`, those inside others, too; without what a shell does with their output."""
    lines = [line for line in text.partition("\nexamples:\n")[2].splitlines() if not line.startswith("  #")]
    found = []
    for line in lines:
        inner = re.findall(r"\$\((.*?)\)", line)
        outer = re.sub(r'"?\$\(.*?\)"?', "", line)
        found += [part.strip() for whole in (*inner, outer) for part in re.split(r"&&|\|\||>>?", whole)]
    return [part for part in found if part.startswith("yolo-nanfix ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_its_examples_parse(command: str, capsys, monkeypatch):
    text = help_of(command, capsys, monkeypatch)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "--json" in text and "--quiet" in text
    shown = examples(text)
    assert any(line.startswith(f"yolo-nanfix {command} ") or line == f"yolo-nanfix {command}" for line in shown)
    for line in shown:
        words = shlex.split(line)[1:]
        args, rest = build_parser(words).parse_known_args(words)
        assert args.command == words[0] and not rest, line


def test_the_list_of_commands_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([]) == 2
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines()) and set(COMMANDS) <= set(text.split())


def test_the_help_of_no_command_imports_anything_heavy():
    code = "from yolo_nanfix.cli.parsing import COMMANDS, build_parser\n[build_parser([name]) for name in COMMANDS]"
    words = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    heavy = {"torch", "ultralytics", "numpy", "polars", "cv2", "rich", "jinja2", "argcomplete"}
    assert not heavy & set(done.stdout.split())
