"""`BaseValidator.__call__` in training on float32 weights under autocast: the live EMA is never halved."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch

from yolo_nanfix.numerics.precision import in_float32
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import text_probe


@wrapper
def validate(wrapped: Any, instance: Any, trainer: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Within training, validate a view of the EMA that computes in float16."""
    if trainer is None:
        return wrapped(trainer, *args, **kwargs)
    model = trainer.ema.ema or trainer.model
    with _halved_by_autocast(getattr(model, "_orig_mod", model)):
        return wrapped(trainer, *args, **kwargs)


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


FIX = Fix(wrapper=validate, probe=text_probe(uses=("half", "float", "ema"), takes=("trainer",), more=True))
