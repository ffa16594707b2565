"""The code of a patch: one `Fix` for each card, the two ways to make its wrapper, and what wrappers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.cards import Value

Params = Mapping[str, Value]
Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
"""`wrapper(wrapped, instance, args, kwargs)`, as wrapt calls it."""
Maker = Callable[[Params], Wrapper]


@dataclass(frozen=True)
class Fix:
    """The code of one card: a wrapper around its targets, or something that it installs.

    Attributes:
        wrapper: makes the wrapper for the target from the card's parameters; see `wrapper` and `float32_wrapper`.
        probe: for a target of unknown text: compares the stock function with the patched one on healthy input
            and returns why they differ, or None. It may use the global RNG; the engine restores it.
        install: instead of wrapping the target: acts, and returns the function that undoes it.
        needed: for cards whose default is `auto`: why the patch is not needed here, or None if it is.
        late: whether what is installed acts on ultralytics itself, so not before that is imported.
        state_now: for patches that act after they were applied: state and reason, or None if it has acted and is on.
    """

    wrapper: Maker | None = None
    probe: Callable[[Any, Any], str | None] | None = None
    install: Callable[[Params], Callable[[], None]] | None = None
    needed: Callable[[], str | None] | None = None
    state_now: Callable[[], tuple[str, str] | None] | None = None
    late: bool = False

    @property
    def early(self) -> bool:
        """Whether it must be on before ultralytics is imported."""
        return self.install is not None and not self.late


@contextmanager
def attributes(owner: Any, **values: Any) -> Iterator[None]:
    """In a `with` block, attributes of an object or class have these values."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def wrapper(function: Callable[..., Any]) -> Maker:
    """The wrapper of a card from a function that is called in place of the target.

    Args:
        function: `function(wrapped, instance, *args, **kwargs)`: the target, the object that it is bound to or None,
            and the arguments of the call. The card's parameters come as keyword arguments.
    """

    def make(params: Params) -> Wrapper:
        bound = partial(function, **params) if params else function
        return lambda wrapped, instance, args, kwargs: bound(wrapped, instance, *args, **kwargs)

    return make


def float32_wrapper(function: Callable[..., Any]) -> Maker:
    """As `wrapper`, with autocast off on the device of the call's first tensor; the function casts its inputs."""
    plain = wrapper(function)

    def make(params: Params) -> Wrapper:
        inner = plain(params)

        def without_autocast(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
            with torch.autocast(first.device.type, enabled=False):
                return inner(wrapped, instance, args, kwargs)

        return without_autocast

    return make
