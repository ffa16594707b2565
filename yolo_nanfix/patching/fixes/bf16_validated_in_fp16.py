"""`BaseValidator.__call__` inside a bfloat16 training, without float16."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import text_probe

AUTOCAST = "autocast"


@wrapper
def validate(
    wrapped: Any, instance: Any, trainer: Any = None, *args: Any, bf16_validation: str = "float32", **kwargs: Any
) -> Any:
    """In the precision that the card's parameter names, where `trainer` trains in bfloat16."""
    if bf16_validation == "stock" or trainer is None or trainer.args.amp != "bf16":
        return wrapped(trainer, *args, **kwargs)
    with _in_float32(trainer) if bf16_validation == "float32" else _in_bfloat16(wrapped):
        return wrapped(trainer, *args, **kwargs)


@contextmanager
def _in_float32(trainer: Any) -> Iterator[None]:
    """In a `with` block, `trainer.amp` is False."""
    amp, trainer.amp = trainer.amp, False
    try:
        yield
    finally:
        trainer.amp = amp


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


FIX = Fix(wrapper=validate, probe=text_probe(uses=(AUTOCAST, "amp", "quantize"), takes=("trainer",), more=True))
