"""Facts of an incident about whose code and settings a step ran with: hooks, replaced functions, optimizer groups.

Only asked after a fault; reads tensors, writes none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix import kept, upstream

SHOWN = 20
"""At most so many weights, and so many hooks, are named."""
ENTRIES = 1 << 20
"""Entries of a batch whose JSON is longer (characters) are not written."""


def own(model: nn.Module) -> dict[str, Any]:
    """What the run has that is not of the installed release, and the device that it runs on."""
    hooks = [
        {"on": on, "kind": kind, "code": upstream.place_of(kept.plain_function(hook))}
        for on, kind, hook in kept.hooks(model)
    ]
    return {
        "hooks": hooks[:SHOWN],
        "replaced": upstream.replaced(),
        "edited": upstream.edited(),
        "classes": kept.classes(kept.owners(model).items()),
        "device": next((p.device.type for p in model.parameters()), "cpu"),
    }


def callbacks(trainer: Any) -> list[dict[str, str]]:
    """The callbacks of the user's own: the event, and where each is written."""
    found = []
    for event, functions in (getattr(trainer, "callbacks", None) or {}).items():
        for function in functions:
            plain = kept.plain_function(function)
            if kept.module_of(function).partition(".")[0] not in kept.STOCK:
                found.append({"event": str(event), "code": upstream.place_of(plain)})
    return found[:SHOWN]


def settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The settings of each group, without its weights."""
    return [{k: _number(v) for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def _number(value: Any) -> Any:
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else str(tuple(value.shape))
    if isinstance(value, (list, tuple)):
        return [_number(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def gradients(model: nn.Module, before: Mapping[int, Tensor]) -> dict[str, Any]:
    """Which weights have a gradient that is not finite, and the largest magnitudes of those that are.

    Args:
        model: whose weights.
        before: their magnitudes before they were clipped, by the ids of the weights, where those are known.
    """
    weights = [(n, p) for n, p in model.named_parameters() if p.grad is not None and p.grad.numel()]
    named = [(n, p.grad.detach()) for n, p in weights if p.grad is not None]
    if not named:
        return {"bad": [], "count": 0, "of": 0, "largest": {}}
    norms = [before[id(p)] for _, p in weights if id(p) in before]
    if len(norms) != len(named):
        norms = list(torch._foreach_norm([g for _, g in named], float("inf")))
    largest = torch.stack([n.float() for n in norms]).tolist()
    sizes = {name: size for (name, _), size in zip(named, largest, strict=True)}
    bad = [name for name, size in sizes.items() if not size < float("inf")]
    finite = sorted((name for name in sizes if name not in bad), key=lambda n: -sizes[n])
    return {
        "bad": bad[:SHOWN],
        "count": len(bad),
        "of": len(named),
        "largest": {name: sizes[name] for name in finite[:SHOWN]},
    }


def writable(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Those entries of a batch that JSON can hold, and whose text is not too long."""
    found = {}
    for key, value in entries.items():
        try:
            text = json.dumps(value)
        except (TypeError, ValueError):
            continue
        if len(text) <= ENTRIES:
            found[key] = json.loads(text)
    return found
