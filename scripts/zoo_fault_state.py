"""Faults in checkpoints and in the live state of a run: weights, BatchNorm, EMA, optimizer, loss scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

FIRST = "model.0.conv.weight"
LARGE = 4000.0


def poison(checkpoint: dict[str, Any], fault: Mapping[str, Any]) -> None:
    """Change a loaded checkpoint in place."""
    model, value = checkpoint.get("ema") or checkpoint["model"], float(fault["value"])
    if fault["what"] == "optimizer":
        for values in checkpoint["optimizer"]["state"].values():
            for tensor in values.values():
                if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.dim():
                    tensor.fill_(value)
    elif fault["what"] == "scale":
        checkpoint["scaler"]["scale"] = value
    else:
        poison_model(model, fault["what"], value)


@torch.no_grad()
def poison_model(model: nn.Module, what: str, value: float) -> None:
    """Put a value into one element of a model, or zeros everywhere (`zeros`), or the same net with huge variance."""
    state = model.state_dict()
    if what == "zeros":
        for tensor in state.values():
            if tensor.is_floating_point():
                tensor.zero_()
    elif what == "variance-large":  # in inference the very same function: BatchNorm divides by what was multiplied
        model.float()
        state = model.state_dict()
        state[FIRST].mul_(LARGE)
        state["model.0.bn.running_mean"].mul_(LARGE)
        state["model.0.bn.running_var"].mul_(LARGE**2)
    else:
        name = {"weights": FIRST, "batchnorm": "model.1.bn.running_mean", "variance": "model.1.bn.running_var"}[what]
        state[name].view(-1)[0] = value


@torch.no_grad()
def poison_trainer(trainer: Any, what: str, value: float) -> None:
    """Put a value into one element of a running trainer's model, EMA (`ema-...`) or optimizer."""
    if what == "optimizer":
        tensors = [t for s in trainer.optimizer.state.values() for t in s.values() if isinstance(t, Tensor) and t.dim()]
        tensors[0].view(-1)[0] = value
    elif what.startswith("ema-"):
        poison_model(trainer.ema.ema, what.removeprefix("ema-"), value)
    else:
        poison_model(trainer.model, what, value)
