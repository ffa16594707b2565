"""Box, DFL and class losses on inputs at which their formulas are finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.focal import focal_logits, varifocal_logits
from yolo_nanfix.numerics.iou import regular_boxes, regular_rboxes
from yolo_nanfix.numerics.precision import widened
from yolo_nanfix.numerics.targets import MARGIN, indexable, scores_with_a_sum
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, attributes, float32_wrapper, wrapper
from yolo_nanfix.patching.probe import calling, difference, generator, loss_class, samples, text_probe

BINS = 16
FOCAL_GAMMA, VARIFOCAL_GAMMA = 1.5, 2.0
"""Upstream's defaults where the instance has none: up to 8.3.115, gamma and alpha are arguments of the call."""


@float32_wrapper
def bbox_iou(
    wrapped: Any, instance: Any, box1: Tensor, box2: Tensor, xywh: bool = True, *rest: Any, **options: Any
) -> Any:
    """Upstream's value for `regular_boxes`."""
    moved1, moved2 = regular_boxes(box1, box2, xywh=xywh, eps=float(options.get("eps", 1e-7)))
    for box, moved in ((box1, moved1), (box2, moved2)):
        if moved is not box:
            tally.add("box-iou-half-precision", ((moved - box).detach().abs() > 0).any(-1))
    return wrapped(moved1, moved2, xywh, *rest, **options)


@float32_wrapper
def probiou(wrapped: Any, instance: Any, obb1: Tensor, obb2: Tensor, *rest: Any, **options: Any) -> Any:
    """Releases before 8.4.84 have no floor; the aspect term of CIoU divides by the sides themselves."""
    given = {**dict(zip(("CIoU", "eps", "floor"), rest, strict=False)), **options}
    floor = 0.0 if given.get("CIoU") else float(given.get("floor", 0.0))
    box1, moved1 = regular_rboxes(obb1, floor)
    box2, moved2 = regular_rboxes(obb2, floor)
    tally.add("probiou-degenerate-box", moved1)
    tally.add("probiou-degenerate-box", moved2)
    return wrapped(box1, box2, *rest, **options)


def _pairs(make: Callable[[Tensor, Tensor, torch.Generator], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Four sets of 64 pairs of boxes, from nearly equal to disjoint: `make(point, size, random)`, sides 2 to 200."""
    for seed in range(4):
        random = generator(seed)
        point, size = torch.rand(64, 2, generator=random) * 640, torch.rand(64, 2, generator=random) * 198 + 2
        target = make(point, size, random)
        yield target + torch.rand(target.shape, generator=random) * seed, target


def _bbox_iou_probe(stock: Any, patched: Any) -> str | None:
    boxes = [*_pairs(lambda corner, size, random: torch.cat((corner, corner + size), 1))]
    corners, centres = calling(xywh=False, CIoU=True), calling(xywh=True, GIoU=True)
    return difference(stock, patched, corners, boxes) or difference(stock, patched, centres, boxes)


def _probiou_probe(stock: Any, patched: Any) -> str | None:
    angle = torch.rand(64, 1, generator=generator(9)) * 3
    boxes = [*_pairs(lambda centre, size, random: torch.cat((centre, size, angle), 1))]
    return difference(stock, patched, calling(), boxes) or difference(stock, patched, calling(CIoU=True), boxes)


@float32_wrapper
def dfl(wrapped: Any, instance: Any, pred_dist: Tensor, target: Tensor) -> Tensor:
    """`DFLoss.__call__`, up to 8.2.46 `BboxLoss._df_loss`, with targets that are valid indices.

    A row with a non-finite target gets NaN as loss and gradient, so that it is not hidden.
    """
    bins = pred_dist.shape[-1]
    safe, finite = indexable(target, bins)
    tally.add("dfl-target-not-finite", ~finite)
    loss = wrapped(widened(pred_dist), safe)
    if instance is not None:  # DFLoss clamps the caller's tensor in place; the older static method does not
        target.clamp_(0, bins - 1 - MARGIN)
    result: Tensor = loss * torch.where(finite, 1.0, torch.nan)
    return result


def _dfl_probe(stock: Any, patched: Any) -> str | None:
    """Logits of 12 boxes, shape (48, 16)."""
    target = torch.rand(12, 4, generator=generator(9)) * (BINS - 1.02)
    instance = loss_class("DFLoss")(BINS) if stock.__name__ == "__call__" else None
    logits = samples(lambda random: (torch.randn(48, BINS, generator=random),))
    return difference(stock, patched, calling(target, instance=instance), logits)


@float32_wrapper
def focal_loss(wrapped: Any, instance: Any, pred: Tensor, label: Tensor, *rest: Any, **options: Any) -> Any:
    """Upstream's loss on `focal_logits`; `rest` is (gamma, alpha)."""
    gamma = options.get("gamma", rest[0] if rest else getattr(instance, "gamma", FOCAL_GAMMA))
    label = widened(label)
    logit, moved = focal_logits(pred, label, float(gamma))
    tally.add("focal-loss-edge", moved)
    return wrapped(logit, label, *rest, **options)


@float32_wrapper
def varifocal_loss(
    wrapped: Any, instance: Any, pred_score: Tensor, gt_score: Tensor, label: Tensor, *rest: Any, **options: Any
) -> Any:
    """Upstream's loss on `varifocal_logits`; `rest` is (alpha, gamma)."""
    gamma = options.get("gamma", rest[1] if len(rest) > 1 else getattr(instance, "gamma", VARIFOCAL_GAMMA))
    logit, moved = varifocal_logits(pred_score, float(gamma))
    tally.add("varifocal-loss-edge", moved)
    return wrapped(logit, widened(gt_score), widened(label), *rest, **options)


def _class_probe(stock: Any, patched: Any, *, name: str, scored: bool) -> str | None:
    """Logits from -8 to 8, shape (2, 20, 4), and labels; where it is `scored`, scores before them."""
    random = generator(9)
    label = (torch.rand(2, 20, 4, generator=random) > 0.8).float()
    targets = (torch.rand(2, 20, 4, generator=random) * label, label) if scored else (label,)
    logits = samples(lambda random: (torch.rand(2, 20, 4, generator=random) * 16 - 8,))
    return difference(stock, patched, calling(*targets, instance=loss_class(name)()), logits)


@wrapper
def old_loss(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """The losses of releases up to 8.0.6, with a divisor of 1 for batches without objects.

    Upstream divides by the sum of the scores that the assigner returns, and gives them to the class loss. During the
    call, its assigner returns scores with a sum above 0, and its class loss gets the true ones.
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

    with attributes(instance, assigner=assign, bce=class_loss):
        return wrapped(*args, **kwargs)


@wrapper
def loss_with_weights(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
    """Upstream's constructor of a loss; then its class weights, wherever the release keeps them, are made finite."""
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
    tally.add("class-weights-not-finite", bad)
    classes = ", ".join(map(str, bad.flatten().nonzero().flatten().tolist()))
    upstream.log(
        f"yolo-nanfix: class-weights-not-finite: class weights not finite, 1 is taken for the classes {classes}"
    )
    return weights.masked_fill(bad, 1.0)


FIXES = {
    "box-iou-half-precision": Fix(bbox_iou, _bbox_iou_probe),
    "probiou-degenerate-box": Fix(probiou, _probiou_probe),
    "dfl-target-not-finite": Fix(dfl, _dfl_probe),
    "focal-loss-edge": Fix(focal_loss, partial(_class_probe, name="FocalLoss", scored=False)),
    "varifocal-loss-edge": Fix(varifocal_loss, partial(_class_probe, name="VarifocalLoss", scored=True)),
    "target-scores-sum-zero": Fix(old_loss, text_probe(uses=("assigner", "bce"))),
    "class-weights-not-finite": Fix(loss_with_weights, text_probe(uses=("class_weights",))),
}
