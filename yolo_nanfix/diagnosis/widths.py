"""Gives the class branches of a rebuilt head the widths that the run had.

Their width follows the number of classes. Fine-tuning keeps the branches of the checkpoint, so a model for two classes
that began as one for 80 has branches of 80 channels, which its yaml does not say. Only shapes are read from an
incident, and nothing is made that is larger than the tensors that it holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BRANCH = re.compile(r"model\.\d+\.(one2one_)?cv3\.")
"""The parts of a head that Ultralytics takes over from a checkpoint whole."""


def follow(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Widen or narrow the layers of the class branches to the shapes of their tensors.

    Args:
        model: as its yaml has it.
        weights: of the incident. What does not fit a layer of its kind is left to the check that follows.
    """
    own = model.state_dict()
    odd = {n.rpartition(".")[0] for n, t in own.items() if n in weights and weights[n].shape != t.shape}
    for name in sorted(odd):
        layer = model.get_submodule(name)
        mine = {n: weights[f"{name}.{n}"] for n in layer.state_dict() if f"{name}.{n}" in weights}
        if BRANCH.match(f"{name}.") and "weight" in mine and mine.keys() == layer.state_dict().keys():
            if isinstance(layer, nn.Conv2d) and mine["weight"].shape[2:] == layer.weight.shape[2:]:
                _convolution(layer, mine)
            elif isinstance(layer, _BatchNorm) and all(t.dim() < 2 for t in mine.values()):
                layer.num_features = len(mine["weight"]) if mine["weight"].dim() else 0
                _replace(layer, mine)


def _convolution(layer: nn.Conv2d, mine: Mapping[str, Tensor]) -> None:
    out, within = mine["weight"].shape[:2]
    if layer.groups == layer.in_channels and within == 1:  # depth-wise: as many groups as channels
        layer.groups = out
    layer.out_channels, layer.in_channels = out, within * layer.groups
    _replace(layer, mine)


def _replace(layer: nn.Module, mine: Mapping[str, Tensor]) -> None:
    """New, empty tensors of the given shapes and the layer's own dtypes; what they hold comes with the weights."""
    for name, tensor in mine.items():
        before = getattr(layer, name)
        if before.shape == tensor.shape:
            continue
        fresh = torch.empty(tensor.shape, dtype=before.dtype)
        if isinstance(before, nn.Parameter):
            setattr(layer, name, nn.Parameter(fresh, requires_grad=before.requires_grad))
        else:
            setattr(layer, name, fresh)
