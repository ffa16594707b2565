"""The import rules: which room may import which, and what from outside; no cycle between files; no name twice."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from structure import Checkout

VALUES = {"_version", "errors", "events", "findings", "health", "overrides", "plans", "tasks", "verdicts"}
"""What the rooms speak in."""
FILES = {"files", "json_values", "safe_yaml", "stopping", "wording"}
"""How files and values are read, written and shown, and how a process ends: every room may use them."""
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
JOINTS = {"labelling", "pages", "run_listener", "settings", "switching", "training"}
"""Where wings meet below `api`."""
MAY = {
    "batches": set(),
    "clipping": set(),
    "incident": FILES | {"errors"},
    "kept": set(),
    "numerics": set(),
    "upstream": {"wording"},
    "cards": {"errors", "json_values"},
    "events": {"json_values", "wording"},
    "findings": {"json_values", "overrides", "tasks", "wording"},
    **{key: {"json_values"} for key in ("health", "tasks", "verdicts")},
    "overrides": {"json_values", "wording"},
    "plans": {"json_values", "report"},
    "dataset": BASE,
    "linting": BASE | {"dataset", "settings"},
    "scene": BASE | {"dataset"},
    "handoff": BASE | {"scene"},
    "report": BASE | {"dataset", "run_folder", "scene", "upstream"},
    "run_folder": BASE | {"upstream"},
    "trackers": {"upstream"},
    "patching": FILES | {"cards", "clipping", "errors", "numerics", "upstream"},
    "guard": BASE | STEP,
    "diagnosis": BASE | STEP | {"cards", "dataset"},
    "settings": BASE,
    "training": {"errors", "patching", "stopping", "upstream"},
    "labelling": BASE | WINGS | {"scene"},
    "pages": BASE | WINGS | {"upstream"},
    "run_listener": BASE | WINGS | {"pages", "upstream"},
    "switching": BASE | STEP | WINGS | {"finetune", "run_listener", "settings"},
    "run_recipe": BASE | WINGS | {"cards", "finetune", "training", "upstream"},
    "api": BASE | STEP | WINGS | JOINTS | {"cards", "finetune"},
    "runs": BASE | STEP | WINGS | JOINTS | {"api", "finetune", "run_recipe"},
    "finetune": BASE | STEP | {"api", "dataset", "training"},
    "finetuning": BASE | WINGS | {"api", "finetune", "training"},
    "environment": BASE | {"api", "patching", "upstream"},
    "hook": {"api", "errors", "patching", "stopping"},
    "ddp_worker": {"api"},
    "_site": {"hook"},
    "cli": BASE | {"api", "environment", "finetune", "finetuning", "hook", "report", "runs", "training"},
    "__init__": {"_version", "api", "errors", "finetuning", "runs"},
    "__main__": {"cli"},
    **{key: set() for key in ("_version", "errors", "json_values", "wording")},
    **{key: {"stopping"} for key in ("safe_yaml", "stopping", "files")},
}
"""Room -> rooms that it may import (itself aside)."""
FOR_ALL = {"dataset.paths"}
"""Single modules that every room may import: where the label file of an image is, as text."""
TORCH = {"api", "batches", "clipping", "diagnosis", "environment", "finetune", "guard", "incident", "kept", "numerics"}
TORCH |= {"patching", "switching"}
ULTRALYTICS = {"upstream", "training"}
HERE = Checkout(Path(__file__).parents[1])
MODULES = HERE.files


def room(module: str) -> str:
    return module.partition(".")[0]


CYCLES_LEFT = 1
TYPES_LEFT = 25
NAMES_LEFT = 30


@pytest.mark.parametrize("module", MODULES)
def test_imports_stay_in_their_layer(module):
    assert not any(node.level for node in ast.walk(HERE.trees[module]) if isinstance(node, ast.ImportFrom))
    here = room(module)
    others = {room(name) for name in HERE.ours(module) - FOR_ALL} - {here}
    assert others <= MAY[here], f"{module} may not import {others - MAY[here]}"
    outside = {name.split(".")[0] for name in HERE.imports[module]}
    assert "torch" not in outside or here in TORCH
    assert "ultralytics" not in outside or here in ULTRALYTICS


def test_no_import_cycle_between_files():
    assert len(HERE.cycles()) <= CYCLES_LEFT, HERE.cycles()


def test_no_module_name_twice():
    assert HERE.modules_twice() == []


def test_hardly_a_name_is_defined_in_three_modules():
    """`python scripts/structure.py --names` lists them."""
    assert len(HERE.names_thrice()) <= NAMES_LEFT


def test_few_types_stand_between_a_file_and_a_finding():
    assert len(HERE.types()) <= TYPES_LEFT, HERE.types()


def test_no_two_test_modules_have_one_name():
    """pytest imports them by name alone, and stops at the second."""
    names = Counter(file.name for file in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
