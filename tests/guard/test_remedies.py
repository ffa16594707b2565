"""What changes the trainer stands in one module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import yolo_nanfix.guard

FOLDER = Path(yolo_nanfix.guard.__file__).parent
OTHERS = [file for file in sorted(FOLDER.glob("*.py")) if file.stem != "remedies"]
TRAINERS = {"trainer", "optimizer", "scaler", "ema", "model", "group", "param_groups", "loss", "tloss"}
"""Names of what belongs to a run of Ultralytics."""


def written(tree: ast.AST) -> list[str]:
    """What is assigned to, deleted, or set on a trainer or a part of it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.Delete)):
            targets = node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
            targets = [ast.Attribute(node.args[0], "it")]
        else:
            continue
        flat = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
        found += [ast.unparse(one.value) for one in flat if isinstance(one, (ast.Attribute, ast.Subscript))]
    return [text for text in found if TRAINERS & set(text.replace("[", ".").split(".")) and text != "self"]


def test_the_search_sees_each_way_to_write():
    ways = ("trainer.tloss = 1", "run.trainer.lr, x = {}, 1", "group['lr'] *= 2", "setattr(model, 'criterion', 1)")
    assert all(written(ast.parse(way)) for way in (*ways, "del optimizer.state[p]", "ema.updates += 1"))
    assert not written(ast.parse("self.model = run.model; values['loss'] = 1; x = trainer.loss"))


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.stem)
def test_no_other_module_of_the_guard_writes_to_a_trainer(file):
    allowed = {"head_outputs": ["model"]}  # stands in for the loss
    assert written(ast.parse(file.read_text(encoding="utf-8"))) == allowed.get(file.stem, [])


def test_the_table_of_sensors_has_each_check():
    import yaml

    from yolo_nanfix.events import Check

    table = yaml.safe_load((FOLDER.parents[1] / "docs" / "sensors.yaml").read_text(encoding="utf-8"))
    assert table.keys() == {check.value for check in Check}
    assert all(facts.keys() == {"looks_at", "when", "cost", "does"} for facts in table.values())
