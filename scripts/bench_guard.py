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
        self.within = False
        self.batch: Any = None

    def attach(self, trainer: Any) -> None:
        from yolo_nanfix.guard import adapter
        from yolo_nanfix.guard.guard_settings import GuardSettings

        owners = (trainer, trainer.scaler, trainer.validator)
        before = [set(vars(owner)) for owner in owners]
        guard = adapter.attach(trainer, GuardSettings())
        self.shadows = [
            (owner, name, vars(owner)[name])
            for owner, names in zip(owners, before, strict=True)
            for name in set(vars(owner)) - names
        ]
        self.hooks = dict(trainer.optimizer._optimizer_step_pre_hooks)
        self.guard = guard
        preprocess = guard.batch
        guard.batch = lambda batch: (setattr(self, "batch", batch), preprocess(batch))[1]
        for name in ("before_batch", "batch", "after_loss", "settle", "before_optimizer", "_stepped"):
            setattr(guard, name, self.timed(getattr(guard, name)))

    def timed(self, method: Any) -> Any:
        """Add up the time spent in one method of the guard."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.within:  # one method calls another
                return method(*args, **kwargs)
            self.within = True
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.inside_now += time.perf_counter() - began
                self.within = False

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

    def sensors(self) -> dict[str, float]:
        """Seconds that each sensor takes on the trainer of this run, alone: the median of 200 calls."""
        import torch

        from yolo_nanfix.guard import remedies, sensors
        from yolo_nanfix.numerics.finite import first_not_finite, state_defect

        guard, model = self.guard, self.guard.run.model
        model.train()
        batch = self.batch
        outputs = model(batch["img"])
        loss = torch.ones(3)
        named = list(model.state_dict().items())
        heads = list(sensors._tensors(outputs))
        divergence = type(guard.run.divergence)()
        return {
            "loss": median_of(lambda: loss.sum()),
            "outputs": median_of(lambda: torch.stack([t.detach().sum(dtype=torch.float32) for t in heads]).sum()),
            "targets": median_of(lambda: [batch[k].sum(dtype=torch.float32) for k in ("bboxes", "cls")]),
            "pixels": median_of(lambda: torch.aminmax(batch["img"])),
            "batchnorm": median_of(lambda: (guard.run.norms.copy(), guard.run.norms.sum())),
            "gradient": median_of(guard.run.gradients.probe),
            "divergence": median_of(lambda: (divergence.loss(3.0, 8), divergence.step(5.0))),
            "weights": median_of(lambda: state_defect(named)),
            "ema": median_of(lambda: state_defect(guard.run.trainer.ema.ema.state_dict().items())),
            "optimizer": median_of(lambda: first_not_finite(sensors.optimizer_tensors(guard.run.trainer.optimizer))),
            "update-ratio": median_of(guard.run.snapshots.moved),
            "snapshot": median_of(lambda: guard.run.snapshots.take(1)),
            "rollback": median_of(lambda: remedies.roll_back(guard.run.snapshots)),
        }


def median_of(call: Any, times: int = 200) -> float:
    """Median seconds of a call."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=150, help="pairs of steps (default 150)")
    parser.add_argument("--model", default="yolov8n.yaml")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--imgsz", type=int, default=160)
    args = parser.parse_args()
    steps = GuardSteps()
    steps.run("guard", args.pairs, args.model, args.batch, args.imgsz)
    print(
        f"inside the guard: {statistics.median(steps.inside):.3%} of a step, mean {statistics.mean(steps.inside):.3%}"
    )
    step = statistics.median(wall for wall, _ in steps.times[False])
    print(f"each alone, against a step of {step * 1e3:.1f} ms without the guard:")
    for name, seconds in steps.sensors().items():
        print(f"  {name:<14}{seconds * 1e3:8.3f} ms  {seconds / step:8.3%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
