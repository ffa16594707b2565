"""Judges targets before the loss sees them: classes and image numbers outside of their range end a run.

On the CPU they are indices that do not exist, on a GPU an assertion of the device after which nothing works any more.
Looked at while they are on the host, as the loader gives them, so nothing is read from a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

IGNORE = 255
"""The class of pixels that a semantic mask leaves open."""
STRAYS = "label row {row} belongs to image {image:g} of {images}"
"""What is said of label rows that belong to no image of their batch."""


def sound(batch: Mapping[str, Any], nc: int | None) -> bool:
    """Whether all classes lie in 0 to `nc` - 1 and all rows belong to an image; what is not on the host counts as so.

    Args:
        batch: a collated micro-batch.
        nc: the number of classes, or None where it is not known.
    """
    index, cls = batch.get("batch_idx"), batch.get("cls")
    if not _within(index, len(batch["img"])):
        return False
    return not nc or "texts" in batch or _within(cls, nc)


def _within(values: Any, count: int) -> bool:
    """Whether all numbers of a tensor on the host lie from 0 to below `count`; NaN does not."""
    if not isinstance(values, Tensor) or not on_host(values) or values.dtype is torch.bfloat16:
        return True
    array = values.detach().numpy()
    return not array.size or 0 <= array.min().item() <= array.max().item() < count


def on_host(tensor: Tensor) -> bool:
    """Whether a tensor's values can be looked at without a transfer: an ordinary one of real numbers on the CPU."""
    plain = tensor.device.type == "cpu" and tensor.layout is torch.strided and not tensor.is_nested
    return plain and not tensor.is_complex() and not tensor.is_quantized


def faults(batch: Mapping[str, Any], nc: int | None) -> tuple[dict[int, str], dict[str, Any]]:
    """What is wrong with targets that are not sound.

    Returns:
        For each image (by its place in the batch) what is wrong with its first bad row; and, if rows belong to no
        image, the values of `STRAYS` for the first of them; else none.
    """
    index, cls = batch.get("batch_idx"), batch.get("cls")
    owners = index.reshape(-1).float() if isinstance(index, Tensor) else torch.arange(len(batch["img"])).float()
    strays = ~((owners >= 0) & (owners < len(batch["img"])))
    first: dict[str, Any] = {}
    if bool(strays.any()):
        row = int(strays.nonzero()[0])
        first = {"row": row, "image": float(owners[row]), "images": len(batch["img"])}
    found: dict[int, str] = {}
    if nc and isinstance(cls, Tensor) and len(cls.reshape(-1)) == len(owners) and "texts" not in batch:
        flat = cls.reshape(-1)
        for row in np.flatnonzero(outside(flat.detach().numpy(), nc)).tolist():
            if not bool(strays[row]):
                image = int(owners[row])
                number = int((owners[:row] == image).sum())
                found.setdefault(image, f"class {float(flat[row]):g} outside of 0 to {nc - 1} in its row {number + 1}")
    return found, first


def outside(classes: NDArray[Any], nc: int) -> NDArray[np.bool_]:
    """Which classes are no number from 0 to `nc` - 1."""
    return ~((classes >= 0) & (classes < nc))


def bad_classes(mask: Any, nc: int | None) -> str:
    """What is wrong with the classes of a semantic mask (integers), or empty; with one class 0 and 1 are allowed."""
    if not nc:
        return ""
    limit = max(nc, 2)
    array = mask.numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype.kind not in "iu":
        return ""
    bad = (array.view(f"u{array.itemsize}") >= limit) & (array != IGNORE)  # a negative number is a large one
    return f"class {array[bad][0]} outside of 0 to {limit - 1} in its mask" if bad.any() else ""


def classes_of(dataset: Any) -> int | None:
    """The number of classes of a dataset, where it says it."""
    data = getattr(dataset, "data", None)
    held = data.get("nc") if isinstance(data, Mapping) else None
    return held if isinstance(held, int) else None


def classes_of_model(model: nn.Module) -> int | None:
    """The number of classes that a model's head tells apart, where it says it."""
    layers = getattr(model, "model", None)
    head = layers[-1] if isinstance(layers, (nn.Sequential, nn.ModuleList, list)) and len(layers) else None
    held = getattr(head, "nc", None)
    if held is None and (linear := getattr(head, "linear", None)) is not None:
        held = getattr(linear, "out_features", None)
    return held if isinstance(held, int) else None
