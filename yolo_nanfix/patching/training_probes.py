"""Parity probes of patches around the trainer: real optimizer steps of a small model, and the AMP check on a CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix.patching.probe import generator

STEPS = 3


def step_difference(stock: Any, patched: Any, *, scaled: bool) -> str | None:
    """Why the weights or the momentum differ after a few healthy steps, or None.

    Args:
        stock: the method as upstream wrote it, a plain function.
        patched: the method under our wrapper, a function that binds.
        scaled: with an enabled GradScaler, where this torch has one for the CPU.
    """
    results = []
    for function in (stock, patched):
        trainer = _Trainer(scaled)
        try:
            for seed in range(STEPS):
                trainer.backward(seed)
                function.__get__(trainer, _Trainer)()
        except Exception as error:  # upstream code of unknown text may raise anything
            return f"a healthy step raised {type(error).__name__}: {error}"
        results.append(trainer.state())
    equal = all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    return None if equal else "healthy steps differ from stock"


def amp_difference(stock: Any, patched: Any) -> str | None:
    """Why `check_amp` answers otherwise than stock for a small model on the CPU, or None."""
    model = nn.Conv2d(3, 1, 1)
    try:
        answers = bool(stock(model)), bool(patched(model))
    except Exception as error:  # upstream code of unknown text may raise anything
        return f"the check raised {type(error).__name__}: {error}"
    return None if answers[0] == answers[1] else f"on the CPU it answers {answers[1]}, stock {answers[0]}"


class _Trainer(SimpleNamespace):
    """As much of a trainer as an optimizer step uses."""

    def __init__(self, scaled: bool) -> None:
        model = nn.Linear(4, 2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator(1)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        super().__init__(model=model, optimizer=optimizer, scaler=_scaler(scaled), ema=None)
        self.device = torch.device("cpu")

    def backward(self, seed: int) -> None:
        inputs = torch.randn(8, 4, generator=generator(seed))
        self.scaler.scale(self.model(inputs).square().sum()).backward()

    def state(self) -> list[Tensor]:
        momentum = [s["momentum_buffer"] for s in self.optimizer.state.values()]
        return [*(p.detach() for p in self.model.parameters()), *momentum]


def _scaler(enabled: bool) -> Any:
    """A GradScaler for the CPU; torch before 2.3 has only the one for CUDA, which is off without a GPU."""
    make: Any = getattr(torch.amp, "GradScaler", None)
    return make("cpu", enabled=enabled) if make else torch.cuda.amp.GradScaler(enabled=False)
