"""Head outputs of images without labels, on which a keep-alive term `(x * 0).sum()` is 0 and not NaN."""

from __future__ import annotations

import torch
from torch import Tensor


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
    """The tensor with 0 for what is NaN or Inf in the given rows, and where that was; the rest is bit-identical.

    Inf * 0 is NaN: one such number turns a term that only keeps an output in the graph into a NaN loss. The limit of
    the term is 0, for whatever it multiplies.

    Args:
        x: outputs of a head, shape (images, ...).
        rows: bool, shape (images,): the rows that no other term of the loss reads.

    Returns:
        The tensor and a bool mask of its shape.
    """
    lost = rows.view(-1, *[1] * (x.dim() - 1)) & ~x.isfinite()
    return torch.where(lost, torch.zeros_like(x), x), lost
