"""The import rules: which room may import which, and what from outside; no cycle between files; no name twice."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "yolo_nanfix"
VALUES = {"_version", "choices", "errors", "events", "findings", "health", "held", "overrides", "tasks", "verdicts"}
"""What the rooms speak in."""
FILES = {"cells", "files", "safe_yaml", "shown", "stopping"}
"""How files are read, written and shown, and how a process ends: every room may use them."""
BASE = VALUES | FILES
STEP = {"batches", "clipping", "incident", "kept", "numerics", "upstream"}
"""What those that look at a training step share."""
WINGS = {
    "dataset",
    "diagnosis",
    "guard",
    "handoff",
    "linting",
    "numerics",
    "patching",
    "report",
    "run_folder",
    "trackers",
}
JOINTS = {"decisions", "launched", "run_listener", "settings", "switching", "training"}
"""Where wings meet below `api`."""
MAY = {
    "batches": set(),
    "clipping": set(),
    "incident": FILES | {"errors"},
    "kept": set(),
    "numerics": set(),
    "upstream": {"errors"},
    "cards": {"errors"},
    "events": {"incident"},
    "findings": {"choices", "held", "overrides", "tasks"},
    "overrides": {"held"},
    "dataset": BASE,
    "linting": BASE | {"dataset", "settings"},
    "handoff": BASE | {"dataset"},
    "report": BASE | {"dataset", "run_folder", "upstream"},
    "run_folder": BASE | {"upstream"},
    "trackers": {"upstream"},
    "patching": FILES | {"cards", "clipping", "errors", "numerics", "upstream"},
    "guard": BASE | STEP,
    "diagnosis": BASE | STEP | {"cards", "dataset"},
    "settings": BASE,
    "training": {"errors", "patching", "stopping", "upstream"},
    "decisions": BASE | WINGS | {"settings"},
    "run_listener": BASE | WINGS | {"upstream"},
    "launched": BASE | WINGS,
    "switching": BASE | STEP | WINGS | {"decisions", "run_listener", "settings"},
    "api": BASE | STEP | WINGS | JOINTS,
    "runs": BASE | STEP | WINGS | JOINTS | {"api"},
    "finetune": BASE | STEP | {"api", "dataset", "training"},
    "environment": BASE | {"api", "patching", "upstream"},
    "hook": {"api", "errors", "patching", "stopping"},
    "ddp_worker": {"api"},
    "_site": {"hook"},
    "cli": BASE | {"api", "cards", "environment", "finetune", "hook", "linting", "report", "runs", "training"},
    "__init__": {"_version", "api", "errors", "runs"},
    "__main__": {"cli"},
    **{key: set() for key in ("_version", "cells", "choices", "errors", "health", "held", "tasks")},
    **{key: {"stopping"} for key in ("safe_yaml", "shown", "stopping", "files", "verdicts")},
}
"""Room -> rooms that it may import (itself aside)."""
TORCH = {"api", "batches", "clipping", "diagnosis", "environment", "finetune", "guard", "incident", "kept", "numerics"}
TORCH |= {"patching", "switching"}
ULTRALYTICS = {"upstream", "training"}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, also inside functions: names of modules, those of this package without its name."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module}: relative import"
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("yolo_nanfix.") in MODULES else node.module for name in named}
    return frozenset(found)


def ours(module: str) -> set[str]:
    return {name.removeprefix("yolo_nanfix.") for name in imports(module) if name.startswith("yolo_nanfix.")} - {module}


def room(module: str) -> str:
    return module.partition(".")[0]


NOT_YET = {
    *(("linting", "handoff"), ("linting", "report"), ("report", "handoff")),
    *(("report", "linting"), ("run_folder", "guard"), ("run_folder", "report"), ("patching", "report")),
}
CYCLES_LEFT = 4


@pytest.mark.parametrize("module", MODULES)
def test_imports_stay_in_their_layer(module):
    here = room(module)
    others = {room(name) for name in ours(module)} - {here}
    allowed = MAY[here] | {to for of, to in NOT_YET if of == here}
    assert others <= allowed, f"{module} may not import {others - allowed}"
    outside = {name.split(".")[0] for name in imports(module)}
    assert "torch" not in outside or here in TORCH
    assert "ultralytics" not in outside or here in ULTRALYTICS


def cycles() -> list[list[str]]:
    """Files that import each other, also inside functions (strongly connected components, after Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(ours(name) & set(MODULES)):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            cut = stack.index(name)
            if len(stack) - cut > 1:
                found.append(stack[cut:])
            del stack[cut:]

    for name in MODULES:
        if name not in index:
            visit(name)
    return found


def test_no_import_cycle_between_files():
    assert len(cycles()) <= CYCLES_LEFT, cycles()


def test_no_module_name_twice():
    names = Counter(name.rpartition(".")[2] for name, path in MODULES.items() if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_test_modules_have_one_name():
    """pytest imports them by name alone, and stops at the second."""
    names = Counter(file.name for file in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
