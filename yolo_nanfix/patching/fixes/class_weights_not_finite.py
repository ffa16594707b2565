"""Loss constructors that take class weights only where they are finite."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper

NAME = "class-weights-not-finite"


def _wrapper(params: Params) -> Wrapper:
    def init(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        wrapped(*args, **kwargs)
        if isinstance(getattr(instance, "class_weights", None), Tensor):
            instance.class_weights = _mended(instance.class_weights)
        elif isinstance(getattr(getattr(instance, "ce", None), "weight", None), Tensor):
            instance.ce.weight = _mended(instance.ce.weight)

    return init


def _mended(weights: Tensor) -> Tensor:
    """1 in place of each weight that is not finite, and of each 0 beside one.

    Upstream divides the weights by their mean: one Inf among them becomes NaN and all others 0.
    """
    bad = ~weights.isfinite()
    if not bad.any():
        return weights
    bad |= weights == 0
    tally.add(NAME, bad)
    classes = ", ".join(map(str, bad.flatten().nonzero().flatten().tolist()))
    upstream.log(f"yolo-nanfix: {NAME}: class weights not finite, 1 is taken for the classes {classes}")
    return weights.masked_fill(bad, 1.0)


def _probe(stock: Any, patched: Any) -> str | None:
    """No tensors to compare: the constructor must still take the weights from the model's `class_weights`."""
    code = inspect.unwrap(stock).__code__
    known = "class_weights" in code.co_consts or "class_weights" in code.co_names
    return None if known else "it no longer takes class_weights"


FIX = Fix(wrapper=_wrapper, probe=_probe)
