"""The cost of the guard: a training step with it on against off, alternating inside one run.

    python scripts/bench_guard.py [--pairs 150] [--model yolov8n.yaml] [--batch 8] [--imgsz 160]

Every step trains the same images. Steps alternate on, off, off, on, ...; the off steps run Ultralytics' own
methods. A step is all that the loop does between two batches from the loader: preprocessing, forward, loss,
backward, optimizer, EMA. One torch thread, so that CPU time means the step's work; wall time beside it. Below
the ratios: the time spent in the guard's own code, as a share of an on step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import benchlib
from make_datasets import make_dataset

os.environ.setdefault("YOLO_OFFLINE", "1")
WARM_UP = 10


class Alternating:
    """Puts the guard's methods on a trainer before each `on` step and takes them off before each `off` step."""

    def __init__(self) -> None:
        self.times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        self.inside: list[float] = []
        self.step = 0
        self.shadows: list[tuple[Any, str, Any]] = []
        self.hooks: dict[Any, Any] = {}

    def attach(self, trainer: Any) -> None:
        from yolo_nanfix.guard import adapter
        from yolo_nanfix.guard.recorder import Recorder
        from yolo_nanfix.guard.settings import GuardSettings

        owners = (trainer, trainer.scaler, trainer.validator)
        before = [set(vars(owner)) for owner in owners]
        self.guard = adapter.attach(trainer, GuardSettings(), Recorder())
        for owner, names in zip(owners, before, strict=True):
            self.shadows += [(owner, name, vars(owner)[name]) for name in set(vars(owner)) - names]
        self.hooks = dict(trainer.optimizer._optimizer_step_pre_hooks)
        for name in ("batch", "after_loss", "before_optimizer"):
            setattr(self.guard, name, self.timed(getattr(self.guard, name)))

    def timed(self, method: Any) -> Any:
        """Add up the time spent in one method of the guard."""

        def call(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args)
            finally:
                self.inside_now += time.perf_counter() - began

        return call

    def start(self, trainer: Any) -> None:
        self.on = self.step % 4 in (0, 3)
        for owner, name, shadow in self.shadows:
            if self.on:
                setattr(owner, name, shadow)
            else:
                vars(owner).pop(name, None)
        trainer.optimizer._optimizer_step_pre_hooks.clear()
        trainer.optimizer._optimizer_step_pre_hooks.update(self.hooks if self.on else {})
        self.inside_now = 0.0
        self.began = time.perf_counter(), time.process_time()

    def end(self, trainer: Any) -> None:
        spent = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        if self.step >= WARM_UP:
            self.times[self.on].append(spent)
            if self.on:
                self.inside.append(self.inside_now / spent[0])
        self.step += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=150, help="pairs of steps (default 150)")
    parser.add_argument("--model", default="yolov8n.yaml")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--imgsz", type=int, default=160)
    args = parser.parse_args()
    import torch

    import yolo_nanfix

    torch.set_num_threads(1)
    yolo_nanfix.patch("torchvision-operators-missing")
    alternating = Alternating()
    with tempfile.TemporaryDirectory() as folder:
        size = (args.imgsz, args.imgsz)
        data = make_dataset(Path(folder) / "set", n_train=args.batch, n_val=2, size=size, seed=0)
        callbacks = {
            "on_pretrain_routine_end": alternating.attach,
            "on_train_batch_start": alternating.start,
            "on_train_batch_end": alternating.end,
        }
        settings = {
            "epochs": WARM_UP + 2 * args.pairs,
            "imgsz": args.imgsz,
            "batch": args.batch,
            "nbs": args.batch,
        }
        quiet = {"val": False, "save": False, "mosaic": 0.0, "optimizer": "SGD", "warmup_epochs": 0}
        benchlib.train(args.model, data, Path(folder) / "run", callbacks, **settings, **quiet)
    print(benchlib.header())
    pairs = min(len(alternating.times[True]), len(alternating.times[False]))
    on, off = (alternating.times[key][:pairs] for key in (True, False))
    print(f"guard on / off, {args.model}, batch {args.batch}, imgsz {args.imgsz}")
    for i, clock in enumerate(("wall time", "CPU time")):
        print(benchlib.ratio(clock, [t[i] for t in on], [t[i] for t in off]))
    print(f"inside the guard: {statistics.median(alternating.inside):.3%} of a step")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
