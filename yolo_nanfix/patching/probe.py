"""Parity probes: whether a patched function of unknown text agrees with the stock one on healthy input."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix import upstream

Calling = Callable[[Any, Sequence[Tensor]], Tensor]
Probe = Callable[[Any, Any], str | None]
"""`probe(stock, patched)`: why they differ on healthy input, or None. It may raise: the engine catches that."""
RELATIVE = 1e-6
STEPS = 3


def generator(seed: int) -> torch.Generator:
    """A new CPU generator, so that a probe never advances the RNG of training."""
    return torch.Generator().manual_seed(seed)


def loss_class(name: str) -> Any:
    """A class of `ultralytics.utils.loss`, as a probe makes an instance of it."""
    return upstream.resolve(f"ultralytics.utils.loss:{name}").raw


def samples(make: Callable[[torch.Generator], Sequence[Tensor]], count: int = 3) -> Iterator[Sequence[Tensor]]:
    """Sets of tensors for `difference`, each made with a generator of another seed."""
    return (make(generator(seed)) for seed in range(count))


def calling(*rest: Any, instance: Any = None, **options: Any) -> Calling:
    """How `difference` calls a function: with the tensors of a probe, then with fixed arguments, cloned for each call.

    A method is bound to `instance`; functions that take no `self` are called without it.
    """

    def call(function: Any, tensors: Sequence[Tensor]) -> Tensor:
        if instance is not None and function.__code__.co_varnames[:1] == ("self",):
            function = function.__get__(instance, type(instance))
        result: Tensor = function(*tensors, *(r.clone() if isinstance(r, Tensor) else r for r in rest), **options)
        return result

    return call


def difference(stock: Any, patched: Any, call: Calling, inputs: Iterable[Sequence[Tensor]]) -> str | None:
    """What differs between two functions on sets of float32 tensors; None if all agrees to 1e-6 relative.

    `call(function, tensors) -> output` says how they are called; the gradients by all of the tensors are compared, too.
    """
    for number, tensors in enumerate(inputs):
        results = zip(_run(stock, call, tensors), _run(patched, call, tensors), strict=True)
        for place, (a, b) in enumerate(results):
            if a.shape != b.shape or not torch.allclose(a, b, rtol=RELATIVE, atol=1e-9, equal_nan=True):
                what = f"gradient of input {place - 1}" if place else "value"
                return f"{what} differs from stock on healthy probe {number}"
    return None


def _run(function: Any, call: Calling, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The value, and the gradient of its sum by each of the tensors."""
    leaves = [t.clone().requires_grad_(True) for t in tensors]
    output = call(function, leaves)
    gradients = torch.autograd.grad(output.sum(), leaves, allow_unused=True)
    filled = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)]
    return [output.detach().clone(), *filled]


def text_probe(*, uses: Iterable[str] = (), takes: Sequence[str] = (), more: bool = False) -> Probe:
    """A probe for a method that cannot be run here: whether its code still fits the patch.

    Args:
        uses: globals, attributes or texts that its code must still use.
        takes: the names of its parameters after `self`.
        more: it may take further parameters after `takes`.
    """

    def probe(stock: Any, patched: Any) -> str | None:
        function = inspect.unwrap(stock)
        found = list(inspect.signature(function).parameters)[1:]
        if takes and (found[: len(takes)] if more else found) != list(takes):
            return f"it takes ({', '.join(found)}), not ({', '.join(takes)})"
        code = function.__code__
        missing = set(uses) - {*code.co_names, *(c for c in code.co_consts if isinstance(c, str))}
        return f"it no longer uses {', '.join(sorted(missing))}" if missing else None

    return probe


def step_difference(stock: Any, patched: Any, *, scaled: bool) -> str | None:
    """Why the weights or the momentum differ after a few healthy optimizer steps of a small model, or None.

    The GradScaler is enabled if `scaled`, where this torch has one for the CPU.
    """
    results = []
    for function in (stock, patched):
        trainer = _Trainer(scaled)
        for seed in range(STEPS):
            trainer.backward(seed)
            function.__get__(trainer, _Trainer)()
        results.append(trainer.state())
    equal = all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    return None if equal else "healthy steps differ from stock"


def amp_difference(stock: Any, patched: Any) -> str | None:
    """Why the patched `check_amp` disagrees with stock about a small model on the CPU, or None."""
    model = nn.Conv2d(3, 1, 1)
    theirs, ours = bool(stock(model)), bool(patched(model))
    return None if theirs == ours else f"on the CPU it answers {ours}, stock {theirs}"


class _Trainer(SimpleNamespace):
    """The part of a trainer that an optimizer step uses."""

    def __init__(self, scaled: bool) -> None:
        model = nn.Linear(4, 2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator(1)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        make: Any = getattr(torch.amp, "GradScaler", None)  # torch before 2.3 has only the one for CUDA
        scaler = make("cpu", enabled=scaled) if make else torch.cuda.amp.GradScaler(enabled=False)
        super().__init__(model=model, optimizer=optimizer, scaler=scaler, ema=None, device=torch.device("cpu"))

    def backward(self, seed: int) -> None:
        inputs = torch.randn(8, 4, generator=generator(seed))
        self.scaler.scale(self.model(inputs).square().sum()).backward()

    def state(self) -> list[Tensor]:
        momentum = [s["momentum_buffer"] for s in self.optimizer.state.values()]
        return [*(p.detach() for p in self.model.parameters()), *momentum]
