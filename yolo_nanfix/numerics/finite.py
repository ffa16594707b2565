"""Which tensors are a model's weights, and, with one host read, whether they hold NaN, Inf or more than float16 can."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

HALF_LIMIT = 65520.0
"""The smallest magnitude that rounds to Inf in float16: its largest number is 65504, the next would be 65536."""

Named = Iterable[tuple[str, Tensor]]


def by_design(model: nn.Module) -> frozenset[str]:
    """The frozen parameters that hold Inf and no NaN, as masks do: training leaves them as they are."""
    frozen = [(n, p) for n, p in model.named_parameters() if not p.requires_grad and p.is_floating_point()]
    return frozenset(n for n, p in frozen if ordinary(p) and bool(p.isinf().any()) and not bool(p.isnan().any()))


def weights(model: nn.Module, leave: Collection[str] = ()) -> list[tuple[str, Tensor]]:
    """The weights of a model: parameters, and the statistics of its normalisation layers.

    Other buffers may hold non-finite values by design: attention masks, observers of quantisation.

    Args:
        model: the model, or its EMA, whose parameters are all frozen.
        leave: names of parameters that are infinite `by_design`.
    """
    norms = {id(b) for m in model.modules() if isinstance(m, _NormBase) for b in (m.running_mean, m.running_var)}
    parameters = [(n, p) for n, p in model.named_parameters() if n not in leave]
    return [*parameters, *((n, b) for n, b in model.named_buffers() if id(b) in norms)]


def unwrapped(model: Any) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel and `torch.compile`."""
    while isinstance(inner := getattr(model, "_orig_mod", None) or getattr(model, "module", None), nn.Module):
        model = inner
    return model  # type: ignore[no-any-return]


def ordinary(tensor: Tensor) -> bool:
    """Whether a tensor can be checked: dense, with data, not quantised, and not of an 8-bit floating dtype."""
    dense = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized
    return dense and not (tensor.dtype.is_floating_point and tensor.dtype.itemsize < 2)


def other_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    """The floating buffers in a model's state_dict that are not among its `weights`."""
    known = {name for name, _ in weights(model)}
    state = model.state_dict().items()
    return [(n, t) for n, t in state if n not in known and t.is_floating_point() and ordinary(t)]


@dataclass(frozen=True)
class StateDefect:
    """What is wrong with named tensors: `tensor` holds `count` non-finite values, or all are zero (then no name)."""

    tensor: str = ""
    count: int = 0

    @property
    def says(self) -> str:
        """The format text of the message, for `values`; see `wording.sentence`."""
        return "{tensor} holds {count:non-finite value|non-finite values}" if self.tensor else "all tensors are zero"

    @property
    def values(self) -> dict[str, str | int]:
        """Tensor and count, by these names."""
        return {"tensor": self.tensor, "count": self.count}

    def __str__(self) -> str:
        values = "value" if self.count == 1 else "values"
        return f"{self.tensor} holds {self.count} non-finite {values}" if self.tensor else self.says


def first_not_finite(named: Named) -> StateDefect | None:
    """The first floating tensor that holds NaN or Inf, with the count of such values; None if there is none."""
    return _first(*_magnitudes(named))


def state_defect(named: Named) -> StateDefect | None:
    """The first tensor that is non-finite, or that all tensors are zero; None if neither."""
    tensors, largest = _magnitudes(named)
    return _first(tensors, largest) or (StateDefect() if tensors and not any(largest) else None)


def _first(tensors: list[tuple[str, Tensor]], largest: list[float]) -> StateDefect | None:
    for (name, tensor), magnitude in zip(tensors, largest, strict=True):
        if not magnitude < float("inf"):
            return StateDefect(name, int((~tensor.isfinite()).sum()))
    return None


def beyond_half(named: Named) -> list[tuple[str, Tensor]]:
    """The finite floating tensors with at least one value that becomes Inf in float16."""
    tensors, largest = _magnitudes(named)
    wide = (HALF_LIMIT <= magnitude < float("inf") for magnitude in largest)
    return [pair for pair, is_wide in zip(tensors, wide, strict=True) if is_wide]


@torch.no_grad()
def _magnitudes(named: Named) -> tuple[list[tuple[str, Tensor]], list[float]]:
    """The floating tensors that are not empty, and the largest magnitude of each (NaN if it holds NaN)."""
    tensors = [(name, t) for name, t in named if t.is_floating_point() and ordinary(t) and t.numel()]
    if not tensors:
        return [], []
    norms = torch._foreach_norm([t.detach() for _, t in tensors], float("inf"))
    largest: list[float] = torch.stack([n.double() for n in norms]).tolist()
    return tensors, largest
