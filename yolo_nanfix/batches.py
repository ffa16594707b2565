"""Parts of a micro-batch as Ultralytics collates them: without some of its images, or without some label rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

ROW_ENTRIES = ("cls", "bboxes", "keypoints", "segments")
"""Entries with one row an object in batches with `batch_idx`; `masks` too, unless they overlap in one plane."""


def collated(batch: Any) -> bool:
    """Whether a batch has Ultralytics' form: a `dict` with images, and a `str` name for each of them, or no names.

    In other batches it is not known what belongs to which image.
    """
    if type(batch) is not dict or not isinstance(batch.get("img"), Tensor) or not batch["img"].dim():
        return False
    held = batch.get("im_file", ())
    if not isinstance(held, (list, tuple)) or not all(isinstance(name, str) for name in held):
        return False
    return not held or len(held) == len(batch["img"])


def names(batch: Any) -> Sequence[Any]:
    """The names of a batch's images, of any type; empty where it has no list of them."""
    held = batch.get("im_file") if isinstance(batch, Mapping) else None
    return held if isinstance(held, (list, tuple)) else ()


def size(batch: Mapping[str, Any]) -> int:
    """The number of images."""
    return len(batch["img"])


def loss_terms(items: Any) -> dict[str, float]:
    """Loss terms by name; older releases return a tensor, whose terms are numbered. Empty for None."""
    if items is not None and not isinstance(items, Mapping):
        items = {str(i): value for i, value in enumerate(torch.as_tensor(items).flatten())}
    return {str(name): float(value) for name, value in (items or {}).items()}


def with_images(batch: Mapping[str, Any], keep: Sequence[int]) -> dict[str, Any]:
    """The batch with only the images `keep`, in that order, and their label rows, renumbered.

    Args:
        batch: a collated micro-batch; `img` (B, C, H, W), `batch_idx` (N,) or (N, 1), `cls` (N, 1), `bboxes` (N, 4 or
            5), `keypoints` (N, K, 2 or 3), `masks` (B or N, H, W), lists of length B.
        keep: indices of images.
    """
    images = size(batch)
    index = torch.as_tensor(list(keep), dtype=torch.long)
    owner = batch.get("batch_idx")
    rows: Tensor | None = None
    if isinstance(owner, Tensor):
        flat = owner.reshape(-1).long().cpu()
        place = torch.full((images,), -1, dtype=torch.long)
        place[index] = torch.arange(len(index))
        order = flat.argsort(stable=True)  # the rows of each image together, in their order
        starts, ends = (torch.searchsorted(flat[order], index, right=right).tolist() for right in (False, True))
        rows = torch.cat([order[start:end] for start, end in zip(starts, ends, strict=True)] or [order[:0]])
        renumbered = place[flat[rows]].to(owner).reshape(-1, *owner.shape[1:])
    part: dict[str, Any] = {}
    for key, value in batch.items():
        if key == "batch_idx" and rows is not None:
            part[key] = renumbered
        elif rows is not None and _by_row(key, value, batch):
            part[key] = _take(value, rows)
        elif _sized(value) == images:
            part[key] = _take(value, index)
        else:
            part[key] = value
    return part


def concatenated(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    """The images of two batches as one, or None where their entries or shapes differ."""
    if one.keys() != other.keys():
        return None
    whole: dict[str, Any] = {}
    for key, value in one.items():
        further = other[key]
        if key == "batch_idx":
            further = further + size(one)
        try:
            if isinstance(value, Tensor):
                whole[key] = torch.cat([value, further])
            else:  # lists are concatenated, anything else is that of the first batch
                whole[key] = value + further if isinstance(value, (list, tuple)) else value
        except (RuntimeError, TypeError):
            return None
    return whole


def without_rows(batch: Mapping[str, Any], leave_out: Sequence[int]) -> dict[str, Any]:
    """The batch without some label rows (indices into `batch_idx`); overlapping masks lose their planes' values."""
    owner = batch["batch_idx"].reshape(-1)
    gone = torch.zeros(len(owner), dtype=torch.bool)
    gone[list(leave_out)] = True
    rows = (~gone).nonzero().flatten()
    part = {k: _take(v, rows) if k == "batch_idx" or _by_row(k, v, batch) else v for k, v in batch.items()}
    masks = batch.get("masks")
    if isinstance(masks, Tensor) and not _by_row("masks", masks, batch):
        part["masks"] = _renumber_planes(masks, owner.long().cpu(), gone)
    return part


def _renumber_planes(masks: Tensor, owner: Tensor, gone: Tensor) -> Tensor:
    """Overlapping masks name an object by its number among the image's rows, from 1; renumber those that remain."""
    planes = masks.clone()
    for image in range(len(masks)):
        mine = (owner == image).nonzero().flatten()
        kept = (~gone[mine]).long()
        table = torch.cat([torch.zeros(1, dtype=torch.long), kept.cumsum(0) * kept]).to(masks.device)
        planes[image] = table[masks[image].long().clamp(0, len(mine))].to(masks.dtype)
    return planes


def _by_row(key: str, value: Any, batch: Mapping[str, Any]) -> bool:
    count = len(batch["batch_idx"].reshape(-1))
    if key == "masks":  # (B, H, W) when they overlap, (N, H, W) when they do not
        one_plane_each = isinstance(value, Tensor) and value.dim() == 3 and len(value) == count
        return one_plane_each and (count != size(batch) or bool(value.max() <= 1))
    return key in ROW_ENTRIES and _sized(value) == count


def _sized(value: Any) -> int:
    if isinstance(value, Tensor):
        return len(value) if value.dim() else -1
    return len(value) if isinstance(value, (list, tuple)) else -1


def _take(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[index.to(value.device)]
    return type(value)(value[i] for i in index.tolist())
