"""The losses of releases up to 8.0.6, with a divisor of 1 for batches without objects."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from yolo_nanfix.numerics.targets import scores_with_a_sum
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import text_probe


@wrapper
def loss(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream divides by the sum of the scores that the assigner returns, and gives them to the class loss.

    During the call, its assigner returns scores with a sum above 0, and its class loss gets the true ones.
    """
    assigner, bce = instance.assigner, instance.bce
    true: list[Tensor] = []

    def assign(*inputs: Any, **options: Any) -> tuple[Any, ...]:
        labels, boxes, scores, matched, *rest = assigner(*inputs, **options)
        true.append(scores)
        scores, empty = scores_with_a_sum(scores, matched)
        tally.add("target-scores-sum-zero", empty)
        return labels, boxes, scores, matched, *rest

    def class_loss(logits: Tensor, scores: Tensor) -> Any:
        return bce(logits, true[-1].to(scores.dtype))

    instance.assigner, instance.bce = assign, class_loss
    try:
        return wrapped(*args, **kwargs)
    finally:
        instance.assigner, instance.bce = assigner, bce


FIX = Fix(wrapper=loss, probe=text_probe(uses=("assigner", "bce")))
