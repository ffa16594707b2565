"""SECURITY.md: every promise names tests that are there, and every option, variable and rule that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from yolo_nanfix.cli.parsing import COMMANDS, build_parser
from yolo_nanfix.linting.registry import all_rules

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def promises() -> list[tuple[int, str]]:
    """Number and text of each promise."""
    part = TEXT.partition("## Promises")[2].partition("## What is not promised")[0]
    found = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^#|\Z)", part, re.MULTILINE | re.DOTALL)
    return [(int(number), text) for number, text in found]


def names_in(file: Path) -> set[str]:
    """The names of the tests of a module."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_promise_names_its_tests_and_these_are_there():
    assert [number for number, _ in promises()] == list(range(1, len(promises()) + 1))
    assert [number for number, text in promises() if not TEST.search(text)] == []
    named = TEST.findall(TEXT)
    assert len(named) > len(promises()) > 10
    missing = [f"{file}::{name}" for file, name in named if name not in names_in(ROOT / file)]
    assert missing == []


def test_every_command_option_variable_rule_and_script_exists():
    words = set(re.findall(r"`([^`]+)`", TEXT))
    options = set()
    for name in COMMANDS:
        commands = next(a for a in build_parser([name])._actions if a.dest == "command")
        options |= {word for action in commands.choices[name]._actions for word in action.option_strings}
    wanted = {option for word in words for option in re.findall(r"--[a-z-]+", word)}
    assert wanted and wanted - options == set()
    named = {word.removeprefix("yolo-nanfix ").split()[0] for word in words if word.startswith("yolo-nanfix ")}
    assert named and named - set(COMMANDS) == set()
    codes = {word for word in words if re.fullmatch(r"[A-Z]{2}\d{3}", word)}
    assert codes and codes - {rule.code for rule in all_rules()} == set()
    files = {word for word in words if word.startswith("scripts/")}
    assert files and all((ROOT / file).is_file() for file in files)
    for variable in (word for word in words if word.startswith("YOLO_")):
        assert any(variable in file.read_text(encoding="utf-8") for file in (ROOT / "yolo_nanfix").rglob("*.py")), (
            variable
        )


def test_reports_go_where_they_are_read():
    assert "Report a vulnerability" in TEXT and "@" not in TEXT.replace("@TAG", "")
