"""Checkpoints whose tensors stay float32 if float16 cannot hold them; all others are halved."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from torch import nn

from yolo_nanfix import upstream
from yolo_nanfix.numerics.finite import beyond_half
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper

NAME = "checkpoint-half-overflow"


def _wrapper(params: Params) -> Wrapper:
    logged: set[str] = set()

    def save(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with _careful_half(logged):
            return wrapped(*args, **kwargs)

    return save


@contextmanager
def _careful_half(logged: set[str]) -> Iterator[None]:
    """In a `with` block, `Module.half()` leaves tensors alone that would become Inf; each is logged once."""
    stock = nn.Module.half

    def half(module: Any) -> Any:
        wide = beyond_half(chain(module.named_parameters(), module.named_buffers()))
        if not wide:
            return stock(module)
        _log_new(logged, [name for name, _ in wide])
        full = {id(tensor) for _, tensor in wide}
        return module._apply(lambda t: t if id(t) in full or not t.is_floating_point() else t.half())

    nn.Module.half = half  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.half = stock  # type: ignore[method-assign]


def _log_new(logged: set[str], names: list[str]) -> None:
    tally.add(NAME, len(names))
    if new := [name for name in names if name not in logged]:
        logged.update(new)
        more = f" and {len(new) - 1} more" if len(new) > 1 else ""
        upstream.log(f"yolo-nanfix: {NAME}: {new[0]}{more} above 65504, kept as float32 in the checkpoint")


def _probe(stock: Any, patched: Any) -> str | None:
    """The function cannot be run here: if it makes float16 at all, it must use the module's `half` method."""
    names = inspect.unwrap(stock).__code__.co_names
    return "it makes float16 without half()" if "float16" in names and "half" not in names else None


FIX = Fix(wrapper=_wrapper, probe=_probe)
