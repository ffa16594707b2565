"""Counts the values that the patches clamp, floor or skip, for the report of the run."""

from __future__ import annotations

import torch
from torch import Tensor

_totals: dict[str, dict[str, Tensor]] = {}


def add(name: str, count: int | Tensor) -> None:
    """Add to the count of a card a number, or the sum of a tensor (such as a bool mask), without a host read."""
    number = count if isinstance(count, Tensor) else torch.tensor(count)
    with torch.inference_mode(False), torch.no_grad():
        totals = _totals.setdefault(name, {})
        where = str(number.device)
        if where not in totals:
            totals[where] = torch.zeros((), dtype=torch.int64, device=number.device)
        totals[where].add_(number.detach().sum().to(torch.int64))


def read() -> dict[str, int]:
    """The counts since the last `clear`, by card, without zeros; waits for the device."""
    totals = {name: sum(int(total) for total in devices.values()) for name, devices in _totals.items()}
    return {name: total for name, total in totals.items() if total}


def clear() -> None:
    """Reset all counts."""
    _totals.clear()
