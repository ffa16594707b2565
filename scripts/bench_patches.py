"""The cost of a patch: a training step with it on against off, alternating inside one run.

python scripts/bench_patches.py box-iou-half-precision [--pairs 100] [--model yolov8n.yaml] [--batch 8]
"""

from __future__ import annotations

import argparse
from typing import Any

import benchlib


class PatchedSteps(benchlib.Alternating):
    """Puts one patch before each on step and undoes it before each off step."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def switch(self, trainer: Any, on: bool) -> None:
        from yolo_nanfix.patching import engine

        if on:
            engine.apply([self.name])
        else:
            engine.remove([self.name])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patch", help="the card's name")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of steps (default 100)")
    parser.add_argument("--model", default="yolov8n.yaml")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--imgsz", type=int, default=160)
    args = parser.parse_args()
    PatchedSteps(args.patch).run(args.patch, args.pairs, args.model, args.batch, args.imgsz)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
