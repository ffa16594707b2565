"""Real, tiny training runs for the tests: stock or patched, with a live GradScaler or without, healthy or poisoned."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import logging
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import yolo_nanfix

TINY = str(Path(__file__).with_name("tiny.yaml"))
"""A small detector, for tests in which any will do."""
YOLOV8 = {
    "detect": "yolov8n.yaml",
    "segment": "yolov8n-seg.yaml",
    "pose": "yolov8n-pose.yaml",
    "obb": "yolov8n-obb.yaml",
    "classify": "yolov8n-cls.yaml",
}
MODELS = {**YOLOV8, "detect": TINY}
"""What `train` trains unless told otherwise."""


@dataclass
class Result:
    """One run: its trainer, the loss of every micro-batch, what it raised, and the report of the guard."""

    trainer: Any = None
    losses: list[float] = field(default_factory=list)
    error: BaseException | None = None

    def rows(self) -> list[dict[str, str]]:
        lines = [line.strip().split(",") for line in Path(self.trainer.csv).read_text().splitlines()]
        return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


@contextlib.contextmanager
def live_scaler():
    """A real, enabled GradScaler on the CPU; the arithmetic stays float32, so only planted faults are not finite."""
    from ultralytics.engine import trainer as module

    stock = module.check_amp, module.autocast, torch.amp.GradScaler
    module.check_amp = lambda model: True
    module.autocast = lambda *args, **kwargs: contextlib.nullcontext()
    torch.amp.GradScaler = lambda device=None, enabled=True, **kwargs: stock[2]("cpu", enabled=enabled)
    try:
        yield
    finally:
        module.check_amp, module.autocast, torch.amp.GradScaler = stock


@contextlib.contextmanager
def said():
    """The messages in Ultralytics' log, whatever an earlier training left of its level and its handlers."""
    import ultralytics  # noqa: F401 - it sets its logger up

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("ultralytics")
    level, below, disabled = logger.level, logging.root.manager.disable, logger.disabled
    logger.setLevel(logging.INFO)
    logging.disable(logging.NOTSET)
    logger.disabled = False
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logging.disable(below)
        logger.disabled = disabled


@contextlib.contextmanager
def bare():
    """Stock Ultralytics, but for what it needs to train at all where torchvision does not fit torch."""
    with yolo_nanfix.patched("torchvision-operators-missing", guard=False):
        yield


TRAINERS = {
    "detect": "DetectionTrainer",
    "segment": "SegmentationTrainer",
    "pose": "PoseTrainer",
    "obb": "OBBTrainer",
    "classify": "ClassificationTrainer",
}


def trainer_class(task: str) -> type:
    """Upstream's trainer; only its own module is imported, for old releases do not have all tasks."""
    return getattr(importlib.import_module(f"ultralytics.models.yolo.{task}"), TRAINERS[task])


def poisoned(task: str, where: set[tuple[int, int]]) -> type:
    """A user's trainer whose micro-batches (epoch, batch; 0-based) in `where` get one NaN pixel."""

    class Poisoned(trainer_class(task)):
        seen = None

        def preprocess_batch(self, batch: Any) -> Any:
            batch = super().preprocess_batch(batch)
            epoch, number = self.seen or (self.epoch, -1)
            self.seen = (self.epoch, number + 1 if epoch == self.epoch else 0)
            if self.seen in where:
                batch["img"][0, 0, 0, 0] = float("nan")
            return batch

    return Poisoned


FLOATS = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
"""Settings under which Ultralytics can augment float pixels: its change of colours takes bytes alone."""


def with_nan_pixels(data: Path, folder: Path, numbers: list[int], split: str = "train") -> Path:
    """A copy of a dataset in which some images have NaN pixels in their middle, in a float array beside each."""
    import cv2

    shutil.copytree(data.parent, folder)
    (folder / "data.yaml").write_text(data.read_text().replace(str(data.parent), str(folder)))
    files = sorted((folder / "images" / split).glob("*.jpg"))
    for file in (files[number] for number in numbers):
        pixels = cv2.imread(str(file)).astype(np.float32)
        pixels[28:36, 28:36] = np.nan
        np.save(file.with_suffix(".npy"), pixels)
    return folder / "data.yaml"


def train(
    data: Path | list[str],
    run: Path,
    *,
    task: str = "detect",
    trainer: type | None = None,
    scaler: bool = False,
    callbacks: dict[str, Any] | None = None,
    **arguments: Any,
) -> Result:
    """Train under whatever is patched now; quiet, on the CPU, seeded."""
    from ultralytics import YOLO

    result = Result()
    torch.manual_seed(0)  # some releases keep the weights that the model has before the trainer seeds
    model = YOLO(arguments.pop("model", MODELS[task]))
    model.add_callback("on_pretrain_routine_start", lambda t: setattr(result, "trainer", t))
    model.add_callback("on_train_batch_end", lambda t: result.losses.append(float(t.loss)))
    for event, function in (callbacks or {}).items():
        model.add_callback(event, function)
    defaults = {
        "epochs": 2,
        "imgsz": 64,
        "batch": 4,
        "nbs": 4,
        "workers": 0,
        "plots": False,
        "project": str(run.parent),
        "name": run.name,
        "exist_ok": True,
        "verbose": False,
        "seed": 0,
        "device": "cpu",
        "optimizer": "SGD",
        "lr0": 0.01,
        "warmup_epochs": 0,
        "pretrained": False,
        "mosaic": 0.0,
        "close_mosaic": 0,
    }
    with contextlib.ExitStack() as stack:
        if scaler:
            stack.enter_context(live_scaler())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        try:
            _start(model, trainer, {**defaults, **arguments, "data": data if isinstance(data, list) else str(data)})
        except Exception as error:
            result.error = error
    return result


def _start(model: Any, trainer: type | None, arguments: dict[str, Any]) -> None:
    if trainer is None:
        model.train(**arguments)
    elif "trainer" in inspect.signature(model.train).parameters:
        model.train(trainer=trainer, **arguments)
    else:  # 8.0.136 has no way to pass one
        trainer(overrides={**model.overrides, **arguments, "mode": "train"}, _callbacks=model.callbacks).train()


def did(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The actions of an event of a report, by what was done."""
    return {action["did"]: action for action in event["actions"]}


def not_finite(tensors: Any) -> int:
    """How many values of floating tensors are not finite."""
    floating = [t for t in tensors if isinstance(t, torch.Tensor) and t.is_floating_point()]
    return sum(int((~t.isfinite()).sum()) for t in floating)


def state(trainer: Any) -> dict[str, torch.Tensor]:
    """Everything that training changes: weights, BatchNorm, EMA, optimizer and scaler, as copies."""
    from ultralytics.utils.torch_utils import unwrap_model

    parts = {f"model.{k}": v for k, v in unwrap_model(trainer.model).state_dict().items()}
    parts |= {f"ema.{k}": v for k, v in trainer.ema.ema.state_dict().items()}
    parts["ema.updates"] = torch.tensor(trainer.ema.updates)
    for i, values in enumerate(trainer.optimizer.state.values()):
        parts |= {f"optimizer.{i}.{k}": v for k, v in values.items() if isinstance(v, torch.Tensor)}
    if trainer.scaler.is_enabled():
        parts["scaler"] = torch.tensor(trainer.scaler.get_scale())
    return {k: v.detach().clone() for k, v in parts.items()}


def checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The weights that a checkpoint of this test run holds."""
    saved = torch.load(path, map_location="cpu", weights_only=False)
    return (saved.get("ema") or saved["model"]).state_dict()


def is_zeroed(weights: dict[str, torch.Tensor]) -> bool:
    """Whether more than 99 % of all floating values are 0."""
    floating = [v for v in weights.values() if v.is_floating_point()]
    return sum(int((v == 0).sum()) for v in floating) > 0.99 * sum(v.numel() for v in floating)
