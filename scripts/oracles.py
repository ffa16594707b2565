"""Where a step first goes wrong, found without the diagnosis: by plain hooks on convolutions and BatchNorm layers."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

WATCHED = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Seen(NamedTuple):
    """A layer, and the operations that it may have gone wrong in."""

    module: str
    ops: frozenset[str]


def forward(model: nn.Module, batch: Mapping[str, Any], precision: str) -> Seen | None:
    """The first layer with finite input whose output or running statistics are not finite."""
    model, found = copy.deepcopy(model), []

    def after(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not found and _finite(inputs) and not _finite((output, *layer.buffers())):
            found.append(Seen(name, _forward_ops(layer, precision)))

    for name, layer in _layers(model):
        layer.register_forward_hook(lambda m, i, o, name=name: after(name, m, i, o))
    with autocast(precision):
        model(copied(batch))
    return found[0] if found else None


def backward(model: nn.Module, batch: Mapping[str, Any]) -> Seen | None:
    """The first layer on the way back that gets a finite gradient and gives one that is not."""
    model, passed = copy.deepcopy(model), []
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    for name, layer in _layers(model):
        layer.register_full_backward_hook(lambda m, given, got, name=name: passed.append((name, m, given, got)))
    loss, _ = model(copied(batch))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first layer's input needs no gradient
        loss.sum().backward()
    for name, layer, given, got in passed:
        own = [p.grad for p in layer.parameters() if p.grad is not None]
        if _finite(got) and not _finite((*given, *own)):
            op = "native_batch_norm_backward" if isinstance(layer, nn.BatchNorm2d) else "convolution_backward"
            return Seen(name, frozenset({f"aten.{op}"}))
        if not _finite(got):
            return None  # it went wrong in between, where no hook looks
    return None


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, WATCHED)]


def _forward_ops(layer: nn.Module, precision: str) -> frozenset[str]:
    if isinstance(layer, nn.BatchNorm2d):
        return frozenset({"aten.native_batch_norm"})
    limit = torch.finfo(DTYPES.get(precision, torch.float32)).max
    cast = float(layer.weight.detach().abs().max()) > limit
    return frozenset({"aten._to_copy" if cast else "aten.convolution"})


def autocast(precision: str) -> Any:
    """The dtype of the run's forward pass."""
    dtype = DTYPES.get(precision)
    return torch.autocast("cpu", dtype=dtype) if dtype else contextlib.nullcontext()


def copied(batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch that a step may write into."""
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in batch.items()}


def _finite(tensors: Any) -> bool:
    return all(bool(t.isfinite().all()) for t in tensors if isinstance(t, Tensor))
