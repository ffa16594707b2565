"""`BaseValidator.__call__` in training on float32 weights under autocast: the live EMA is never halved."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import Any

import torch

from yolo_nanfix.numerics.halves import in_float32
from yolo_nanfix.patching.fix import Fix, Params, Wrapper


def _wrapper(params: Params) -> Wrapper:
    def validate(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        trainer = args[0] if args else kwargs.get("trainer")
        if trainer is None:
            return wrapped(*args, **kwargs)
        model = trainer.ema.ema or trainer.model
        with _halved_by_autocast(getattr(model, "_orig_mod", model)):
            return wrapped(*args, **kwargs)

    return validate


@contextlib.contextmanager
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

    Its outputs are in float32, which everything after the forward pass of a validation takes.
    """
    view = copy.copy(model)
    stock = view.forward

    def forward(x: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(x.device.type, dtype=torch.float16):
            outputs = stock(x, *args, **kwargs)
        return in_float32(outputs)

    view.forward = forward
    return view


def _probe(stock: Any, patched: Any) -> str | None:
    """No tensors to compare: the method must still take a trainer, and cast the EMA by `half()` or `float()`."""
    function = inspect.unwrap(stock)
    if list(inspect.signature(function).parameters)[1:2] != ["trainer"]:
        return "the method no longer takes a trainer first"
    if not {"half", "float", "ema"} <= set(function.__code__.co_names):
        return "the method no longer casts the EMA"
    return None


FIX = Fix(wrapper=_wrapper, probe=_probe)
