"""The healthy runs of healthy_runs.py: what each trains, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import user_modules as own

TINY = str(Path(__file__).resolve().parents[1] / "tests" / "tiny.yaml")
OPTIMIZERS = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSProp", "Adamax", "MuSGD", "auto")
RTDETR = {
    "nc": 2,
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "backbone": [[-1, 1, "Conv", [width, 3, step]] for width, step in ((16, 4), (16, 2), (32, 2), (32, 2))],
    "head": [[-1, 1, "AIFI", [64, 4]], [[1, 2, 4], 1, "RTDETRDecoder", ["nc", 32, 20, 4, 4, 2]]],
}
"""A small RT-DETR: an encoder layer, and a decoder of two layers with 20 queries."""


@dataclass(frozen=True)
class Spec:
    """One healthy run.

    Attributes:
        task: of Ultralytics.
        model: a file, a name, or the yaml as a mapping.
        trainer: makes the user's own trainer class out of upstream's.
        args: training arguments.
        precision: float32; `scaler`: with a live GradScaler around float32; `float16` (and scaler) and `bfloat16`: by
            autocast on the CPU.
        images: how many there are to train on.
        resume: the epoch (0-based) before which the run is broken off, to be resumed.
        trap: what stock itself spoils in such a run, healthy as it is; what the guard then says of validation is right.
    """

    task: str = "detect"
    model: str | Mapping[str, Any] = TINY
    trainer: Callable[[type], type] | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    images: int = 8
    resume: int | None = None
    trap: str = ""

    @property
    def rounds(self) -> bool:
        """Patches for half precision change its last digits, so that this run is compared with one that has them."""
        return self.precision in ("float16", "bfloat16")


def module(extra: own.Extra, layers: tuple[int, ...] = (3,), **fields: Any) -> Spec:
    """A run of a model with a module of the user's own."""
    return Spec(trainer=lambda base: own.behind(base, extra, layers), **fields)


def parametrized(kind: str) -> Spec:
    """A run of a model with a parametrized convolution."""
    return Spec(trainer=lambda base: own.behind(own.plain_checkpoints(base), lambda c: own.Normed(c, kind)))


def arguments(**args: Any) -> Spec:
    """A run with other training arguments."""
    return Spec(args=args)


MODULES: Mapping[str, Spec] = {
    "mask of -inf, not persistent": module(lambda c: own.Masked(c, False)),
    "mask of -inf, with GradScaler": module(lambda c: own.Masked(c, False), precision="scaler"),
    "mask of -inf, persistent": module(lambda c: own.Masked(c, True), trap="its EMA makes NaN of persistent -inf"),
    "buffer set back to inf": module(own.Best),
    "buffer of NaN": module(own.Unseen),
    "FakeQuantize": module(
        lambda c: own.Observed("fake"), layers=(1,), trap="its validation of best.pt may give NaN predictions"
    ),
    "FakeQuantize, one for two layers": module(
        lambda c: own.Observed("fake"), layers=(0, 1), trap="its last validation, of best.pt, gives NaN predictions"
    ),
    "PerChannelMinMaxObserver": module(lambda c: own.Observed("channel", c)),
    "MinMaxObserver": module(lambda c: own.Observed("minmax")),
    "HistogramObserver": module(lambda c: own.Observed("histogram")),
    "state as Python numbers": module(lambda c: own.FloatState()),
    "state as plain tensors": module(own.PlainTensor),
    "buffer made in the first step": module(lambda c: own.LazyBuffer()),
    "int, bool, complex, empty buffers": module(lambda c: own.OddBuffers()),
    "module in two places": module(own.ZeroBranch, layers=(4, 5), model=TINY),
    "weight_norm": parametrized("weight"),
    "spectral_norm": parametrized("spectral"),
    "spectral_norm by hooks": module(lambda c: own.Normed(c, "spectral-hook")),
    "own parametrization": parametrized("own"),
    "instance, group, frozen norms": module(own.OwnNorms),
    "dropout and noise": module(lambda c: own.Noise()),
    "hooks on gradients": module(own.Hooked),
    "branch of zeros, unused parameter": module(own.ZeroBranch),
    "own loss with state": Spec(trainer=own.own_loss),
    "own optimizer step": Spec(trainer=own.own_step),
    "own transform that draws": Spec(trainer=own.own_transform),
    "own transform, 2 workers": Spec(trainer=own.own_transform, args={"workers": 2}),
}
SETTINGS: Mapping[str, Spec] = {
    "batch 1": arguments(batch=1, nbs=1),
    "batch 1, accumulated": arguments(batch=1, nbs=4),
    "odd last batch": Spec(images=9),
    "accumulation": arguments(batch=2, nbs=8),
    "accumulation, GradScaler": Spec(args={"batch": 2, "nbs": 8}, precision="scaler"),
    "multi_scale": arguments(multi_scale=0.5, imgsz=96),
    "freeze 2 layers": arguments(freeze=2),
    "freeze a list": arguments(freeze=[0, 2, 4]),
    "freeze 0": arguments(freeze=0),
    "warm-up, cos_lr": arguments(cos_lr=True, warmup_epochs=2, nbs=16, epochs=4),
    "mosaic, close_mosaic": arguments(mosaic=1.0, close_mosaic=1, epochs=3),
    "mosaic, mixup, cutmix, erasing": arguments(mosaic=1.0, mixup=0.5, cutmix=0.5, erasing=0.4, degrees=10.0),
    "fraction, single_cls": arguments(fraction=0.75, single_cls=True),
    "rect": arguments(rect=True),
    "cache ram": arguments(cache="ram"),
    "cache disk": arguments(cache="disk"),
    "2 workers": arguments(workers=2, mosaic=1.0),
    "save_period, no val": arguments(save_period=1, val=False, epochs=3),
    "label smoothing, class weights": arguments(cls_pw=0.5),
    "patience 1": arguments(patience=1, epochs=4),
    "time": arguments(time=0.0005, epochs=2),
    "resume": Spec(args={"epochs": 3}, resume=1),
    "resume, AdamW, GradScaler": Spec(args={"epochs": 3, "optimizer": "AdamW"}, precision="scaler", resume=2),
    "resume, mask of -inf": module(lambda c: own.Masked(c, False), args={"epochs": 3}, resume=1),
    "deterministic off": arguments(deterministic=False),
    "plots": arguments(plots=True),
    "GradScaler": Spec(precision="scaler"),
    "float16": Spec(precision="float16"),
    "float16, observers": module(lambda c: own.Observed("minmax"), precision="float16"),
    "bfloat16": Spec(precision="bfloat16"),
    **{f"optimizer {name}": arguments(optimizer=name, lr0=0.001) for name in OPTIMIZERS},
    "optimizer AdamW, GradScaler": Spec(args={"optimizer": "AdamW"}, precision="scaler"),
}
TASKS: Mapping[str, Spec] = {
    "segment": Spec(task="segment", model="yolov8n-seg.yaml"),
    "segment, copy_paste": Spec(task="segment", model="yolo11n-seg.yaml", args={"copy_paste": 0.5, "mosaic": 1.0}),
    "pose": Spec(task="pose", model="yolov8n-pose.yaml"),
    "pose of YOLO26": Spec(task="pose", model="yolo26n-pose.yaml"),
    "obb": Spec(task="obb", model="yolov8n-obb.yaml"),
    "classify": Spec(task="classify", model="yolov8n-cls.yaml"),
    "classify, float16": Spec(task="classify", model="yolo11n-cls.yaml", precision="float16"),
    "semantic": Spec(task="semantic", model="yolo26n-sem.yaml"),
    "depth": Spec(task="depth", model="yolo26n-depth.yaml"),
    "YOLO26": Spec(model="yolo26n.yaml"),
    "YOLOv10": Spec(model="yolov10n.yaml"),
    "YOLO12, mask of -inf": module(lambda c: own.Masked(c, False), model="yolo12n.yaml"),
    "RT-DETR": Spec(model=RTDETR, args={"optimizer": "AdamW", "lr0": 0.0001}),
    "RT-DETR, GradScaler": Spec(model=RTDETR, args={"optimizer": "AdamW", "lr0": 0.0001}, precision="scaler"),
}
SPECS: Mapping[str, Spec] = {**MODULES, **SETTINGS, **TASKS}
