"""Validation inside training without rectangular batches, for models that cannot take their shapes."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import Any

import torch

from yolo_nanfix import upstream
from yolo_nanfix.numerics.finite import unwrapped
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper

BUILDERS = ("build_yolo_dataset", "build_dataloader", "create_dataloader")
"""What upstream passes `rect` to, by name: since 8.0.89, before that, and for its old `v5loader=True`."""


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


@contextlib.contextmanager
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
    precision = torch.autocast(device.type) if amp else contextlib.nullcontext()
    with torch.random.fork_rng(gpus), torch.no_grad(), precision:
        try:
            model(torch.zeros(shape, device=device))
        except torch.cuda.OutOfMemoryError:
            return None
        except Exception as error:  # a block may refuse a shape with any exception
            return error
    return None


def _probe(stock: Any, patched: Any) -> str | None:
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


FIX = Fix(wrapper=build_validation, probe=_probe)
