"""`PoseLoss26.calculate_rle_loss` in float32, with a count of the keypoints that it leaves out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.precision import widened
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper
from yolo_nanfix.patching.probe import calling, difference, generator, samples


@float32_wrapper
def calculate_rle_loss(wrapped: Any, instance: Any, pred_kpt: Tensor, gt_kpt: Tensor, kpt_mask: Tensor) -> Any:
    """Upstream's loss; a hook counts the keypoints that reach the RLE loss, without a host read."""
    used: list[int] = []
    hook = instance.rle_loss.register_forward_pre_hook(lambda module, inputs: used.append(len(inputs[0])))
    try:
        loss = wrapped(widened(pred_kpt), widened(gt_kpt), kpt_mask)
    finally:
        hook.remove()
    tally.add("rle-errors-dropped", (kpt_mask != 0).sum() - sum(used))
    return loss


def _probe(stock: Any, patched: Any) -> str | None:
    """Predicted keypoints (x, y, visibility, two sigma logits), shape (8, 5, 5)."""
    owner = upstream.resolve("ultralytics.utils.loss:PoseLoss26").raw
    instance = owner.__new__(owner)
    instance.rle_loss = upstream.resolve("ultralytics.utils.loss:RLELoss").raw()
    instance.flow_model = upstream.resolve("ultralytics.nn.modules.block:RealNVP").raw()
    instance.target_weights = torch.ones(5)
    gt_kpt, kpt_mask = torch.randn(8, 5, 3, generator=generator(9)), torch.ones(8, 5, dtype=torch.bool)
    keypoints = samples(lambda random: (torch.randn(8, 5, 5, generator=random),))
    return difference(stock, patched, calling(gt_kpt, kpt_mask, instance=instance), keypoints)


FIX = Fix(wrapper=calculate_rle_loss, probe=_probe)
