"""Keeps predictions that are not finite from what computes metrics, which may take them for right ones.

What the model gives is looked at before Ultralytics' postprocessing, which drops some of them silently, and what is
left of them is taken out after it. A healthy batch costs one host read, before the many that metrics make of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import batches
from yolo_nanfix.events import Source


def both_finite(losses: Iterable[Tensor], raw: Any) -> tuple[bool, bool]:
    """Whether scalars of the loss are finite, and whether all raw predictions are: one host read for both."""
    loss = [t.detach().float().reshape(()) for t in losses]
    made = [t.detach().sum(dtype=torch.float32) for t in _floating(raw)]
    sums = [torch.stack(found).sum() for found in (loss, made) if found]
    good = iter(torch.stack([s.to(sums[0].device) for s in sums]).isfinite().tolist() if sums else ())
    return (not loss or next(good)), (not made or next(good))


def _floating(raw: Any) -> Iterator[Tensor]:
    """What the model gives out; of pairs of predictions and what the loss needs, the predictions alone."""
    if isinstance(raw, Tensor):
        if raw.is_floating_point() and raw.numel():
            yield raw
    elif isinstance(raw, (list, tuple)) and raw:
        for part in raw[0] if isinstance(raw[0], (list, tuple)) else raw[:1]:  # rows and mask prototypes
            if isinstance(part, Tensor):
                yield from _floating(part)


def bad_images(raw: Any, count: int) -> dict[int, int]:
    """How many raw predictions of each image are not finite, for those that have some."""
    found: dict[int, int] = {}
    for tensor in _floating(raw):
        if len(tensor) == count:
            for place, number in enumerate((~tensor.isfinite()).flatten(1).sum(1).tolist()):
                if number:
                    found[place] = found.get(place, 0) + int(number)
    return found


def sources(batch: Mapping[str, Any], bad: Mapping[int, int]) -> tuple[Source, ...]:
    """The images that they belong to."""
    names = batches.names(batch)
    return tuple(Source(str(names[i]), f"{n} predictions not finite") for i, n in bad.items() if i < len(names))


def finite_rows(predictions: Any, bad: Mapping[int, int]) -> tuple[Any, int]:
    """Predictions of objects without those that are not finite, and how many were taken out.

    Args:
        predictions: after postprocessing: one entry an image, of rows: a tensor, or a mapping of tensors with one row
            a prediction. Older releases have mask prototypes beside that list. Anything else stays as it is.
        bad: the images whose raw predictions are not finite; what such numbers made of a mask is empty.
    """
    if isinstance(predictions, tuple) and predictions and isinstance(predictions[0], list):
        rows, gone = finite_rows(predictions[0], bad)
        return (rows, *predictions[1:]), gone
    if not isinstance(predictions, list):
        return predictions, 0
    pairs = [_rows(entry, i in bad) for i, entry in enumerate(predictions)]
    return [entry for entry, _ in pairs], sum(gone for _, gone in pairs)


def _rows(entry: Any, bad: bool) -> tuple[Any, int]:
    """The finite rows of one image's predictions, and how many others there were."""
    parts = entry if isinstance(entry, Mapping) else {"conf": entry}
    if not isinstance(parts.get("conf"), Tensor) or not len(parts["conf"]):
        return entry, 0
    count = len(parts["conf"])
    tensors = {k: v for k, v in parts.items() if isinstance(v, Tensor) and len(v) == count}
    good = torch.ones(count, dtype=torch.bool, device=parts["conf"].device)
    for key, value in tensors.items():
        if value.is_floating_point():
            good &= value.isfinite().reshape(count, -1).all(1)
        if bad and key == "masks":
            good &= value.reshape(count, -1).any(1).bool()
    if bool(good.all()):
        return entry, 0
    kept = {k: v[good] if k in tensors else v for k, v in parts.items()}
    return (kept if isinstance(entry, Mapping) else kept["conf"]), int((~good).sum())


def without_images(
    predictions: Tensor, batch: Mapping[str, Any], bad: Mapping[int, int]
) -> tuple[Tensor, Mapping[str, Any]]:
    """One tensor of predictions for all images (classes, class maps, depth) without some, and the batch without them.

    Where none is left, both are empty.
    """
    keep = [i for i in range(len(predictions)) if i not in bad]
    return predictions[keep], batches.with_images(batch, keep) if keep else {}
