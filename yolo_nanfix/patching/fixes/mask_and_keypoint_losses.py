"""Losses of segmentation, rotated boxes and keypoints on inputs at which their formulas are finite."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.keypoint_loss import (
    COORDINATE_LIMIT,
    RLE_LIMIT,
    area_not_negative,
    positive_sigma,
    positive_sigmas,
)
from yolo_nanfix.numerics.precision import HALF, bounded, widened
from yolo_nanfix.numerics.targets import finite_rows, positive_area, without_labels
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, attributes, float32_wrapper, wrapper
from yolo_nanfix.patching.probe import calling, difference, generator, loss_class, samples, text_probe

KEPT_ALIVE = ("mask_coefficient", "proto", "angle")
"""What the keep-alive terms multiply by 0, as the heads of 8.4 and later name it."""


@wrapper
def single_mask_loss(
    wrapped: Any, instance: Any, gt_mask: Tensor, pred: Any, proto: Any, xyxy: Any, area: Tensor, *, min_area_px: float
) -> Any:
    """Upstream's loss, divided by at least `min_area_px` mask pixels."""
    floored = positive_area(area, gt_mask.shape[-1] * gt_mask.shape[-2], float(min_area_px))
    tally.add("mask-area-zero", floored > area)
    return wrapped(gt_mask, pred, proto, xyxy, floored)


def _mask_probe(stock: Any, patched: Any) -> str | None:
    """Mask coefficients, shape (4, 32), and prototypes, shape (32, 24, 24)."""
    xyxy = torch.tensor([[2.0, 2, 10, 12], [0, 0, 24, 24], [5, 7, 6, 9], [20, 1, 23, 22]])
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(1) / 24**2
    gt_mask = (torch.rand(4, 24, 24, generator=generator(9)) > 0.5).float()

    def call(function: Any, tensors: Any) -> Tensor:
        result: Tensor = function(gt_mask, *tensors, xyxy, area)
        return result

    inputs = samples(lambda random: (torch.randn(4, 32, generator=random), torch.randn(32, 24, 24, generator=random)))
    return difference(stock, patched, call, inputs)


@wrapper
def kept_alive(wrapped: Any, instance: Any, preds: Any, batch: dict[str, Any]) -> Any:
    """Upstream's loss on outputs that are finite for images without labels: only keep-alive terms read these."""
    outputs = preds
    if not isinstance(preds, dict):  # up to 8.3: (feats, outputs...) or, in evaluation, (decoded, (feats, outputs...))
        outputs = preds if isinstance(preds[0], list) else preds[1]
    feats = outputs["feats"] if isinstance(outputs, dict) else outputs[0]
    empty = without_labels(batch["batch_idx"], len(feats[0]))
    if empty.device.type == "cpu" and not empty.any():  # on a GPU this would be a host read
        return wrapped(preds, batch)
    empty = empty.to(feats[0].device, non_blocking=True)
    if isinstance(outputs, dict):
        return wrapped({**outputs, **{k: _finite_output(outputs[k], empty) for k in KEPT_ALIVE if k in outputs}}, batch)
    return wrapped((feats, *(_finite_output(output, empty) for output in outputs[1:])), batch)


def _finite_output(output: Any, empty: Tensor) -> Any:
    """The output with finite rows for the images without labels."""
    if isinstance(output, tuple):  # prototypes and a semantic map, which has a loss for all images if one has a label
        proto, semantic = output
        return _finite_output(proto, empty), None if semantic is None else _finite_output(semantic, empty & empty.all())
    output, lost = finite_rows(output, empty)
    tally.add("keep-alive-infinite", lost)
    return output


def _kept_alive_probe(stock: Any, patched: Any) -> str | None:
    """Healthy outputs are passed on unchanged. The method must still read the outputs that are made finite here."""
    if reason := text_probe(takes=("preds", "batch"))(stock, patched):
        return reason
    outputs = {"proto", "pred_angle"} & set(inspect.unwrap(stock).__code__.co_varnames)
    return None if outputs else "it no longer reads prototypes or angles"


@float32_wrapper
def keypoint_loss(
    wrapped: Any, instance: Any, pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor
) -> Any:
    """Upstream's loss; it reads the sigmas from its instance, where they are replaced during the call."""
    sigmas, short = positive_sigmas(instance.sigmas)
    area, small = area_not_negative(area, pred_kpts.dtype in HALF or gt_kpts.dtype in HALF)
    pred_kpts, far = bounded(pred_kpts, COORDINATE_LIMIT)
    gt_kpts, away = bounded(gt_kpts, COORDINATE_LIMIT)
    for moved in (short, small, far, away):
        tally.add("keypoint-area-zero", moved)
    with attributes(instance, sigmas=sigmas):
        return wrapped(pred_kpts, gt_kpts, kpt_mask, area)


def _keypoint_probe(stock: Any, patched: Any) -> str | None:
    """Predicted keypoints, shape (16, 5, 3), in grid cells."""
    random = generator(9)
    gt_kpts, area = torch.rand(16, 5, 3, generator=random) * 20, torch.rand(16, 1, generator=random) * 300 + 1
    kpt_mask = torch.rand(16, 5, generator=random) > 0.3
    instance = loss_class("KeypointLoss")(sigmas=torch.full((5,), 0.1))
    keypoints = samples(lambda random: (torch.rand(16, 5, 3, generator=random) * 20,))
    return difference(stock, patched, calling(gt_kpts, kpt_mask, area, instance=instance), keypoints)


@float32_wrapper
def rle_loss(
    wrapped: Any, instance: Any, sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor | None = None
) -> Any:
    """Upstream's loss on a positive sigma and bounded errors."""
    floored, small = positive_sigma(sigma)
    log_phi, unlikely = bounded(log_phi, RLE_LIMIT)
    error, far = bounded(error, RLE_LIMIT)
    for moved in (small, unlikely, far):
        tally.add("rle-sigma-zero", moved)
    return wrapped(floored, log_phi, error, target_weight)


def _rle_probe(stock: Any, patched: Any) -> str | None:
    """Sigma in (0.05, 1), log_phi and error of 32 keypoints."""

    def keypoints(random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        sigma = torch.rand(32, 2, generator=random) * 0.95 + 0.05
        return sigma, torch.randn(32, generator=random), torch.randn(32, 2, generator=random) * 5

    call = calling(torch.linspace(0.5, 1.5, 32), instance=loss_class("RLELoss")())
    return difference(stock, patched, call, samples(keypoints))


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


def _pose_probe(stock: Any, patched: Any) -> str | None:
    """Predicted keypoints (x, y, visibility, two sigma logits), shape (8, 5, 5)."""
    owner = loss_class("PoseLoss26")
    instance = owner.__new__(owner)
    instance.rle_loss = loss_class("RLELoss")()
    instance.flow_model = upstream.resolve("ultralytics.nn.modules.block:RealNVP").raw()
    instance.target_weights = torch.ones(5)
    gt_kpt, kpt_mask = torch.randn(8, 5, 3, generator=generator(9)), torch.ones(8, 5, dtype=torch.bool)
    keypoints = samples(lambda random: (torch.randn(8, 5, 5, generator=random),))
    return difference(stock, patched, calling(gt_kpt, kpt_mask, instance=instance), keypoints)


FIXES = {
    "mask-area-zero": Fix(single_mask_loss, _mask_probe),
    "keep-alive-infinite": Fix(kept_alive, _kept_alive_probe),
    "keypoint-area-zero": Fix(keypoint_loss, _keypoint_probe),
    "rle-sigma-zero": Fix(rle_loss, _rle_probe),
    "rle-errors-dropped": Fix(calculate_rle_loss, _pose_probe),
}
