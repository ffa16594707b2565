"""Keeps the gradient of each micro-batch apart until it is known to be good.

Autograd adds a micro-batch's gradient to the sum of earlier ones of the window in `p.grad`; a NaN spoils them all. Here
`p.grad` is None during each backward pass, and its result is added afterwards: the same additions in the same order, so
healthy runs stay bit-identical, at the cost of two lists (0.01 % of a step for YOLOv8n). Between two passes `p.grad`
holds the sum, as in stock, for callbacks that read or change it. With one micro-batch a step nothing is kept apart.

Memory: one more gradient of the model's size while a window of several micro-batches is open.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Gradients:
    """The gradients of one model's parameters."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Watch the parameters; those that need no gradient are never touched."""
        self.parameters = [p for p in parameters if p.requires_grad]
        self.kept: list[Tensor | None] = []
        self.apart = True
        self.sizes: dict[int, Tensor] = {}

    @torch.no_grad()
    def measure(self) -> None:
        """Before clipping: compute the largest magnitude of each gradient, by its parameter's id, without a host read.

        Clipping by a norm that is not finite leaves 0 or NaN in all of them. Only done where a parameter has a hook:
        whatever else spoils a gradient, a replay shows, but a copy of a model has no such hooks.
        """
        hooked = any(p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None) for p in self.parameters)
        found = [p for p in self.parameters if p.grad is not None and p.grad.numel()] if hooked else []
        norms = torch._foreach_norm([p.grad for p in found], float("inf")) if found else ()  # type: ignore[misc]
        self.sizes = {id(p): norm for p, norm in zip(found, norms, strict=True)}

    def probe(self) -> Tensor | None:
        """The sum of the first parameter's gradient, a scalar on its device.

        Backward reaches the first layer last, through all others, so it is not finite if any of them passed on
        something that was not. (A single weight's bad gradient shows in the norm before the step.)
        """
        first = next((p.grad for p in self.parameters if p.grad is not None), None)
        return None if first is None else first.detach().sum()

    def set_aside(self) -> None:
        """Before a backward pass: move the sum of the window's earlier micro-batches out of `p.grad`.

        Not where a parameter has a hook that runs once its gradient is summed up: it must see the sum.
        """
        self.kept = []
        self.apart = not any(getattr(p, "_post_accumulate_grad_hooks", None) for p in self.parameters)
        if self.apart and any(p.grad is not None for p in self.parameters):
            self.kept = [p.grad for p in self.parameters]
            for p in self.parameters:
                p.grad = None

    @torch.no_grad()
    def join(self) -> None:
        """Add the gradient of the last backward pass to what was set aside; the sum is in `p.grad`."""
        grads = [(kept, p.grad) for kept, p in zip(self.kept, self.parameters, strict=False)]
        both = [(k, g) for k, g in grads if k is not None and g is not None]
        if both:  # none where somebody cleared the gradients in between
            torch._foreach_add_([k for k, _ in both], [g for _, g in both])
        for p, kept in zip(self.parameters, self.kept, strict=False):
            p.grad = p.grad if kept is None else kept
        self.kept = []

    def drop(self) -> None:
        """Drop the gradient of the last backward pass; what was set aside is in `p.grad` again."""
        for p, kept in zip(self.parameters, self.kept or [None] * len(self.parameters), strict=True):
            p.grad = kept
        self.kept = []

    def clear(self) -> None:
        """Drop the gradients of the whole window."""
        self.kept = []
        self.drop()
