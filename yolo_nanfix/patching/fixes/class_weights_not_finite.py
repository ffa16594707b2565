"""Loss constructors that replace non-finite class weights by 1."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import text_probe

NAME = "class-weights-not-finite"


@wrapper
def init(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
    """Upstream's constructor; then its weights, wherever the release keeps them, are made finite."""
    wrapped(*args, **kwargs)
    if isinstance(getattr(instance, "class_weights", None), Tensor):
        instance.class_weights = _finite_weights(instance.class_weights)
    elif isinstance(getattr(getattr(instance, "ce", None), "weight", None), Tensor):
        instance.ce.weight = _finite_weights(instance.ce.weight)


def _finite_weights(weights: Tensor) -> Tensor:
    """The weights, with 1 for each that is non-finite, and for each 0 if any is.

    Upstream divides the weights by their mean: a single Inf becomes NaN and makes all others 0.
    """
    bad = ~weights.isfinite()
    if not bad.any():
        return weights
    bad |= weights == 0
    tally.add(NAME, bad)
    classes = ", ".join(map(str, bad.flatten().nonzero().flatten().tolist()))
    upstream.log(f"yolo-nanfix: {NAME}: class weights not finite, 1 is taken for the classes {classes}")
    return weights.masked_fill(bad, 1.0)


FIX = Fix(wrapper=init, probe=text_probe(uses=("class_weights",)))
