"""Checks the settings of the optimizer's parameter groups before each step: learning rate, decay, momentum and so on.

A callback, a schedule or a resumed checkpoint may set a NaN, and one step with it makes every weight NaN. They are
plain numbers, so nothing is read from a device; a tensor on another device than the CPU is not checked.

One rank alone may have it: each checks before its backward pass, whose gradient signals it to the others.

Cost: 0.002 % of a step (YOLOv8n, batch 8, imgsz 160, one CPU core).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

INFINITE = frozenset(
    ("lr", "weight_decay", "momentum", "betas", "eps", "dampening", "alpha", "lambd", "rho", "lr_decay", "t0")
)
"""Settings in which an Inf is a fault, too; in settings of a user's own optimizer it may be intended."""
BOOKKEEPING = frozenset(("params", "initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "param_names"))
"""Entries that no step computes with; schedules keep some of them."""


@dataclass(frozen=True)
class Setting:
    """One setting that is not finite.

    Attributes:
        group: the number of its group, from 0.
        name: `lr`, `weight_decay`, `betas`, ...
        value: what it is, as Python writes it.
        epoch, step: 1-based epoch and number of the optimizer step at which all were finite last; both 0: never.
    """

    group: int
    name: str
    value: str
    epoch: int
    step: int


class Groups:
    """The settings of one optimizer."""

    def __init__(self) -> None:
        self._last_good = (0, 0)
        self.refused_in_a_row = 0

    def defects(self, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> tuple[Setting, ...]:
        """The settings that are not finite; empty, in nearly every step (`step`, from 1, is about to be taken)."""
        found: list[tuple[int, str, float]] = []
        for number, group in enumerate(optimizer.param_groups):
            for name, setting in group.items():
                if type(setting) is float:
                    if math.isfinite(setting):
                        continue
                elif name in BOOKKEEPING or setting is None or type(setting) in (bool, int):
                    continue
                found += [(number, name, value) for value in _numbers(setting) if _bad(name, value)]
        if not found:
            self._last_good, self.refused_in_a_row = (epoch, step), 0
            return ()
        self.refused_in_a_row += 1
        return tuple(Setting(number, name, f"{value}", *self._last_good) for number, name, value in found)


def _bad(name: str, value: float) -> bool:
    return name not in BOOKKEEPING and (value != value or (math.isinf(value) and name in INFINITE))


def _numbers(setting: Any) -> Iterator[float]:
    if type(setting) is float:
        yield setting
    elif isinstance(setting, tuple) or (isinstance(setting, list) and len(setting) < 9):
        for part in setting:
            if isinstance(part, float):
                yield part
    elif isinstance(setting, Tensor):
        if not setting.dim() and setting.device.type == "cpu" and setting.is_floating_point():
            yield float(setting)
    elif isinstance(setting, float):
        yield float(setting)  # numpy's


def facts(settings: tuple[Setting, ...]) -> tuple[str, dict[str, Any]]:
    """For an event, its form and values: `learning rate of group 0 is nan since step 8 (epoch 2)`."""
    first = settings[0]
    name = {"lr": "learning rate", "weight_decay": "weight decay"}.get(first.name, "{name}")
    since = "since step {step} (epoch {epoch})" if first.step else "since the start"
    more = " and {more} more" if len(settings) > 1 else ""
    return f"{name} of group {{group}} is {{value}} {since}{more}", {**asdict(first), "more": len(settings) - 1}
