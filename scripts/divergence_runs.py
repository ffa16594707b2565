"""The trainings that the divergence sensors are calibrated on, and how one of them is recorded.

Each run is Ultralytics' own training on generated images at 64 or 96 pixels, without the guard. `expect` says what the
settings are meant to show: `healthy` (no alarm allowed), `divergent` (must alarm if it ends as garbage) or `sweep` (a
learning rate between the two: judged by its outcome).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from make_datasets import make_dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

SNAPSHOTS = (5, 10, 50)
"""Steps between two measurements of how far the weights moved."""
DEFAULTS: dict[str, Any] = {"epochs": 10, "mosaic": 1.0, "close_mosaic": 3, "warmup_epochs": 3, "val": False}
PRETRAINED = {"detect": "yolov8n.pt", "segment": "yolov8n-seg.pt", "pose": "yolo11n-pose.pt"}
OPTIMIZERS = {"SGD": 0.01, "AdamW": 0.001, "MuSGD": 0.01, "auto": 0.01}
"""With the learning rate that Ultralytics' documentation gives for each."""


@dataclass(frozen=True)
class Spec:
    """One training: what it is meant to show, its task, its data and Ultralytics' arguments."""

    name: str
    expect: str
    task: str = "detect"
    images: int = 24
    backgrounds: int = 0
    size: int = 64
    scaler: bool = False
    times: tuple[int, float] | None = None  # (micro-batch, factor): the learning rate is multiplied there
    arguments: dict[str, Any] = field(default_factory=dict)


def _spec(name: str, expect: str, optimizer: str, lr: float, tuned: bool = False, **rest: Any) -> Spec:
    own = {k: rest.pop(k) for k in tuple(rest) if k in Spec.__dataclass_fields__}
    arguments = {**DEFAULTS, "optimizer": optimizer, "lr0": lr, **rest}
    if tuned:
        arguments |= {"model": PRETRAINED[own.get("task", "detect")], "pretrained": True}
    return Spec(name, expect, arguments=arguments, **own)


def healthy() -> Iterator[Spec]:
    """Tasks x optimizers from scratch and fine-tuned, then one setting at a time."""
    for task in ("detect", "segment", "pose", "obb", "classify"):
        for optimizer, lr in OPTIMIZERS.items():
            yield _spec(f"{task} {optimizer} scratch", "healthy", optimizer, lr, task=task)
            if task in PRETRAINED:
                cold = {"warmup_epochs": 0} if optimizer in ("SGD", "AdamW") else {}
                yield _spec(f"{task} {optimizer} tuned", "healthy", optimizer, lr, tuned=True, task=task, **cold)
    settings: dict[str, dict[str, Any]] = {
        "no warm-up": {"warmup_epochs": 0},
        "long warm-up": {"warmup_epochs": 7},
        "no mosaic": {"mosaic": 0.0, "close_mosaic": 0},
        "mosaic never closed": {"close_mosaic": 0},
        "mosaic closed at once": {"close_mosaic": 9},
        "batch 2": {"batch": 2, "epochs": 5},
        "batch 16": {"batch": 16, "epochs": 20},
        "last batch of 1": {"batch": 8, "images": 17, "epochs": 18},
        "nbs 64": {"nbs": 64, "epochs": 12},
        "nbs 64, batch 2": {"nbs": 64, "batch": 2, "epochs": 6},
        "half backgrounds": {"backgrounds": 12, "batch": 2, "epochs": 5, "mosaic": 0.0, "close_mosaic": 0},
        "nearly all backgrounds": {"backgrounds": 20, "batch": 2, "epochs": 5, "mosaic": 0.0, "close_mosaic": 0},
        "multi-scale": {"multi_scale": 0.5},
        "scaler": {"scaler": True},
        "mixup, copy-paste": {"mixup": 0.5, "copy_paste": 0.5, "task": "segment"},
        "96 px": {"size": 96, "imgsz": 96, "epochs": 8},
    }
    for name, rest in settings.items():
        yield _spec(f"SGD scratch, {name}", "healthy", "SGD", 0.01, **rest)
    for name in ("no warm-up", "batch 2", "nbs 64", "nearly all backgrounds", "multi-scale", "scaler"):
        yield _spec(f"AdamW tuned, {name}", "healthy", "AdamW", 0.001, tuned=True, **settings[name])
    for name in ("half backgrounds", "nbs 64, batch 2", "last batch of 1", "scaler", "mosaic closed at once"):
        yield _spec(f"SGD tuned, {name}", "healthy", "SGD", 0.01, tuned=True, **settings[name])
    for model in ("yolov5n", "yolov9t", "yolov10n", "yolo11n", "yolo26n"):
        yield _spec(f"{model} auto", "healthy", "auto", 0.01, model=f"{model}.yaml", epochs=8)
    yield _spec("long tuned SGD", "healthy", "SGD", 0.01, tuned=True, epochs=50, images=16)
    yield _spec("frozen backbone", "healthy", "AdamW", 0.001, tuned=True, freeze=10)
    yield _spec("classify overfit", "healthy", "AdamW", 0.001, task="classify", epochs=45, images=16)
    for optimizer in ("Adam", "RMSprop"):
        yield _spec(f"{optimizer} scratch", "healthy", optimizer, 0.0005)
        yield _spec(f"{optimizer} tuned", "healthy", optimizer, 0.0005, tuned=True)


def sweep() -> Iterator[Spec]:
    """Learning rates from the usual to the absurd, judged by outcome against the twin with the usual one."""
    rates = {"SGD": (0.03, 0.1, 0.3), "AdamW": (0.003, 0.01, 0.03), "MuSGD": (0.03, 0.1, 0.3)}
    for optimizer, values in rates.items():
        for lr in values:
            yield _spec(f"{optimizer} {lr:g} scratch", "sweep", optimizer, lr)
            yield _spec(f"{optimizer} {lr:g} tuned", "sweep", optimizer, lr, tuned=True)
    for optimizer in ("SGD", "AdamW"):
        for bias in (0.5, 1.0):  # upstream refuses more
            lr = OPTIMIZERS[optimizer]
            yield _spec(f"{optimizer} bias {bias:g} tuned", "sweep", optimizer, lr, tuned=True, warmup_bias_lr=bias)


def divergent() -> Iterator[Spec]:
    """Learning rates that cannot work, from the start or from one step on."""
    rates = {"SGD": (1.0,), "AdamW": (0.1, 1.0), "Adam": (0.1, 1.0), "RMSprop": (0.1, 1.0), "MuSGD": (1.0,)}
    for optimizer, values in rates.items():
        for lr in values:
            for tuned in (False, True):
                start = "tuned" if tuned else "scratch"
                yield _spec(f"{optimizer} {lr:g} {start}", "divergent", optimizer, lr, tuned, warmup_epochs=0, epochs=8)
    for task in ("segment", "pose", "obb", "classify"):
        for optimizer, lr in (("SGD", 1.0), ("AdamW", 0.1), ("MuSGD", 1.0)):
            yield _spec(f"{task} {optimizer} {lr:g}", "divergent", optimizer, lr, task=task, epochs=8)
    for optimizer, lr in (("SGD", 0.01), ("AdamW", 0.001), ("MuSGD", 0.01)):
        for factor in (100.0, 1000.0):
            name = f"{optimizer} x{factor:g} at 30"
            yield _spec(name, "divergent", optimizer, lr, tuned=True, times=(30, factor), warmup_epochs=0)
    yield _spec("SGD 1, scaler", "divergent", "SGD", 1.0, tuned=True, scaler=True)
    yield _spec("AdamW 0.1, scaler", "divergent", "AdamW", 0.1, tuned=True, scaler=True)
    yield _spec("SGD 1, nbs 64", "divergent", "SGD", 1.0, tuned=True, nbs=64, epochs=15)
    yield _spec("AdamW 0.1, half backgrounds", "divergent", "AdamW", 0.1, tuned=True, backgrounds=12, batch=2, epochs=4)
    yield _spec("SGD 1, warm-up, 25 epochs", "divergent", "SGD", 1.0, epochs=25)


def grid() -> list[Spec]:
    """All runs; their names are unique."""
    return [*healthy(), *sweep(), *divergent()]


class Recording:
    """Writes down what a training shows: the events that the sensors would have been given, in order.

    `events` holds ("loss", value, targets), ("step", norm, distance of the weights from the start as a share of their
    norm, learning rate) and ("ratio", changed, size, steps, the change of matrices and filters alone as a
    share of their norm, and that of the worst of them).
    """

    def __init__(self, times: tuple[int, float] | None = None) -> None:
        self.times = times
        self.events: list[tuple[Any, ...]] = []
        self.metrics: dict[str, float] = {}
        self.batches = self.steps = self.targets = 0

    @property
    def callbacks(self) -> dict[str, Any]:
        """For `lab.train`."""
        return {
            "on_train_start": self._attach,
            "on_train_batch_start": self._batch_start,
            "on_fit_epoch_end": lambda t: self.metrics.update({k: float(v) for k, v in t.metrics.items()}),
        }

    def _attach(self, trainer: Any) -> None:
        import torch

        torch.set_num_threads(1)  # several runs share the machine
        self._weights = [p for p in trainer.model.parameters() if p.requires_grad]
        self._start = [p.detach().clone() for p in self._weights]
        self._snapshots = dict.fromkeys(SNAPSHOTS, self._start)
        preprocess, step, scale = trainer.preprocess_batch, trainer.optimizer_step, trainer.scaler.scale

        def batch(batch: Any) -> Any:
            self.targets = int(batch["cls"].shape[0])
            return preprocess(batch)

        def scaled(loss: Any) -> Any:
            self.batches += 1
            self.events.append(("loss", float(loss), self.targets))
            return scale(loss)

        def overheard() -> None:
            clip = torch.nn.utils.clip_grad_norm_
            norms = []
            torch.nn.utils.clip_grad_norm_ = lambda *a, **k: norms.append(clip(*a, **k)) or norms[-1]
            try:
                step()
            finally:
                torch.nn.utils.clip_grad_norm_ = clip
            self._step(float(norms[0]), trainer.optimizer.param_groups[-1]["lr"])

        trainer.preprocess_batch, trainer.optimizer_step, trainer.scaler.scale = batch, overheard, scaled
        trainer.final_eval = lambda: None  # only the trajectory counts

    def _batch_start(self, trainer: Any) -> None:
        if self.times and self.batches == self.times[0]:
            trainer.scheduler.base_lrs = [lr * self.times[1] for lr in trainer.scheduler.base_lrs]
            for group in trainer.optimizer.param_groups:
                group["lr"] *= self.times[1]

    def _step(self, norm: float, lr: float) -> None:
        self.steps += 1
        now = [p.detach() for p in self._weights]
        known = norm if math.isfinite(norm) else None
        self.events.append(("step", known, _distance(now, self._start).share, lr))
        for every in SNAPSHOTS:
            if self.steps % every == 0:
                apart = _distance(now, self._snapshots[every])
                self.events.append(("ratio", apart.changed, apart.size, every, apart.matrices, apart.worst))
                self._snapshots[every] = [p.clone() for p in now]


@dataclass(frozen=True)
class _Apart:
    """Norm of a change and norm before it; the change as a share for matrices and filters only, and for the worst."""

    changed: float
    size: float
    matrices: float
    worst: float

    @property
    def share(self) -> float:
        return self.changed / self.size


def _distance(now: list[Any], before: list[Any]) -> _Apart:
    import torch

    change = torch.stack(torch._foreach_norm(torch._foreach_sub(now, before)))
    size = torch.stack(torch._foreach_norm(before))
    deep = torch.tensor([w.ndim > 1 for w in now])
    matrices = float(change[deep].norm() / size[deep].norm())
    return _Apart(float(change.norm()), float(size.norm()), matrices, float((change[deep] / size[deep]).max()))


def dataset(folder: Path, spec: Spec) -> Path:
    """The images of a run; drawn once for all runs that need the same."""
    root = folder / f"{spec.task}-{spec.images}-{spec.backgrounds}-{spec.size}"
    if spec.task == "classify":
        return root if root.is_dir() else _coloured(root, spec)
    if not (root / "data.yaml").is_file():
        size = (spec.size, spec.size)
        make_dataset(root, task=spec.task, n_train=spec.images, n_val=8, size=size, seed=3, n_classes=2)
        for number in range(spec.backgrounds):
            (root / "labels" / "train" / f"{number:04d}.txt").write_text("")
    return root / "data.yaml"


def _coloured(root: Path, spec: Spec) -> Path:
    """Two classes of noise with a tint, for the classifier."""
    noise = np.random.default_rng(3)
    for split, count in (("train", spec.images // 2), ("val", 4)):
        for channel, name in enumerate(("blue", "red")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = noise.integers(0, 200, (spec.size, spec.size, 3), dtype=np.uint8)
                image[..., 2 * channel] += 20
                cv2.imwrite(str(root / split / name / f"{number}.png"), image)
    return root


def record(folder: Path, spec: Spec, weights: Path) -> dict[str, Any]:
    """Train and return the events, the metrics at the end and what the run raised; JSON-ready."""
    import lab

    recording = Recording(spec.times)
    arguments = {"imgsz": 64, "save": False, **spec.arguments}
    model = str(arguments.get("model", ""))
    if model.endswith(".pt"):
        arguments["model"] = str(weights / model)
    data = dataset(folder / "data", spec)
    run = folder / "runs" / spec.name.replace(" ", "_").replace(",", "")
    with lab.bare():
        result = lab.train(data, run, task=spec.task, scaler=spec.scaler, callbacks=recording.callbacks, **arguments)
    error = None if result.error is None else f"{type(result.error).__name__}: {result.error}"
    return {"name": spec.name, "events": recording.events, "metrics": recording.metrics, "error": error}


def write(path: Path, recorded: dict[str, Any]) -> None:
    """One recording as JSON; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".part").write_text(json.dumps(recorded))
    path.with_suffix(".part").replace(path)
