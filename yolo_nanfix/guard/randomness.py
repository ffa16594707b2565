"""Saves and restores the random states of a run, so that the guard does not change them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

States = tuple[Any, Any, torch.Tensor, "list[torch.Tensor] | None"]
"""Of Python's `random`, NumPy's global generator, torch's on the CPU, and torch's on each GPU in use."""


def states() -> States:
    """The present states."""
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = torch.cuda.get_rng_state_all() if used else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), gpus


def restore(saved: States) -> None:
    """Set all generators to saved states."""
    python, numpy, cpu, gpus = saved
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if gpus is not None:
        torch.cuda.set_rng_state_all(gpus)


@contextmanager
def untouched() -> Iterator[None]:
    """Restore all states afterwards. Copies some kilobytes: not for healthy steps."""
    saved = states()
    try:
        yield
    finally:
        restore(saved)
