"""The machine that a training would run on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

GIB = 1 << 30


@dataclass(frozen=True)
class Machine:
    """What matters of a machine.

    Attributes:
        cores: processor cores that this process may use.
        gpu: the name of the first GPU that would train, `mps` of Apple's; empty for none.
        gpu_memory: its memory in GiB; 0 if unknown.
    """

    cores: int
    gpu: str = ""
    gpu_memory: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return dict(vars(self))


def look(device: Any = None) -> Machine:
    """This machine; `device` is Ultralytics' argument of that name, None for its own choice."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = str(device if device is not None else "").lower().strip("[]() ")
    if wanted == "cpu":
        return Machine(cores)
    if wanted == "mps":
        return Machine(cores, "mps")
    if not torch.cuda.is_available():  # Ultralytics does not choose mps by itself
        return Machine(cores)
    first = wanted.removeprefix("cuda").lstrip(":").split(",")[0].strip()
    number = int(first) if first.isdigit() and int(first) < torch.cuda.device_count() else 0
    properties = torch.cuda.get_device_properties(number)
    return Machine(cores, properties.name, round(properties.total_memory / GIB, 1))
