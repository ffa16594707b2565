"""Command lines: unknown words, odd values of options, numbers, paths and pairs; no training is started."""

from __future__ import annotations

import random

import fuzz_sets
from fuzz_core import Box, Case
from fuzz_damage import damaged
from fuzz_values import number, text

OPTIONS = {
    "lint": (
        *("--task", "--select", "--extend-select", "--ignore", "--severity", "--root", "--imgsz", "--files", "--jobs"),
        *("--baseline", "--output-format", "--output-file", "--fail-on", "--deep", "--no-deep", "--write-baseline"),
        *("--no-cache", "--isolated", "--statistics", "--exit-zero", "--diff", "--json", "--quiet"),
    ),
    "handoff": ("--to", "--task", "--root", "--select", "--ignore", "--severity", "--max", "--link", "--no-images"),
    "report": ("-o", "--output", "--json", "--quiet"),
    "compare": ("-o", "--output", "--json"),
    "diagnose": ("--import", "--json", "--quiet"),
    "rule": ("--all", "--json", "--quiet"),
    "explain": ("--json", "--quiet"),
    "patches": ("--json", "--quiet"),
    "completion": ("--json", "--quiet"),
    "train": ("--dry-run", "--on-fatal", "--max-bad-in-a-row", "--repair", "--incidents", "--no-diagnose", "--json"),
    "plan": ("--output", "--page", "--overwrite", "--no-cache", "--json", "--quiet"),
    "lr-find": ("--steps", "--min-lr", "--max-lr", "--plot", "--json"),
    "run": ("--enable", "--disable", "--no-guard", "--json"),
}
VALUES = (
    *("detect", "segment", "ALL", "BX004", "BX", "box-side-zero", "BX006=info", "BX006=", "=info", "fatal", "never"),
    *(
        "json",
        "sarif",
        "text",
        "csv",
        "cvat",
        "coco",
        "0",
        "1",
        "-1",
        "640",
        "1e9",
        "99999999999999999999",
        "0x10",
        "1.5",
    ),
    *(
        "data.yaml",
        "images",
        ".",
        "..",
        "labels/train/a.txt",
        "bash",
        "zsh",
        "os",
        "state",
        "quarantine",
        "",
        "-",
        "--",
    ),
)
PAIRS = (
    *("epochs", "imgsz", "batch", "lr0", "model", "device", "optimizer", "workers", "project", "name", "resume", "cfg"),
    *("data", "task", "mode", "save_dir", "seed", "fraction", "freeze", "classes", "time", "xyz", "", "__class__"),
)
WRITES = (*fuzz_sets.CHANGED, "known.json", "run")


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    fuzz_sets.make(box.case)
    return Case([words(rng, box)], writes=WRITES, fixes=True)


def words(rng: random.Random, box: Box) -> list[str]:
    """One command line."""
    command = rng.choice((*OPTIONS, "lint", "lint", "handoff", text(rng, box)))
    line = [command]
    for _ in range(rng.randint(0, 4)):
        way = rng.randrange(8)
        if way < 3 and command in OPTIONS:
            line.append(rng.choice(OPTIONS[command]))
        elif way < 5:
            line.append(rng.choice(VALUES))
        elif way == 5:
            line.append(f"{rng.choice(PAIRS)}={_value(rng, box)}")
        elif way == 6:
            option = rng.choice(rng.choice(list(OPTIONS.values())))
            line.append(f"{option}={_value(rng, box)}")
        else:
            line.append(_value(rng, box))
    if command in ("lint", "handoff", "train", "plan", "lr-find") and rng.random() < 0.5:
        line.insert(1, "data.yaml")
    if command == "handoff" and rng.random() < 0.7:
        line += ["out", "--to", rng.choice(("cvat", "csv", "coco", "label-studio"))]
    return harmless([word.replace("\0", "") for word in line], rng)


def _value(rng: random.Random, box: Box) -> str:
    way = rng.randrange(4)
    if way == 0:
        return repr(number(rng))[:4000]
    if way == 1:
        return damaged(rng.choice(VALUES).encode() or b"x", rng).decode("utf-8", "surrogateescape")
    return rng.choice(VALUES) if way == 2 else text(rng, box)


def harmless(line: list[str], rng: random.Random) -> list[str]:
    """The same without what would train, run another program, or never end."""
    if line[0] == "train" and "--dry-run" not in line:
        line.append("--dry-run")
    if line[0] == "lr-find":
        line = [line[0], "nowhere.yaml", *(word for word in line[1:] if word != "data.yaml")]
    if line[0] == "run":
        line = [line[0], *(word for word in line[1:] if word.startswith("-") and word != "--"), "--", "no-such-program"]
    return [word for word in line if not word.startswith(("--watch", "--open", "--fix", "--undo", "--unsafe"))]
