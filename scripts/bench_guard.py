"""The cost of the guard: a training step with it on against off, alternating inside one run.

    python scripts/bench_guard.py [--pairs 150] [--model yolov8n.yaml] [--batch 8] [--imgsz 160]

The off steps run Ultralytics' own methods. Below the ratios: the time spent in the guard's own code, as a share of
an on step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import benchlib


class GuardSteps(benchlib.Alternating):
    """Puts the guard's methods on the trainer before each on step and takes them off before each off step."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[float] = []
        self.inside_now = 0.0

    def attach(self, trainer: Any) -> None:
        from yolo_nanfix.guard import adapter
        from yolo_nanfix.guard.recorder import Recorder
        from yolo_nanfix.guard.settings import GuardSettings

        owners = (trainer, trainer.scaler, trainer.validator)
        before = [set(vars(owner)) for owner in owners]
        guard = adapter.attach(trainer, GuardSettings(), Recorder())
        self.shadows = [
            (owner, name, vars(owner)[name])
            for owner, names in zip(owners, before, strict=True)
            for name in set(vars(owner)) - names
        ]
        self.hooks = dict(trainer.optimizer._optimizer_step_pre_hooks)
        for name in ("batch", "after_loss", "before_optimizer"):
            setattr(guard, name, self.timed(getattr(guard, name)))

    def timed(self, method: Any) -> Any:
        """Add up the time spent in one method of the guard."""

        def call(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args)
            finally:
                self.inside_now += time.perf_counter() - began

        return call

    def switch(self, trainer: Any, on: bool) -> None:
        for owner, name, shadow in self.shadows:
            if on:
                setattr(owner, name, shadow)
            else:
                vars(owner).pop(name, None)
        trainer.optimizer._optimizer_step_pre_hooks.clear()
        trainer.optimizer._optimizer_step_pre_hooks.update(self.hooks if on else {})
        self.inside_now = 0.0

    def counted(self, spent: tuple[float, float]) -> None:
        self.inside.append(self.inside_now / spent[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=150, help="pairs of steps (default 150)")
    parser.add_argument("--model", default="yolov8n.yaml")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--imgsz", type=int, default=160)
    args = parser.parse_args()
    steps = GuardSteps()
    steps.run("guard", args.pairs, args.model, args.batch, args.imgsz)
    print(f"inside the guard: {statistics.median(steps.inside):.3%} of a step")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
