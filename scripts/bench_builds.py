"""An older build beside this one, in one interleaved run: lint, lint again, whole trainings, and the start of commands.

    git worktree add --detach /tmp/old REVISION
    python scripts/bench_builds.py --old /tmp/old [--images 1500] [--rounds 5] [--only lint]

Each try is a process of its own, start included, held to one core and one thread; figures are CPU seconds. A ratio
above 1 says that this build takes longer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import bench_lint
import benchlib

LIMIT = 1.03
"""What no ratio of a redesign may pass."""
TRAIN = ["train", "{data}", "model=yolov8n.yaml", "epochs=1", "imgsz=160", "batch=8", "plots=False", "workers=0"]
COMMANDS = {
    "lint": ["lint", "{data}", "--no-cache", "--jobs", "1"],
    "lint again": ["lint", "{data}", "--jobs", "1"],
    "lint --json": ["lint", "{data}", "--no-cache", "--jobs", "1", "--json"],
    "train": [*TRAIN, "project={folder}", "name=run", "exist_ok=True", "device=cpu"],
    "help": ["--help"],
}


def spend(checkout: Path, words: list[str], folder: Path) -> float:
    """CPU seconds of one command in one checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "YOLO_NANFIX_CACHE": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "yolo_nanfix", *words]

    def run() -> None:
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode > 1:  # 1: findings
            raise SystemExit(f"{checkout}: yolo-nanfix {' '.join(words)}: {done.stderr[-500:]}")

    return benchlib.cpu(run)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="a checkout of the older build")
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=COMMANDS, action="append", help="this command alone; may be repeated")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    builds = {"old": args.old.resolve(), "this": benchlib.ROOT}
    print(benchlib.header())
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        root = bench_lint.make(Path(name, "set"), args.images, (480, 640), 77)
        few = bench_lint.make(Path(name, "few"), 160, (120, 160), 77)
        folders = {build: Path(name, build) for build in builds}
        for folder in folders.values():
            folder.mkdir()
        for what in args.only or COMMANDS:
            data = (few if what == "train" else root) / "data.yaml"
            times: dict[str, list[float]] = {build: [] for build in builds}
            for turn in range(args.rounds + 1):
                for build, checkout in builds.items() if turn % 2 else reversed(builds.items()):
                    words = [word.format(data=data, folder=folders[build]) for word in COMMANDS[what]]
                    used = spend(checkout, words, folders[build])
                    if turn:  # the first compiles, and fills caches
                        times[build].append(used)
            print(benchlib.ratio(f"{what}: this / old", times["this"], times["old"]), flush=True)
            worst = max(worst, statistics.median(n / o for n, o in zip(times["this"], times["old"], strict=True)))
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
