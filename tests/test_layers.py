"""The import rules: which room may import which, and what from outside. Also: files and functions stay short."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "yolo_nanfix"
PLAIN = {"incident_header", "regular", "safe_yaml", "shown"}
"""What all who read files of others use."""
VALUES = {"overrides", "errors", "findings", "tasks", "_version", "verdicts", "health"}
FOUNDATION = {"stopping", "unfinished"}
"""What every room may use: how a process ends, and how files are written whole."""
WINGS = {"patching", "guard", "diagnosis", "linting", "fixing", "handoff", "report", "pages", "tracking"}
MAY = {
    "errors": set(),
    "stopping": set(),
    "unfinished": set(),
    "tasks": set(),
    "choices": set(),
    "held": set(),
    "overrides": {"held"},
    "safe_yaml": set(),
    "shown": set(),
    "findings": {"choices", "held", "overrides", "tasks"},
    "_version": set(),
    "cells": set(),
    "own": set(),
    "regular": set(),
    "verdicts": set(),
    "health": set(),
    "incident_header": set(),
    "incident": {"errors", "incident_header"},
    "batches": set(),
    "cards": {"errors"},
    "upstream": {"errors"},
    "kept": set(),
    "training": {"errors", "patching", "upstream"},
    "numerics": set(),
    "clipping": set(),
    "decoders": set(),
    "linting": {"choices", "decoders", "errors", "findings", "overrides", "tasks"} | PLAIN,
    "fixing": {"errors", "findings"} | PLAIN,
    "mending": VALUES | PLAIN | {"fixing", "handoff", "linting"},
    "handoff": {"cells", "decoders", "errors", "findings", "overrides"} | PLAIN,
    "report": {"cells", "errors", "findings", "overrides", "tasks", "verdicts", "health", "_version"} | PLAIN,
    "pages": VALUES | PLAIN | {"report"},
    "showing": VALUES | PLAIN | {"pages", "linting", "fixing", "handoff"},
    "patching": {"cards", "upstream", "clipping", "numerics", "errors", "findings"},
    "guard": VALUES | {"shown", "upstream", "clipping", "incident", "batches", "kept", "numerics"},
    "diagnosis": VALUES | {"upstream", "incident", "batches", "cards", "kept", "numerics"},
    "settings": {"errors", "overrides"} | PLAIN,
    "drawing": VALUES | {"own", "pages", "report", "showing", "upstream"},
    "run_figures": WINGS | VALUES,
    "run_report": WINGS | VALUES | {"drawing", "own", "run_figures", "upstream"},
    "linter": {"linting", "settings", "regular", "report", "errors", "findings", "overrides"},
    "tracking": {"upstream"},
    "telling": WINGS | VALUES | {"upstream", "run_figures", "run_report"},
    "decisions": WINGS | VALUES | PLAIN | {"settings"},
    "switching": WINGS | VALUES | {"decisions", "incident", "settings", "telling", "upstream"},
    "api": WINGS | VALUES | {"drawing", "incident", "linter", "mending", "showing", "switching"},
    "launched": VALUES | {"guard", "report", "run_report"},
    "runs": WINGS
    | VALUES
    | {"launched", "training", "run_report", "api", "linter", "drawing", "run_figures", "upstream"},
    "lr_find": VALUES | {"api", "linting", "numerics", "training", "upstream"},
    "doctor": VALUES | {"api", "patching", "upstream"},
    "hook": {"api", "errors", "patching"},
    "worker": {"api"},
    "_site": {"hook"},
    "cli": VALUES | PLAIN | {"api", "cards", "doctor", "hook", "lr_find", "linter", "runs", "report", "training"},
    "__init__": {"api", "runs", "errors", "_version"},
    "__main__": {"cli"},
}
"""Room -> rooms that it may import (itself aside). Wings meet in the rooms between them and `api`, in it and `runs`."""
TORCH = {
    *("clipping", "numerics", "patching", "guard", "diagnosis", "incident", "batches", "kept", "doctor", "api"),
    *("lr_find", "switching"),
}
ULTRALYTICS = {"upstream", "training"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [alias.name for alias in node.names]
            found |= {f"{node.module}.{n}" for n in names} if node.module == "yolo_nanfix" else {node.module}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_stay_in_their_layer(path):
    here = room(path)
    ours = {n.split(".")[1] for n in imports(path) if n.startswith("yolo_nanfix.")} - {here}
    allowed = MAY[here] | FOUNDATION
    assert ours <= allowed, f"{here} may not import {ours - allowed}"
    outside = {name.split(".")[0] for name in imports(path)}
    assert "torch" not in outside or here in TORCH
    assert "ultralytics" not in outside or here in ULTRALYTICS


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is too long"


def test_no_import_circle():
    """Between rooms, imports inside functions counted."""
    graph: dict[str, set[str]] = {name: set() for name in MAY}
    for path in FILES:
        graph[room(path)] |= {n.split(".")[1] for n in imports(path) if n.startswith("yolo_nanfix.")} - {room(path)}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"circle: {' -> '.join((*path, name))}"
        if name not in done:
            for other in sorted(graph[name]):
                walk(other, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_no_two_test_modules_have_one_name():
    """pytest imports them by name alone, and stops at the second."""
    names = Counter(file.name for file in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
