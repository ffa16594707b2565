"""Small datasets that cases begin with, and what may be asked of a dataset."""

from __future__ import annotations

import random
from pathlib import Path

from fuzz_core import Box, Case, picture, put

ROWS = {
    "detect": "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.2\n",
    "segment": "0 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4\n1 0.5 0.5 0.9 0.5 0.9 0.9\n",
    "obb": "0 0.1 0.2 0.4 0.1 0.5 0.4 0.2 0.5\n1 0.5 0.5 0.9 0.5 0.9 0.9 0.5 0.9\n",
    "pose": "0 0.5 0.5 0.4 0.4 0.5 0.5 2 0.6 0.6 1\n",
}
YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
CHANGED = ("lint.html", "lint.out", "known.json", "out")
"""What the commands on a dataset may make."""


def make(folder: Path, task: str = "detect") -> list[Path]:
    """Three images with labels and a data.yaml, all healthy; the label files."""
    files: dict[str, bytes | str] = {"data.yaml": YAML}
    if task == "pose":
        files["data.yaml"] += "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"
    for i, (split, name) in enumerate((("train", "a"), ("train", "c"), ("val", "b"))):
        files[f"images/{split}/{name}.jpg"] = picture(i)
        files[f"labels/{split}/{name}.txt"] = ROWS[task]
    put(folder, files)
    return sorted((folder / "labels").rglob("*.txt"))


def asked(box: Box, rng: random.Random, data: str, *more: str, fix: bool = True) -> Case:
    """Something that people ask of a dataset; in a fourth of the cases it is fixed, and that taken back."""
    lint = ["lint", data, *more]
    deep = ["--deep"] if rng.random() < 0.3 else []
    if fix and rng.random() < 0.25:
        fix = [*lint, *deep, "--fix", *(["--unsafe-fixes"] if rng.random() < 0.5 else [])]
        fix += ["--json"] if rng.random() < 0.3 else []
        undo = [*lint[:2], "--undo"]
        return Case([fix, undo, undo], fixes=True, undone=True)
    ways: tuple[list[str], ...] = (
        [],
        [],
        ["--json"],
        ["--quiet"],
        ["--statistics"],
        ["--diff"],
        ["--no-cache", "--output-format", "full"],
        ["--output-format", rng.choice(("concise", "jsonl", "csv", "sarif", "github", "gitlab", "junit"))],
        ["--output-format", "html", "--output-file", "lint.html"],
        ["--json", "--output-format", "sarif", "--output-file", "lint.out"],
        ["--write-baseline", "--baseline", "known.json"],
        ["--task", rng.choice(("detect", "segment", "pose", "obb", "classify"))],
    )
    first = [*lint, *deep, *rng.choice(ways)]
    commands = [first, first] if rng.random() < 0.3 else [first]
    if rng.random() < 0.15:
        form = rng.choice(("cvat", "label-studio", "coco", "csv"))
        commands.append(["handoff", data, "out", "--to", form, *(["--json"] if rng.random() < 0.5 else [])])
    return Case(commands, writes=CHANGED)
