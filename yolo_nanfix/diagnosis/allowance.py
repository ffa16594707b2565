"""Bounds on what the model of an incident may allocate, checked before the allocation.

An incident may come from anybody, and its model may ask for more memory than exists: by a huge layer, an upsampling, a
loss over too many rows. Each operation first runs on torch's `meta` device, which computes only shapes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import ceil, isfinite, prod
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from yolo_nanfix.incident import NotReadable

SMALL_RESULT = 1 << 20
"""Operations whose results cannot have more elements are not checked."""
LARGE_RESULT = 1 << 26
"""Results of more bytes are compared with the available memory."""
SPARE = 4
"""One result may take all of the available memory except for one part in so many."""
FACTOR = 6
"""Most new elements while a model is built, as a multiple of its weights: upstream needs about two."""
BASE = 1 << 25
"""And so many more: the image of the first pass, anchors, text features."""
STEPS, SPARE_STEPS = 15, 500
"""Most operations for each weight, and so many more: upstream's models need two to five for each."""
RESULT_ELEMENTS = 1 << 23
"""Most elements of results for each weight, and `BASE` more; upstream's largest models make a fifth."""
EACH, AT_LEAST = 16, 1 << 26
"""Most elements of one result in a replay for each that the incident holds, or `AT_LEAST`; 1 000 objects an image of
640 pixels make seven."""


class TooLarge(NotReadable):
    """An operation asks for more memory than exists, or a model for more than its weights need."""


class Allowance(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Checks each operation before it runs."""

    def __init__(self, weights: Collection[Tensor] | None = None, held: int | None = None) -> None:
        """Set the bounds.

        Args:
            weights: those of the incident, while a model for them is built; else None.
            held: elements of all tensors of the incident, while its step is replayed; None: only memory is checked.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._building = weights is not None
        self._most = FACTOR * sum(t.numel() for t in weights or ()) + BASE
        self._steps_most = STEPS * len(weights or ()) + SPARE_STEPS
        self._passed_most = RESULT_ELEMENTS * len(weights or ()) + BASE
        self._each = None if held is None else EACH * held + AT_LEAST
        self._made = self._steps = self._passed = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute the shapes of the results, then run it.

        Raises:
            TooLarge: the results are too large.
        """
        kwargs = kwargs or {}
        plan = _plan(func)
        if plan.makes:
            made = _result_sizes(func, plan, args, kwargs)
            if self._building:
                self._count(sum(count for count, _ in made), new=plan.from_none)
            if self._each is not None and (most := max((count for count, _ in made), default=0)) > self._each:
                name = func._schema.name.removeprefix("aten::")
                raise TooLarge(f"{name} would make {most} values, far more than the {self._each} that it accounts for")
            size = sum(count * width for count, width in made)
            if size > LARGE_RESULT and size > (left := memory_left()) * (1 - 1 / SPARE):
                raise TooLarge(
                    f"{func._schema.name.removeprefix('aten::')} would take {size / 2**30:.3g} GiB, "
                    f"and {left / 2**30:.3g} GiB of memory are left here"
                )
        return func(*args, **kwargs)

    def _count(self, made: int, *, new: bool) -> None:
        self._steps += 1
        self._made += made if new else 0
        self._passed += made
        if self._made > self._most or self._steps > self._steps_most or self._passed > self._passed_most:
            raise TooLarge("its model yaml makes a far larger model than the weights that it holds")


def _result_sizes(func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[int, int]]:
    """How many elements each result has, and of how many bytes each; upper bounds where even these are small."""
    leaves = [*_leaves(args), *_leaves(tuple(kwargs.values()))]
    most = prod(max(1, x.numel() if isinstance(x, Tensor) else abs(x)) for x in leaves)
    if most <= SMALL_RESULT:
        return [(most, 8)]
    if plan.by_element:
        shapes = [x.shape for x in leaves if isinstance(x, Tensor)]
        with suppress(RuntimeError):
            return [(prod(torch.broadcast_shapes(*shapes)), 8)]  # type: ignore[no-untyped-call]
    return [(t.numel(), t.element_size()) for t in _meta_results(func, plan, args, kwargs)]


def _leaves(values: tuple[Any, ...] | list[Any]) -> Iterator[Any]:
    """The tensors and whole numbers among arguments, also in lists."""
    for value in values:
        if isinstance(value, Tensor) or type(value) is int:
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _leaves(value)
        elif type(value) is float and abs(value) > 1:
            yield ceil(abs(value)) if isfinite(value) else 1


def _meta_results(func: Any, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The results as `meta` tensors; none where that is not possible, as for shapes that depend on values."""
    if plan.on_a_device:
        kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
        kwargs["device"] = torch.device("meta")
    try:
        return [
            t for t in tree_flatten(func(*tree_map(_meta, args), **tree_map(_meta, kwargs)))[0] if isinstance(t, Tensor)
        ]
    except (NotImplementedError, RuntimeError, TypeError, ValueError, AssertionError):
        return []  # where it is a mistake, running it says so


def _meta(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="meta")


@dataclass(frozen=True)
class _Plan:
    """What an operation makes, by its schema.

    Attributes:
        makes: it makes new tensors.
        from_none: it is given no tensor.
        on_a_device: it has an argument `device`.
        by_element: it is pointwise.
    """

    makes: bool
    from_none: bool
    on_a_device: bool
    by_element: bool


@cache
def _plan(func: Any) -> _Plan:
    returns, arguments = func._schema.returns, func._schema.arguments
    return _Plan(
        any(r.alias_info is None and "Tensor" in str(r.type) for r in returns),
        not any("Tensor" in str(a.type) for a in arguments),
        any(a.name == "device" for a in arguments),
        torch.Tag.pointwise in getattr(func, "tags", ()),
    )


def memory_left() -> int:
    """Bytes of memory that are available to this process: of the machine, or of its control group if that is less."""
    left: int = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no limit is the word `max`
        most = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        left = min(left, most - int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii")))
    return max(0, left)
