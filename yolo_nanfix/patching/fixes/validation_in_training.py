"""Validation inside training: in which precision it computes, and in which shapes of batches."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from yolo_nanfix import upstream
from yolo_nanfix.numerics.finite import unwrapped
from yolo_nanfix.numerics.precision import float16_autocast, holds_float16, in_float32
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, attributes, wrapper
from yolo_nanfix.patching.probe import text_probe

AUTOCAST = "autocast"
BUILDERS = ("build_yolo_dataset", "build_dataloader", "create_dataloader")
"""What upstream passes `rect` to, by name: since 8.0.89, before that, and for its old `v5loader=True`."""


@wrapper
def val_loss(wrapped: Any, instance: Any, batch: dict[str, Any], preds: Any = None) -> Any:
    """Upstream's loss, in float32 where a validation hands in float16 predictions."""
    device_type = batch["img"].device.type
    if instance.training or preds is None or not (holds_float16(preds) or float16_autocast(device_type)):
        return wrapped(batch, preds)
    with torch.autocast(device_type, enabled=False):
        return wrapped(batch, in_float32(preds))


@wrapper
def validate_bf16(
    wrapped: Any, instance: Any, trainer: Any = None, *args: Any, bf16_validation: str = "float32", **kwargs: Any
) -> Any:
    """In the precision that the card's parameter names, where `trainer` trains in bfloat16."""
    if bf16_validation == "stock" or trainer is None or trainer.args.amp != "bf16":
        return wrapped(trainer, *args, **kwargs)
    with attributes(trainer, amp=False) if bf16_validation == "float32" else _in_bfloat16(wrapped):
        return wrapped(trainer, *args, **kwargs)


@contextmanager
def _in_bfloat16(wrapped: Any) -> Iterator[None]:
    """In a `with` block, `autocast(True)` in upstream's module computes in bfloat16."""
    scope = inspect.unwrap(wrapped.__func__).__globals__
    stock = scope[AUTOCAST]

    def autocast(enabled: Any, *rest: Any, **options: Any) -> Any:
        return stock(torch.bfloat16 if enabled is True else enabled, *rest, **options)

    scope[AUTOCAST] = autocast
    try:
        yield
    finally:
        scope[AUTOCAST] = stock


@wrapper
def validate_ema(wrapped: Any, instance: Any, trainer: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Within training, validate a view of the EMA that computes in float16."""
    if trainer is None:
        return wrapped(trainer, *args, **kwargs)
    model = trainer.ema.ema or trainer.model
    with _halved_by_autocast(getattr(model, "_orig_mod", model)):
        return wrapped(trainer, *args, **kwargs)


@contextmanager
def _halved_by_autocast(model: Any) -> Iterator[None]:
    """Let the validator's `model.half()` return a view of the model that computes in float16 and keeps its weights.

    The validator casts once, by `half()` or `float()`: the first of them leaves the model as it was.
    """

    def restore() -> None:
        for name in ("half", "float"):
            vars(model).pop(name, None)

    def half() -> Any:
        restore()
        return _view(model)

    def full() -> Any:
        restore()
        return model.float()

    vars(model).update(half=half, float=full)
    try:
        yield
    finally:
        restore()


def _view(model: Any) -> Any:
    """A model that shares all weights and runs under float16 autocast, as upstream validates since 8.4.62.

    Its outputs are float32, which everything after the forward pass of a validation accepts.
    """
    view = copy.copy(model)
    stock = view.forward

    def forward(x: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(x.device.type, dtype=torch.float16):
            outputs = stock(x, *args, **kwargs)
        return in_float32(outputs)

    view.forward = forward
    return view


@wrapper
def build_validation(wrapped: Any, instance: Any, *args: Any, rect: str, **kwargs: Any) -> Any:
    """Upstream's dataset or loader; that of a validation is built anew with square batches where it must."""
    function = inspect.unwrap(getattr(wrapped, "__func__", wrapped))  # not bound if called as Trainer.method(self)
    mode = inspect.signature(function).bind(instance, *args, **kwargs).arguments.get("mode", "train")
    if mode != "val" or rect == "stock":
        return wrapped(*args, **kwargs)
    if instance.args.rect:
        upstream.log("rect-validation: rect=True is set by you, so validation batches stay rectangular")
        return wrapped(*args, **kwargs)
    if rect == "auto":
        built = wrapped(*args, **kwargs)
        misfit = _misfit(instance, built.dataset if isinstance(built, torch.utils.data.DataLoader) else built)
        if misfit is None:
            return built
        del built
        tally.add("rect-validation", 1)
        upstream.log(f"rect-validation: this model {misfit}; its validation batches will be square")
    with _without_rect(function.__globals__):
        return wrapped(*args, **kwargs)


@contextmanager
def _without_rect(scope: dict[str, Any]) -> Iterator[None]:
    """In a `with` block, the dataset builders among a module's globals ignore `rect=True`.

    Upstream passes `rect=mode == "val"` to them; the user's own `rect=True` is in `cfg` and still counts.
    """
    builders = {name: scope[name] for name in BUILDERS if name in scope}
    scope.update({name: _square(builder) for name, builder in builders.items()})
    try:
        yield
    finally:
        scope.update(builders)


def _square(builder: Any) -> Any:
    def build_validation(*args: Any, **kwargs: Any) -> Any:
        return builder(*args, **({**kwargs, "rect": False} if "rect" in kwargs else kwargs))

    return build_validation


def _misfit(trainer: Any, dataset: Any) -> str | None:
    """At which shape of the rectangular batches the model fails, and how; None if it takes all, or no square ones.

    One forward pass of one image per shape, on a copy of the model: flags, BatchNorm statistics and the state of the
    head stay as they are. Besides the copy this costs at most one image of each validation batch.
    """
    if not getattr(dataset, "rect", False) or not isinstance(trainer.model, torch.nn.Module):
        return None
    model = copy.deepcopy(unwrapped(trainer.model)).eval()
    channels, imgsz = trainer.data.get("channels", 3), trainer.args.imgsz
    amp = bool(getattr(trainer, "amp", False))
    for height, width in sorted({tuple(shape) for shape in dataset.batch_shapes.tolist()}):
        error = _failure(model, (1, channels, height, width), amp)
        if error is not None:
            if _failure(model, (1, channels, imgsz, imgsz), amp) is not None:
                return None  # not because of rect: the model cannot be run like this, or validation fails anyway
            reason = str(error).strip().partition("\n")[0]
            return f"fails at the rectangular shape {height}x{width} ({type(error).__name__}: {reason})"
    return None


def _failure(model: torch.nn.Module, shape: tuple[int, ...], amp: bool) -> Exception | None:
    """What the model raises for an image of that shape; running out of memory does not count."""
    device = next(model.parameters()).device
    gpus = [device] if device.type == "cuda" else []
    precision = torch.autocast(device.type) if amp else nullcontext()
    with torch.random.fork_rng(gpus), torch.no_grad(), precision:
        try:
            model(torch.zeros(shape, device=device))
        except torch.cuda.OutOfMemoryError:
            return None
        except Exception as error:  # a block may refuse a shape with any exception
            return error
    return None


def _rect_probe(stock: Any, patched: Any) -> str | None:
    """No tensors to compare: the method must still pass `rect` by name to a builder that we intercept."""
    function = inspect.unwrap(stock)
    scope, code = function.__globals__, function.__code__
    builder = next((name for name in BUILDERS[:2] if name in scope), None)
    if builder is None or "rect" not in inspect.signature(scope[builder]).parameters:
        return "its module has no dataset builder that takes rect"
    if "build_dataset" in code.co_names:  # 8.0.89 to 8.0.135: the loader calls that method, which is in this module
        return None
    if builder not in code.co_names or not any("rect" in c for c in code.co_consts if isinstance(c, tuple)):
        return f"the method no longer passes rect to {builder} by name"
    return None


FIXES = {
    "val-loss-half-precision": Fix(val_loss, text_probe(takes=("batch", "preds"))),
    "bf16-validated-in-fp16": Fix(
        validate_bf16, text_probe(uses=(AUTOCAST, "amp", "quantize"), takes=("trainer",), more=True)
    ),
    "ema-halved-in-validation": Fix(
        validate_ema, text_probe(uses=("half", "float", "ema"), takes=("trainer",), more=True)
    ),
    "rect-validation": Fix(build_validation, _rect_probe),
}
