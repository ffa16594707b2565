"""Targets and outputs at which box, mask and keep-alive terms of the losses are finite."""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_nanfix.numerics.precision import widened

MARGIN = 0.01
"""How far upstream keeps a target from the last bin, so that the bin to its right exists."""


def indexable(target: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The targets in float32, inside the bins, with 0 where they are not finite; and which rows are finite.

    The loss of a target t (Li et al., https://arxiv.org/abs/2006.04388) is the cross-entropy of the bins floor(t) and
    floor(t) + 1. NaN has no floor: converted to an integer it is -2^63. bfloat16 rounds 14.99, the largest target that
    upstream lets through with 16 bins, to 15.0, and bin 16 does not exist.

    Args:
        target: distances in bins, shape (N, 4), any floating dtype.
        bins: their number.

    Returns:
        The targets, a new tensor of the shape of `target`, and bool of shape (N, 1).
    """
    finite = target.isfinite()
    safe = torch.where(finite, widened(target), 0.0)
    return safe.clamp(0, bins - 1 - MARGIN), finite.all(-1, keepdim=True)


def scores_with_a_sum(scores: Tensor, matched: Tensor) -> tuple[Tensor, Tensor]:
    """The target scores, with a 1 at one unmatched anchor if their sum is 0; and whether it was.

    The losses of an image without objects are not averages over objects: their divisor is 1, as in upstream's
    `max(target_scores_sum, 1)`. Scores with any other sum come back bit-identical.

    Args:
        scores: shape (B, A, C).
        matched: which anchors have an object, bool or 0 and 1, shape (B, A).

    Returns:
        The scores, and bool of shape (1,).
    """
    empty = scores.sum().view(1) == 0
    free = (matched == 0).flatten().int().argmax().view(1)
    extra = scores.new_zeros(matched.numel()).scatter(0, free, empty.to(scores.dtype))
    return torch.cat(((scores[..., 0] + extra.view_as(matched)).unsqueeze(-1), scores[..., 1:]), -1), empty


def positive_area(area: Tensor, pixels: int, min_area_px: float) -> Tensor:
    """The box areas, floored to `min_area_px` mask pixels; NaN stays NaN.

    The loss of one instance is mean(crop(bce)) / area. For a box without area the crop is empty, so the numerator
    is 0 and the limit of the quotient is 0; a positive floor under the divisor gives that limit, with gradient 0.
    Areas of at least `min_area_px` mask pixels come back unchanged.

    Args:
        area: fraction of the image that each box covers, shape (N,).
        pixels: number of pixels of the mask, H * W.
        min_area_px: the floor, in mask pixels.
    """
    return area.clamp(min=min_area_px / pixels)


def without_labels(batch_idx: Tensor, images: int) -> Tensor:
    """Which images of a batch have no label: bool, shape (images,), on the device of `batch_idx`.

    Args:
        batch_idx: the image that each label belongs to, any shape and dtype.
        images: how many images the batch has.
    """
    empty = torch.ones(images, dtype=torch.bool, device=batch_idx.device)
    empty[batch_idx.view(-1).long()] = False
    return empty


def finite_rows(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor with 0 for NaN and Inf in the given rows, and where these were; all else is bit-identical.

    Inf * 0 is NaN: one such value turns a term that only keeps an output in the graph into a NaN loss. The limit of
    the term is 0, whatever it multiplies.

    Args:
        x: outputs of a head, shape (images, ...).
        rows: bool, shape (images,): the rows that no other term of the loss reads.

    Returns:
        The tensor and a bool mask of its shape.
    """
    lost = rows.view(-1, *[1] * (x.dim() - 1)) & ~x.isfinite()
    return torch.where(lost, torch.zeros_like(x), x), lost
