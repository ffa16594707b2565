"""Looks at tensors of a step. Nothing here writes to the trainer.

Costs (YOLOv8n, batch 8, imgsz 160, CPU) are printed by `scripts/bench_guard.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from yolo_nanfix.guard.events import Source

TARGETS = ("bboxes", "cls", "keypoints")


class NormBuffers:
    """The running statistics of all normalisation layers of a model: one flat copy, one finite check.

    A NaN in a running mean or variance never decays (0.97 * NaN), so these are what one bad forward ruins.
    """

    def __init__(self, model: nn.Module) -> None:
        """Collect the buffers once; they are updated in place, so the list stays valid."""
        norms = [m for m in model.modules() if isinstance(m, _NormBase)]
        stats = [b for m in norms for b in (m.running_mean, m.running_var) if b is not None]
        self.running: list[Tensor] = stats
        self.counters: list[Tensor] = [m.num_batches_tracked for m in norms if m.num_batches_tracked is not None]
        device = stats[0].device if stats else torch.device("cpu")
        dtype = reduce(torch.promote_types, (b.dtype for b in stats), torch.float32)
        self._kept = torch.zeros(sum(b.numel() for b in stats), dtype=dtype, device=device)
        self._seen = torch.zeros_like(self._kept)
        self._counts = torch.zeros(len(self.counters), dtype=torch.int64, device=device)

    @torch.no_grad()
    def copy(self) -> tuple[Tensor, Tensor]:
        """Copies of the statistics, flat (float), and of the batch counters (int64); valid until the next call."""
        if self.running:
            torch.cat(self.running, out=self._kept)
        if self.counters:
            torch.stack(self.counters, out=self._counts)
        return self._kept, self._counts

    @torch.no_grad()
    def sum(self) -> Tensor:
        """The sum of all statistics, a scalar on the model's device: finite if and only if all of them are."""
        return torch.cat(self.running, out=self._seen).sum() if self.running else self._seen.sum()

    @torch.no_grad()
    def restore(self, saved: tuple[Tensor, Tensor]) -> None:
        """Write a copy back in place, bit for bit."""
        flat, counts = saved
        if self.running:
            torch._foreach_copy_(self.running, list(torch.split(flat, [b.numel() for b in self.running])))
            torch._foreach_copy_(self.counters, list(counts.unbind()))


def step_flags(loss: Tensor, norms: NormBuffers, batch: Mapping[str, Any]) -> dict[str, bool]:
    """What is finite after the forward pass: one host read for all checks together.

    A sum is finite if and only if its terms are (magnitudes near 3e38, where it could overflow, are as bad).

    Returns:
        {"loss": ..., "batchnorm": ..., "targets": ...}, True where all values are finite.
    """
    targets = [batch[k] for k in TARGETS if isinstance(batch.get(k), Tensor) and batch[k].is_floating_point()]
    sums = [
        loss.detach().sum(),
        norms.sum().to(loss.device),
        *(t.detach().sum().to(loss.device) for t in targets),
    ]
    finite = [math.isfinite(value) for value in torch.stack([s.float() for s in sums]).tolist()]
    return {"loss": finite[0], "batchnorm": finite[1], "targets": all(finite[2:])}


def sources(batch: Mapping[str, Any]) -> tuple[Source, ...]:
    """The image files of a micro-batch, with what is not finite in each sample as the model got it.

    Only read after a check has fired: it looks at every pixel.
    """
    files = [str(f) for f in batch.get("im_file", ())]
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
            for sample in sorted(set(index.view(-1)[bad].long().tolist())):
                suspects[sample].append(f"{key} not finite")
    return tuple(Source(f, ", ".join(s)) for f, s in zip(files, suspects, strict=True))


def describe_items(items: Any) -> str:
    """The loss terms for a message: `box_loss nan, cls_loss 1.2`. Items are a dict (8.4.104 on) or a tensor."""
    if isinstance(items, Mapping):
        return ", ".join(f"{k} {float(v):.4g}" for k, v in items.items())
    return ", ".join(f"{float(v):.4g}" for v in items.flatten()) if isinstance(items, Tensor) else ""


def state_defect(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """What is wrong with a model's tensors: the first one that is not finite, or all of them zero; else None."""
    tensors = _floating(named)
    largest = _largest(tensors)
    if largest.isfinite().all():
        return None if largest.any() else "all tensors are zero"
    return _name_first(tensors, largest)


def first_not_finite(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """The first tensor that is not finite, and how many values of it; None if all are finite."""
    tensors = _floating(named)
    largest = _largest(tensors)
    return None if largest.isfinite().all() else _name_first(tensors, largest)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
    """The tensors of an optimizer's state, named by parameter number and key."""
    states = enumerate(optimizer.state.values())
    return [(f"{i}.{key}", t) for i, state in states for key, t in state.items() if isinstance(t, Tensor)]


def _floating(named: Iterable[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    return [(name, t.detach()) for name, t in named if t.is_floating_point() and t.numel()]


def _largest(tensors: list[tuple[str, Tensor]]) -> Tensor:
    """The largest magnitude of each tensor, on the host: one foreach and one host read."""
    if not tensors:
        return torch.ones(1)
    return torch.stack([n.float() for n in torch._foreach_norm([t for _, t in tensors], float("inf"))]).cpu()


def _name_first(tensors: list[tuple[str, Tensor]], largest: Tensor) -> str:
    name, tensor = tensors[int((~largest.isfinite()).nonzero()[0])]
    return f"{name} holds {int((~tensor.isfinite()).sum())} values that are not finite"


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """The total gradient norm, for trainers that do not clip through `torch.nn.utils.clip_grad_norm_`."""
    grads = [p.grad.detach() for p in parameters if p.grad is not None]
    return torch.stack([n.float() for n in torch._foreach_norm(grads)]).norm() if grads else torch.zeros(())
