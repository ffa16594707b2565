"""Checks tensors of a step. Nothing here changes the trainer.

Costs (YOLOv8n, batch 8, imgsz 160, CPU) are printed by `scripts/bench_guard.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo_nanfix import batches
from yolo_nanfix.events import Check, Source
from yolo_nanfix.guard import sample_sources
from yolo_nanfix.guard.module_state import NormBuffers

TARGETS = ("bboxes", "cls", "keypoints")
CHECKS = {
    Check.LOSS: "loss not finite ({terms})",
    Check.BATCHNORM: "BatchNorm statistics not finite",
    Check.TARGETS: "label targets not finite",
    Check.PIXELS: "pixels not finite",
    Check.OUTPUTS: "outputs of the head not finite",
}
"""The checks after a forward pass, in this order, and the text of an event about each."""
MAPS = ("masks", "semantic_mask", "depth")
"""Targets with one map an image."""
DARK = 1.5 / 255
"""A batch whose brightest pixel is at most this is black, or was scaled to [0, 1] before it was divided by 255."""


def step_tensors(
    loss: Tensor, norms: NormBuffers, batch: Mapping[str, Any], outputs: Any = None, *, look_at_pixels: bool = True
) -> dict[str, Tensor]:
    """The scalars to read after the forward pass: one tensor for each check, on its device.

    A sum is finite if and only if its terms are (magnitudes near 3e38, where it could overflow, are as bad); sums are
    taken in float32. `look_at_pixels` is for images that a loader gives as floats, which may hold anything.
    """
    found = {"loss": loss.detach().sum(), "batchnorm": norms.sum()}
    for key in TARGETS:
        if isinstance(rows := batch.get(key), Tensor) and rows.is_floating_point() and rows.numel():
            found[f"targets.{key}"] = rows.detach().sum(dtype=torch.float32)
    if look_at_pixels:
        found |= pixel_tensors(batch)
    heads = list(_tensors(outputs))
    if heads:
        found["outputs"] = torch.stack([t.detach().sum(dtype=torch.float32) for t in heads]).sum()
    return found


def pixel_tensors(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """The smallest and the largest pixel of a micro-batch, scalars on its device; both are NaN if any is."""
    images = batch.get("img")
    if not isinstance(images, Tensor) or not images.is_floating_point() or not images.numel():
        return {}
    low, high = torch.aminmax(images.detach())
    return {"pixels.low": low, "pixels.high": high}


def host_values(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """The values of scalar tensors by their names: one host read for all of them together."""
    first = next(iter(scalars.values()))
    plain = [_float_scalar(t.detach(), first.device) for t in scalars.values()] if len(scalars) > 1 else []
    stacked = torch.stack(plain) if plain else first.detach().reshape(1)
    return dict(zip(scalars, stacked.tolist(), strict=True))


def _float_scalar(scalar: Tensor, device: torch.device) -> Tensor:
    """A float32 scalar without dimensions on the device; most are that already, and a check is cheaper than `to`."""
    if scalar.dtype is torch.float32 and not scalar.dim() and scalar.device == device:
        return scalar
    return scalar.float().reshape(()).to(device)


def fired(values: Mapping[str, float]) -> tuple[Check, ...]:
    """The checks with a non-finite scalar, in the order of `CHECKS`; names are `check` or `check.part`."""
    bad = {name.partition(".")[0] for name, value in values.items() if not math.isfinite(value)}
    return tuple(check for check in CHECKS if check.value in bad)


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """The floating tensors among a head's outputs, without feature maps that some heads add."""
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point() and outputs.numel():
            yield outputs
    elif isinstance(outputs, Mapping):
        for key, value in outputs.items():
            if key != "feats":
                yield from _tensors(value)
    elif isinstance(outputs, (list, tuple)):
        for value in outputs:
            yield from _tensors(value)


def pixel_range(values: Mapping[str, float]) -> tuple[str, dict[str, float]] | None:
    """What is suspect about finite pixels that should be between 0 and 1, as text and values of an event, or None."""
    low, high = values.get("pixels.low", 0.0), values.get("pixels.high", 1.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if high > 1.01 or low < -0.01:
        return "pixels from {low:.4g} to {high:.4g} where 0 to 1 is expected", {"low": low, "high": high}
    dark = "no pixel above {high:.4g} where 0 to 1 is expected: black, or scaled twice"
    return (dark, {"low": low, "high": high}) if high <= DARK else None


def sources(batch: Mapping[str, Any]) -> tuple[Source, ...]:
    """The image files of a micro-batch, with what is not finite in each sample as the model got it.

    Only for use after a check has fired: it reads every pixel.
    """
    names = batches.names(batch)
    files = [str(f) for f in names]
    suspects: list[list[str]] = [[] for _ in files]
    images = batch.get("img")
    if isinstance(images, Tensor) and images.is_floating_point() and len(images) == len(files):
        counts = (~images.isfinite()).flatten(1).sum(1).tolist()
        for reasons, count in zip(suspects, counts, strict=True):
            reasons.extend([f"{count} pixel values not finite"] if count else [])
    index = batch.get("batch_idx")
    for key in TARGETS:
        rows = batch.get(key)
        if isinstance(rows, Tensor) and isinstance(index, Tensor) and len(rows) == len(index.view(-1)):
            bad = ~rows.detach().float().isfinite().flatten(1).all(1)
            for sample in sorted(set(index.view(-1)[bad].long().tolist()) & set(range(len(files)))):
                suspects[sample].append(f"{key} not finite")
    for key in MAPS:
        for image in _non_finite_maps(key, batch, len(files)):
            suspects[image].append(f"{key} not finite")
    parents = [sample_sources.parents(f) for f in names]
    return tuple(Source(f, ", ".join(s), p) for f, s, p in zip(files, suspects, parents, strict=True))


def _non_finite_maps(key: str, batch: Mapping[str, Any], count: int) -> list[int]:
    """The images whose masks or depth map are not finite; none where the owner of a map is not known."""
    maps, index = batch.get(key), batch.get("batch_idx")
    if not isinstance(maps, Tensor) or not maps.is_floating_point() or not maps.numel():
        return []
    each = list(range(count))
    owners = index.reshape(-1).long().tolist() if key == "masks" and isinstance(index, Tensor) else each
    if len(maps) == len(owners) != count:
        each = owners  # masks that do not overlap: one an instance
    elif len(maps) != count or (len(owners) == count and owners != each):
        return []
    flat = maps.detach().flatten(1)
    good = flat < float("inf") if key == "depth" else flat.isfinite()  # depth below 0 means: not known
    return sorted({each[i] for i in (~good.all(1)).nonzero().flatten().tolist() if 0 <= each[i] < count})


def pictures(batch: Mapping[str, Any], files: Iterable[str]) -> list[tuple[str, NDArray[np.uint8]]]:
    """The images of a micro-batch that come from these files: file, and RGB (HxWx3)."""
    images, names = batch.get("img"), [str(f) for f in batches.names(batch)]
    if not isinstance(images, Tensor) or images.dim() != 4 or len(images) != len(names):
        return []
    return [(names[i], _rgb(images[i])) for i in (names.index(f) for f in files if f in names)]


def _rgb(image: Tensor) -> NDArray[np.uint8]:
    """An image (channels x H x W, 0 to 1) in RGB, with magenta where it is not finite."""
    image = image.detach().float().cpu()
    shown = (image if len(image) == 3 else image[:1].expand(3, -1, -1)).permute(1, 2, 0)
    pixels: NDArray[np.uint8] = (shown.nan_to_num(0, 0, 0).clamp(0, 1) * 255).byte().numpy()
    pixels[(~image.isfinite().all(0)).numpy()] = (255, 0, 255)
    return pixels


def describe_items(items: Any) -> str:
    """The loss terms for a message: `box_loss nan, cls_loss 1.2`. Items are a dict (8.4.104 on) or a tensor."""
    if isinstance(items, Mapping):
        return ", ".join(f"{k} {float(v):.4g}" for k, v in items.items())
    return ", ".join(f"{float(v):.4g}" for v in items.flatten()) if isinstance(items, Tensor) else ""


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
    """The tensors of an optimizer's state, named by parameter number and key."""
    states = enumerate(optimizer.state.values())
    return [(f"{i}.{key}", t) for i, state in states for key, t in state.items() if isinstance(t, Tensor)]


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """The total gradient norm, for trainers that do not clip through `torch.nn.utils.clip_grad_norm_`."""
    grads = [p.grad.detach() for p in parameters if p.grad is not None]
    return torch.stack([n.float() for n in torch._foreach_norm(grads)]).norm() if grads else torch.zeros(())
