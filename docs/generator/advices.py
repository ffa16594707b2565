"""The list of what `yolo-nanfix plan` advises, `advices/index.md`, from its units."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from generator.markup import code, facts, prose, table
from yolo_nanfix.finetune import planner
from yolo_nanfix.finetune.case import Unit, units
from yolo_nanfix.plans import Strength
from yolo_nanfix.tasks import TASKS

STRENGTHS = {
    Strength.MEASURED: "it follows from counts of your set, or from what your release does with them",
    Strength.PUBLISHED: "experiments on other sets, in a paper or a pull request",
    Strength.RULE: "practice or documentation, without an experiment that can be looked up",
}


def pages() -> Iterator[tuple[str, str]]:
    """Path and text of the page."""
    yield "advices/index.md", _index()


def thresholds(unit: Unit) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each constant of the unit's module that is a number."""
    module = import_module(f"yolo_nanfix.finetune.advices.{unit.module}")
    body = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body
    found = []
    for node, after in zip(body, (*body[1:], None), strict=True):
        name = node.targets[0].id if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else ""
        if isinstance(value := getattr(module, name, None), (int, float)) and name.isupper():
            told = after.value if isinstance(after, ast.Expr) else None
            text = told.value if isinstance(told, ast.Constant) and isinstance(told.value, str) else ""
            found.append((name, f"{value:g}", text))
    return found


def _index() -> str:
    said = tuple(units())
    rows = [(f"[{code(unit.setting)}](#{unit.module.replace('_', '-')})", prose(unit.title)) for unit in said]
    words = [(f"*{strength.value}*", text) for strength, text in STRENGTHS.items()]
    head = f"""# Advices

`yolo-nanfix plan data.yaml` counts the objects, classes, images and splits of a dataset as Ultralytics will train on
them, looks at the machine, and asks these {len(said)} units. It shows at most {planner.MOST} advices: those that differ
from the defaults, and defaults that the figures confirm. Each has its figures, a source, and what it rests on:

{table(("strength", "meaning"), words)}
Where there is no evidence it says so and advises nothing. There is no advice on arguments that you give, and the others
are made with them.

{table(("setting", "what it says"), rows)}"""
    return "\n".join((head, *map(_section, said)))


def _section(unit: Unit) -> str:
    shown = [("advises on", code(unit.setting)), ("strength", unit.strength.value if unit.strength else "no evidence")]
    if unit.tasks != TASKS:
        shown.append(("tasks", ", ".join(unit.tasks)))
    shown.append(("source", f"[{prose(unit.source.title)}]({unit.source.address})"))
    parts = [f"## {unit.module.replace('_', ' ')}\n", prose(unit.title) + "\n", prose(unit.why) + "\n", facts(shown)]
    if limits := thresholds(unit):
        rows = [(code(name), value, prose(text)) for name, value, text in limits]
        parts.append(table(("threshold", "value", "meaning"), rows))
    return "\n".join(parts)
