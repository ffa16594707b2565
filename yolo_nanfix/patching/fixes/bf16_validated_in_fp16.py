"""`BaseValidator.__call__` inside a bfloat16 training, without float16."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from yolo_nanfix.patching.fix import Fix, Params, Wrapper

AUTOCAST = "autocast"


def _wrapper(params: Params) -> Wrapper:
    validate_in = {"float32": _in_float32, "bfloat16": _in_bfloat16, "stock": None}[str(params["bf16_validation"])]

    def validate(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        trainer = args[0] if args else kwargs.get("trainer")
        if validate_in is None or trainer is None or trainer.args.amp != "bf16":
            return wrapped(*args, **kwargs)
        return validate_in(trainer, wrapped, args, kwargs)

    return validate


def _in_float32(trainer: Any, wrapped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call upstream's method while the trainer says that it does not train in mixed precision."""
    amp, trainer.amp = trainer.amp, False
    try:
        return wrapped(*args, **kwargs)
    finally:
        trainer.amp = amp


def _in_bfloat16(trainer: Any, wrapped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call upstream's method while `autocast` in its module's globals takes bfloat16 for True."""
    scope = inspect.unwrap(wrapped.__func__).__globals__
    stock = scope[AUTOCAST]

    def autocast(enabled: Any, *rest: Any, **options: Any) -> Any:
        return stock(torch.bfloat16 if enabled is True else enabled, *rest, **options)

    scope[AUTOCAST] = autocast
    try:
        return wrapped(*args, **kwargs)
    finally:
        scope[AUTOCAST] = stock


def _probe(stock: Any, patched: Any) -> str | None:
    """No tensors to compare: the method must still take the precision from `trainer.amp` and call `autocast`."""
    function = inspect.unwrap(stock)
    if list(inspect.signature(function).parameters)[1:2] != ["trainer"]:
        return "the method no longer takes a trainer first"
    if not {AUTOCAST, "amp", "quantize"} <= set(function.__code__.co_names):
        return f"the method no longer calls {AUTOCAST} where trainer.amp is set"
    return None


FIX = Fix(wrapper=_wrapper, probe=_probe)
