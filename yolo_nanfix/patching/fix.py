"""What the code of a patch consists of: one `Fix` a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yolo_nanfix.cards import Value

Params = Mapping[str, Value]
Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
"""`wrapper(wrapped, instance, args, kwargs)`, as wrapt calls it."""


@dataclass(frozen=True)
class Fix:
    """The code of one card: a wrapper around its target, or an action of its own.

    Attributes:
        wrapper: makes the wrapper for the target from the card's parameters.
        probe: for a target of unknown text: compares the stock function with the patched one on healthy input
            and returns why they differ, or None. It may use the global RNG; the engine restores it.
        install: instead of wrapping the target: does something and returns what undoes it.
        needed: for cards whose default is `auto`: why the patch is not needed here, or None if it is.
        standing: for what waits for its moment: state and reason as they are now, or None for a patch that is on.
    """

    wrapper: Callable[[Params], Wrapper] | None = None
    probe: Callable[[Any, Any], str | None] | None = None
    install: Callable[[Params], Callable[[], None]] | None = None
    needed: Callable[[], str | None] | None = None
    standing: Callable[[], tuple[str, str] | None] | None = None
