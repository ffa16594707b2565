"""Copies rows of a head by class name where Ultralytics does not: RT-DETR and classification.

For heads of YOLO Ultralytics does it itself (`cls_remap`, from 8.4.91 on).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from yolo_nanfix.finetune.settled import same_name
from yolo_nanfix.numerics.finite import unwrapped

ROWS_OF = {
    "Classify": ("linear.",),
    "RTDETRDecoder": ("enc_score_head.", "dec_score_head.", "denoising_class_embed."),
}
"""By class of the head, where its tensors with a row for each class begin."""


@torch.no_grad()
def copy_rows(model: Any, weights: Any, names: Mapping[int, str]) -> int:
    """Copy the rows of classes that both models have.

    Args:
        model: built for `names`; changed in place.
        weights: the model that was trained before, with its own `names`.
        names: the classes of the new model, by number.

    Returns:
        How many tensors got rows; 0 for other heads, or where the classes are the same.
    """
    head: Any = unwrapped(model).model[-1]  # type: ignore[index]
    source: Any = unwrapped(weights).model[-1]  # type: ignore[index]
    prefixes = ROWS_OF.get(type(head).__name__, ())
    before = {same_name(name): number for number, name in getattr(weights, "names", {}).items()}
    pairs = [(new, before[same_name(name)]) for new, name in names.items() if same_name(name) in before]
    if not prefixes or type(source) is not type(head) or not pairs or len(before) == len(names):
        return 0
    to, start = (torch.tensor(column) for column in zip(*pairs, strict=True))
    state, held, copied = head.state_dict(), source.state_dict(), 0
    for key, tensor in state.items():
        old = held.get(key)
        if not key.startswith(prefixes) or old is None or old.shape[1:] != tensor.shape[1:]:
            continue
        if old.shape[0] < len(before) or tensor.shape[0] < len(names):
            continue
        tensor[to.to(tensor.device)] = old[start.to(old.device)].to(tensor)
        copied += 1
    return copied
