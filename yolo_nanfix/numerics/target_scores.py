"""Target scores whose sum may be divided by."""

from __future__ import annotations

import torch
from torch import Tensor


def scores_with_a_sum(scores: Tensor, matched: Tensor) -> tuple[Tensor, Tensor]:
    """The target scores, with a 1 at one anchor that is not matched where their sum is 0; and whether it was.

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
