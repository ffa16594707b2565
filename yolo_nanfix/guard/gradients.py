"""Keeps the gradient of each micro-batch apart until it is known to be good.

Autograd adds a micro-batch's gradient to what earlier ones of the window left in `p.grad`; a NaN there costs them
all. Here `p.grad` is empty before each backward pass, and what it leaves is added afterwards: the same additions in
the same order, so healthy runs keep every bit, and the cost is that of two lists (0.01 % of a step for YOLOv8n).
With one micro-batch to a step there is nothing to keep apart.

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
        self.sizes: dict[int, Tensor] = {}

    @torch.no_grad()
    def measure(self) -> None:
        """Before they are clipped: the largest magnitude of each gradient, by its parameter's id, not read yet.

        Clipping by a norm that is not finite leaves 0 or NaN in all of them. Asked only where a parameter has a hook:
        whatever else spoils a gradient, a replay shows, but a copy of a model has no such hooks.
        """
        hooked = any(p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None) for p in self.parameters)
        found = [p for p in self.parameters if p.grad is not None and p.grad.numel()] if hooked else []
        norms = torch._foreach_norm([p.grad for p in found], float("inf")) if found else ()  # type: ignore[misc]
        self.sizes = {id(p): norm for p, norm in zip(found, norms, strict=True)}

    def probe(self) -> Tensor | None:
        """The sum of the gradient that lies nearest to the input, a scalar on its device.

        Backward reaches the first layer last, through all others, so it is not finite if any of them passed
        something on that was not. (What a single weight alone gets wrong shows in the norm before the step.)
        """
        first = next((p.grad for p in self.parameters if p.grad is not None), None)
        return None if first is None else first.detach().sum()

    @torch.no_grad()
    def keep(self) -> None:
        """Add what the last backward pass left to what is kept, and leave `p.grad` empty for the next one."""
        if not self.kept:
            self.kept = [p.grad for p in self.parameters]
        else:
            grads = [(k, p.grad) for k, p in zip(self.kept, self.parameters, strict=True)]
            both = [(k, g) for k, g in grads if k is not None and g is not None]
            if both:  # none where somebody cleared the gradients in between
                torch._foreach_add_([k for k, _ in both], [g for _, g in both])
            pairs = zip(self.kept, self.parameters, strict=True)
            self.kept = [k if k is not None else p.grad for k, p in pairs]
        self.drop()

    def drop(self) -> None:
        """Forget what the last backward pass left."""
        for p in self.parameters:
            p.grad = None

    def give_back(self) -> None:
        """Put the sum of all that was kept into `p.grad`, for the step."""
        for p, kept in zip(self.parameters, self.kept, strict=False):
            p.grad = kept
        self.kept = []
