"""Settings: nanfix.yaml, pyproject.toml and variables with odd values, and baselines that are none."""

from __future__ import annotations

import json
import random
from typing import Any

import fuzz_sets
from fuzz_core import Box, Case, put
from fuzz_damage import damaged
from fuzz_files import odd
from fuzz_values import encoded, mutated, text
from fuzz_yaml import tricks, written

SEED: dict[str, Any] = {
    "enable": ["rect-validation"], "disable": ["clip-spreads-nan"], "guard": True, "min_area_px": 0.2,
    "max_bad_in_a_row": 5, "repair": "state", "rect": "auto",
    "lint": {
        "select": ["BX", "IM"], "ignore": ["CL004"], "extend-select": ["ALL"], "severity": {"BX006": "error"},
        "per-path-ignores": {"labels/train/**": ["BX"]}, "task": "detect", "imgsz": 640, "deep": False,
        "baseline": "known.json", "root": ".",
    },
}  # fmt: skip
BASELINE: dict[str, Any] = {"version": 1, "datasets": {"data.yaml": ["BX004 labels/train/a.txt"]}}
FAULTY = "0 0.5 0.5 0.2 3\n1 0.5 nan 0.1 0.1\n0 0.5 0.5 0.2 3\n"


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    fuzz_sets.make(box.case)
    put(box.case, {"labels/train/a.txt": FAULTY, "known.json": json.dumps(BASELINE)})
    way = rng.randrange(10)
    environ: dict[str, str] = {}
    file = box.case / "nanfix.yaml"
    document = _some(mutated(SEED, rng, box), rng)
    if way < 4:
        file.write_bytes(encoded(written(document, rng), rng))
    elif way == 4:
        file = box.case / "pyproject.toml"
        file.write_bytes(encoded(toml(document if isinstance(document, dict) else {"lint": document}), rng))
    elif way == 5:
        file.write_bytes(damaged(written(SEED, rng).encode(), rng))
    elif way == 6:
        file.write_bytes(encoded(tricks(rng, box), rng))
    elif way == 7:
        names = ("MAX_BAD_IN_A_ROW", "ENABLE", "DISABLE", "GUARD", "REPAIR", "RECT", "MIN_AREA_PX", "CACHE", "XYZ")
        value = text(rng, box).replace("\0", "").encode("utf-8", "replace").decode()[:1000]
        environ = {f"YOLO_NANFIX_{rng.choice(names)}": value}
    elif way == 8:
        content = json.dumps(mutated(BASELINE, rng, box))
        put(box.case, {"known.json": encoded(content, rng), "nanfix.yaml": "lint: {baseline: known.json}\n"})
    else:
        file.write_text(written(SEED, rng))
        odd(rng.choice((file, box.case / "known.json")), rng, box)
    if environ.get("YOLO_NANFIX_CACHE"):
        environ = {"YOLO_NANFIX_CACHE": str(box.home / ".cache" / "x")}
    case = fuzz_sets.asked(box, rng, "data.yaml")
    return Case(case.commands, case.writes, case.fixes, case.undone, environ=environ)


def of_training(box: Box, rng: random.Random) -> Case:
    """One case about patches and guard."""
    environ = make(box, rng).environ
    if rng.random() < 0.7:
        return Case([["patches", *(["--json"] if rng.random() < 0.5 else [])]], environ=environ)
    return Case([["train", "data.yaml", "model=yolov8n.yaml", "--dry-run", "--json"]], environ=environ)


def _some(document: Any, rng: random.Random) -> Any:
    """One part of the settings alone, so that what is wrong in it is not hidden by what is wrong before."""
    if not isinstance(document, dict) or rng.random() < 0.3:
        return document
    lint = document.get("lint")
    if isinstance(lint, dict) and lint and rng.random() < 0.8:
        keys = rng.sample(list(lint), min(len(lint), rng.randint(1, 3)))
        return {"lint": {key: lint[key] for key in keys}}
    keys = rng.sample(list(document), min(len(document), rng.randint(1, 3)))
    return {key: document[key] for key in keys}


def toml(document: dict[Any, Any]) -> str:
    """Settings as a table of pyproject.toml; what TOML lacks is written as it looks."""
    lines = ["[tool.yolo-nanfix]"]
    for key, value in document.items():
        lines.append(f"{json.dumps(str(key))} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    try:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(_toml, value)) + "]"
        return json.dumps(value) if value is not None else '""'
    except RecursionError:
        return "[" * 3000
