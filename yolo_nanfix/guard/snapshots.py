"""Copies in memory of all that training changes.

They are restored in place (`remedies.roll_back`): `ModelEMA` and the optimizers keep references to their tensors. On a
GPU the copies are in pinned host memory, so that they take none of the model's.

Cost (YOLOv8n: 48 MB a copy): 0.08 % of a step at one copy every 50 steps.

`checksums` show whether a checkpoint holds the weights that its run started with: one pass over the weights when a run
starts; at its end, mostly, one parameter of the checkpoint is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix.numerics.finite import ordinary


@dataclass
class Copy:
    """One copy: tensors by owner and name, and the scalars beside them."""

    step: int
    tensors: dict[str, Tensor] = field(default_factory=dict)
    scalars: dict[str, Any] = field(default_factory=dict)

    def weights(self) -> dict[str, Tensor]:
        """The model's state_dict at that step."""
        return {k.removeprefix("model."): v for k, v in self.tensors.items() if k.startswith("model.")}


class Snapshots:
    """The last copies of one trainer's state: the two newest regular ones, and a late one that may be newer.

    Regular copies are some steps apart, so that the older one is from before damage that grew slowly. A late copy is
    taken at an epoch's end and soon after a start, for damage that is seen at once.
    """

    def __init__(self, trainer: Any, model: nn.Module, by_design: Collection[str] = ()) -> None:
        """No copy yet. `by_design`: names of parameters that are infinite by design."""
        self.trainer, self.model, self.by_design = trainer, model, by_design
        self.copies: list[Copy] = []
        self.late: Copy | None = None

    def __len__(self) -> int:
        """How many regular copies there are: none, one or two."""
        return len(self.copies)

    def newest_first(self) -> list[Copy]:
        """All copies."""
        late = [self.late] if self.late is not None else []
        return sorted([*self.copies, *late], key=lambda copy: copy.step, reverse=True)

    @property
    def last_step(self) -> int:
        """The step of the newest copy; -1 where there is none."""
        return max((copy.step for copy in self.newest_first()), default=-1)

    def take(self, step: int) -> None:
        """Copy the present state, in the memory of the older of two regular copies."""
        spare = self.copies.pop(0).tensors if len(self.copies) > 1 else {}
        self.copies.append(self._copy(step, spare))

    def take_late(self, step: int) -> None:
        """Copy the present state beside the regular copies, in the memory of the last late copy."""
        self.late = self._copy(step, self.late.tensors if self.late is not None else {})

    @torch.no_grad()
    def _copy(self, step: int, spare: dict[str, Tensor]) -> Copy:
        copy = Copy(step, scalars=self._scalars())
        live = self.live()
        if live.keys() == spare.keys() and all(live[k].shape == t.shape for k, t in spare.items()):
            for dtype in {t.dtype for t in live.values()}:
                names = [k for k, t in live.items() if t.dtype == dtype]
                torch._foreach_copy_([spare[k] for k in names], [live[k] for k in names], non_blocking=True)
            copy.tensors = spare
        else:
            copy.tensors = {k: _copied(t) for k, t in live.items()}
        return copy

    def chosen(self, *, older: bool = False) -> Copy:
        """The copy to go back to: the newest clean one, or the older of the regular ones."""
        return self.copies[0] if older else next(filter(_clean, self.newest_first()), self.copies[0])

    @torch.no_grad()
    def moved(self) -> tuple[float, float, int]:
        """The 2-norms of the weights' change since the newest regular copy and of that copy, and its step.

        Only matrices and kernels: scales and biases move far in healthy warm-ups, too.
        """
        copy = self.copies[-1]
        named = [
            (n, p.detach())
            for n, p in self.model.named_parameters()
            if p.dim() > 1
            and n not in self.by_design
            and getattr(copy.tensors.get(f"model.{n}"), "shape", None)
            == p.shape  # a callback may have changed the model
        ]
        if not named:
            return 0.0, 1.0, copy.step
        now = [p for _, p in named]
        then = [copy.tensors[f"model.{n}"].to(p.device) for n, p in named]
        apart = torch.stack(torch._foreach_norm(torch._foreach_sub(now, then))).norm()
        size = torch.stack(torch._foreach_norm(then)).norm()
        changed, before = torch.stack([apart, size]).tolist()
        return changed, before, copy.step

    def live(self) -> dict[str, Tensor]:
        """Every tensor that training changes, by owner and name."""
        parts = {f"model.{k}": v for k, v in (*self.model.named_buffers(), *self.model.state_dict().items())}
        if self.trainer.ema:
            parts |= {f"ema.{k}": v for k, v in self.trainer.ema.ema.state_dict().items()}
        optimizer = self.trainer.optimizer
        for i, parameter in enumerate(parameters(optimizer)):
            state = optimizer.state.get(parameter, {})
            parts |= {f"optimizer.{i}.{k}": t for k, t in state.items() if isinstance(t, Tensor)}
        scaler = self.trainer.scaler
        parts |= {f"scaler.{k}": getattr(scaler, k, None) for k in ("_scale", "_growth_tracker")}
        return {k: v.detach() for k, v in parts.items() if isinstance(v, Tensor) and ordinary(v)}

    def _scalars(self) -> dict[str, Any]:
        optimizer, ema = self.trainer.optimizer, self.trainer.ema
        plain = [
            {k: v for k, v in optimizer.state.get(p, {}).items() if not isinstance(v, Tensor)}
            for p in parameters(optimizer)
        ]
        names = (name for name, _ in self.model.named_parameters() if name not in self.by_design)
        learnt = frozenset(f"model.{name}" for name in names)
        return {"optimizer": plain, "ema.updates": ema.updates if ema else 0, "parameters": learnt}


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The parameters of an optimizer, group by group."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def _clean(copy: Copy) -> bool:
    held = [
        t for name, t in copy.tensors.items() if name.startswith("optimizer.") or name in copy.scalars["parameters"]
    ]
    return all(bool(t.isfinite().all()) for t in held if t.is_floating_point())


def _copied(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cuda":
        return tensor.clone()
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)


def checksums(model: nn.Module) -> dict[str, int]:
    """A checksum of each parameter of a model, by name, as the float16 that checkpoints hold."""
    return {name: _checksum(parameter) for name, parameter in model.named_parameters()}


def unchanged(checkpoint: str | Path, start: Mapping[str, int]) -> bool | None:
    """Whether all parameters in a checkpoint have the checksums of `start`; None if that is not known."""
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)
        named = dict((saved.get("ema") or saved["model"]).named_parameters())
    except Exception:  # missing, torn, or of classes that cannot be imported here
        return None
    if not start or named.keys() != start.keys():
        return None
    return all(_checksum(parameter) == start[name] for name, parameter in named.items())


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.detach().half().cpu().contiguous().numpy().tobytes())
