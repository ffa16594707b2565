"""Values that somebody set: training arguments, settings of the optimizer's groups, single weights.

A value counts as set, not learnt, where no training gets to by itself; whether it is to blame, a replay without it
tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.incident import Incident

TIMES = 1e4
"""An argument this many times its default, or this large where the default is below 1, was not meant."""
LARGE_WEIGHT = 1e6
"""No weight of a healthy model is as large; float16 ends at 65 504, and normalised layers stay below 100."""
LARGE_STATISTIC = 1e12
"""Variances are squares."""
JUMPED = 100.0
"""A weight whose largest magnitude is this, and grew this much, has jumped."""
FEW = 0.1
"""Share of all weights that may have jumped where somebody set them; where the rate drove them, nearly all do."""
STILL = 0.2
"""How far all others may have moved then, as a share of their size."""
GAINS = frozenset(("box", "cls", "dfl", "pose", "kobj", "rle", "angle", "cls_pw", "label_smoothing"))
"""Arguments that the loss computes with; less than 0 makes no sense in any of them."""


@dataclass(frozen=True)
class Groups:
    """Settings of the optimizer.

    Attributes:
        sick: those that are not finite, as the guard saw them: group, name, value, epoch, step.
        odd: those that are finite, but let no weight stay in range: group, name, value.
    """

    sick: tuple[Mapping[str, Any], ...] = ()
    odd: tuple[tuple[int, str, float], ...] = ()


def arguments(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, float]:
    """The arguments with a number that nobody means, by name; their defaults are floats."""
    found = {}
    for name, usual in defaults.items():
        value = given.get(name)
        if not isinstance(usual, float) or not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        if not (abs(value) < TIMES * max(1.0, abs(usual)) and (value >= 0 or name not in GAINS)):
            found[name] = float(value)
    return found


def groups(facts: Mapping[str, Any]) -> Groups:
    """Settings that are not finite, and those that are so large that they drive weights out of range at once."""
    odd: list[tuple[int, str, float]] = []
    for number, group in enumerate(facts.get("groups") or ()):
        rate = max((v for k in ("lr", "initial_lr") if isinstance(v := group.get(k), (int, float))), default=0.0)
        for name, value in group.items():
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
                continue
            whole = name == "weight_decay" and abs(value) * max(rate, 1e-6) >= 1  # a step takes more than the weight
            if whole or (name == "momentum" and abs(value) > 1) or (name == "lr" and abs(value) >= 1e3):
                odd.append((number, name, float(value)))
    return Groups(tuple(facts.get("settings") or ()), tuple(odd))


def large(incident: Incident) -> dict[str, float]:
    """The largest magnitudes of weights and statistics that are finite and larger than those of any healthy model."""
    found = {}
    for name, tensor in incident.part("model").items():
        if not tensor.is_floating_point() or not tensor.numel() or name in (incident.facts.get("other_buffers") or ()):
            continue
        size = largest(tensor)
        limit = LARGE_STATISTIC if name.endswith(("running_mean", "running_var")) else LARGE_WEIGHT
        if isfinite(size) and size > limit:
            found[name] = size
    return found


def largest(tensor: Tensor) -> float:
    """The largest magnitude in a tensor; 0 for an empty one."""
    return float(torch.linalg.vector_norm(tensor.detach().float(), float("inf"))) if tensor.numel() else 0.0


def calmed(name: str, tensor: Tensor) -> Tensor:
    """A weight without the values that are too large; they are 0."""
    limit = LARGE_STATISTIC if name.endswith(("running_mean", "running_var")) else LARGE_WEIGHT
    return torch.where(tensor.abs() > min(limit, JUMPED), torch.zeros_like(tensor), tensor)
