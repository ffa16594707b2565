"""The parity probe: is the patched function equal to the stock one on healthy inputs, in value and gradient?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

Call = Callable[[Any, Sequence[Tensor]], Tensor]
RELATIVE = 1e-6


def generator(seed: int) -> torch.Generator:
    """A CPU generator of its own, so that a probe never moves the training's RNG."""
    return torch.Generator().manual_seed(seed)


def difference(stock: Any, patched: Any, call: Call, inputs: Iterable[Sequence[Tensor]]) -> str | None:
    """Compare two functions on the same inputs.

    Args:
        stock: the function as upstream wrote it.
        patched: the function under our wrapper.
        call: `call(function, tensors) -> output`, how the function is called on one set of tensors.
        inputs: sets of float32 tensors; gradients are compared for all of them.

    Returns:
        None if value and gradients agree to 1e-6 relative on all of them, else what differs.
    """
    for number, tensors in enumerate(inputs):
        try:
            value, gradients = _run(stock, call, tensors)
            ours, our_gradients = _run(patched, call, tensors)
        except Exception as error:  # an upstream function of unknown text may raise anything
            return f"probe {number} raised {type(error).__name__}: {error}"
        for what, a, b in (("value", value, ours), *_named(gradients, our_gradients)):
            if a.shape != b.shape or not torch.allclose(a, b, rtol=RELATIVE, atol=1e-9, equal_nan=True):
                return f"{what} differs from stock on healthy probe {number}"
    return None


def _run(function: Any, call: Call, tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    leaves = [t.clone().requires_grad_(True) for t in tensors]
    output = call(function, leaves)
    gradients = torch.autograd.grad(output.sum(), leaves, allow_unused=True)
    filled = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)]
    return output.detach().clone(), filled


def _named(a: list[Tensor], b: list[Tensor]) -> list[tuple[str, Tensor, Tensor]]:
    return [(f"gradient of input {i}", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
