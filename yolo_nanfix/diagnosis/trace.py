"""Follows values that are not finite through a replayed step, back to the operation that made the first of them.

Infinities are not faults by themselves: attention masks and the anchors of RT-DETR hold them on purpose. So nothing is
judged while the step runs. Each operation with a bad result is noted with the bad tensors that it read; afterwards the
notes are followed back from the bad loss, statistic or gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from yolo_nanfix.diagnosis.places import Places, caller, current_node, names_of_not_finite

_MOVES = ("_to_copy", "clone", "copy_", "cat", "stack", "repeat", "flip", "roll", "constant_pad_nd")
_PICKS = ("index", "index_put", "index_put_", "index_select", "gather", "scatter", "scatter_", "masked_select")
COPIES = frozenset((*_MOVES, *_PICKS))
"""Operations that only move values: where a weight or pixel was bad before, the first real computation is named."""
FILLS = frozenset(
    [
        *("masked_fill", "masked_fill_", "full", "full_like", "new_full", "fill", "fill_", "where", "constant_pad_nd"),
        *("scatter", "scatter_", "index_put", "index_put_", "_index_put_impl_", "index_fill", "index_fill_"),
    ]
)
"""Operations in which an Inf or NaN constant is intended: masks, padding, sentinels."""
OVERWRITES = frozenset(("copy_", "fill_", "zero_", "normal_", "uniform_", "random_"))
"""In-place operations that do not read what they overwrite."""
STATISTICS = ("running_mean", "running_var")
"""Arguments that BatchNorm changes."""


def tree_leaves(tree: Any) -> list[Any]:
    """All values in nested lists, tuples and dicts; torch has a function of this name only from 2.2 on."""
    leaves: list[Any] = tree_flatten(tree)[0]
    return leaves


@dataclass(frozen=True, eq=False)
class Leaf:
    """A tensor that was bad before the step: a weight, a buffer, a batch entry, or (no name) a constant.

    Attributes:
        name: of the tensor.
        nan: it holds NaN, not only Inf.
        meant: an Inf that may be intended: the tensor is unknown, or had it when the run began.
    """

    name: str
    nan: bool
    meant: bool = False


@dataclass(frozen=True, eq=False)
class Note:
    """One operation with a result that is not finite.

    Attributes:
        number: its place among the noted operations.
        op: `aten.log`.
        module, code, phase, dtype: as in `Verdict`.
        nan: the result holds NaN, not only Inf.
        parents: the bad tensors that it read.
        constant: it read none, and its Inf or NaN is a constant of the code (`masked_fill(mask, inf)`).
        largest: the largest magnitude among its finite inputs, and `smallest` their smallest value.
        changed: it was an argument, not the result, that became bad (running statistics of BatchNorm).
        given: `nan` or `inf` if it was given a non-finite number, or such a tensor of unknown origin; else empty.
        names: names of that number in its function.
    """

    number: int
    op: str
    module: str
    code: str
    phase: str
    dtype: str
    nan: bool
    parents: tuple[Note | Leaf, ...]
    constant: bool
    largest: float
    smallest: float
    changed: bool
    given: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Root:
    """The origin of the first bad value: the operation, and the leaf that it read, if any."""

    note: Note
    leaf: Leaf | None


@dataclass(frozen=True)
class _Plan:
    """What an operation writes: argument positions and names, and whether its results are new tensors."""

    name: str
    written: tuple[int, ...]
    written_names: tuple[str, ...]
    fresh: bool


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations whose results are not finite; none while `paused`, for the replay's own checks."""

    def __init__(self, places: Places, leaves: Mapping[str, Tensor], meant: frozenset[str] = frozenset()) -> None:
        """`leaves`: tensors that may be bad already, by name; an Inf in those of `meant` may be intended."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.places, self.phase, self.paused = places, "forward", False
        self.notes: list[Note] = []
        self._bad: dict[int, tuple[Note | Leaf, int]] = {}
        for name, tensor in leaves.items():
            if not finite(tensor):
                nan = has_nan(tensor)
                self._bad[_storage(tensor)] = (Leaf(name, nan, name in meant and not nan), tensor.numel())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        plan = _plan(func)
        code = self.places.passed() if self.phase == "forward" else ""
        written = [args[i] for i in plan.written if i < len(args)]
        written += [kwargs[n] for n in plan.written_names if n in kwargs]
        written = [t for t in tree_leaves(written) if _floating(t)]
        reads = plan.name not in OVERWRITES
        before = [self._bad[_storage(t)][0] for t in written if reads and _storage(t) in self._bad and not finite(t)]
        result = func(*args, **kwargs)
        made = [t for t in tree_leaves(result) if _floating(t)] if plan.fresh else []
        bad = [t for t in (*made, *written) if not finite(t)]
        for tensor in (*made, *written):
            whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
            if whole and all(tensor is not b for b in bad):
                self._bad.pop(_storage(tensor), None)
        if bad:
            self._note(plan, code, (args, kwargs), written, before, bad)
        return result

    def _note(
        self, plan: _Plan, code: str, given: Any, written: list[Tensor], parents: list[Note | Leaf], bad: list[Tensor]
    ) -> None:
        leaves = tree_leaves(given)
        inputs = [t for t in leaves if _floating(t) and all(t is not w for w in written)]
        numbers = [t for t in inputs if not t.dim() and _storage(t) not in self._bad and not finite(t)]
        spoilt = [t for t in inputs if self._was_bad(t) and all(t is not n for n in numbers)]
        parents = [*parents, *(self._source(t) for t in spoilt)]
        healthy = [] if parents else [t for t in inputs if t.numel()]
        spans = [torch.aminmax(t.detach()) for t in healthy]
        floats = [x != x for x in leaves if isinstance(x, float) and not isfinite(x)] + [has_nan(n) for n in numbers]
        strangers = [p.nan for p in parents if isinstance(p, Leaf) and not p.name]
        given = floats + strangers if plan.name not in FILLS else []
        module, code = self._place(code)
        note = Note(
            number=len(self.notes),
            op=f"aten.{plan.name}" if "." not in plan.name else plan.name,
            module=module,
            code=code,
            phase=self.phase,
            dtype=str(bad[0].dtype).removeprefix("torch."),
            nan=any(has_nan(t) for t in bad),
            parents=tuple(parents),
            constant=not parents and ((bool(floats) and plan.name in FILLS) or not (inputs or written)),
            largest=max((max(abs(float(s.min)), abs(float(s.max))) for s in spans), default=0.0),
            smallest=min((float(s.min) for s in spans), default=0.0),
            changed=all(any(b is w for w in written) for b in bad),
            given=("nan" if any(given) else "inf") if given else "",
            names=names_of_not_finite() if given else (),
        )
        self.notes.append(note)
        for tensor in bad:
            self._bad[_storage(tensor)] = (note, tensor.numel())

    def _was_bad(self, tensor: Tensor) -> bool:
        known = self._bad.get(_storage(tensor))
        return (known is not None and known[1] == tensor.numel()) or not finite(tensor)

    def _source(self, tensor: Tensor) -> Note | Leaf:
        known = self._bad.get(_storage(tensor))
        nan = has_nan(tensor)
        return known[0] if known else Leaf("", nan, not nan)

    def _place(self, code: str) -> tuple[str, str]:
        node = current_node() if self.phase == "backward" else None
        if node is None:
            return self.places.module(), code or caller()
        module, made_at = self.places.of_node(node._sequence_nr())
        return module, caller() or made_at  # a Function of the user's own has its line on the stack

    def root(self, results: Iterable[Tensor]) -> Root | None:
        """The origin of the bad values of these results, or None if they are finite or it is unknown.

        A NaN is followed through NaN inputs only; where it was made of infinities, through those. Constant infinities
        count only if nothing else is found. Of several origins the first in time is taken.
        """
        waiting = [self._bad[_storage(t)][0] for t in results if _storage(t) in self._bad]
        seen: set[int] = set()
        origins: list[Note | Leaf] = []
        makers: list[Note] = []
        while waiting:
            at = waiting.pop()
            if id(at) in seen:
                continue
            seen.add(id(at))
            if isinstance(at, Leaf) or not at.parents:
                origins.append(at)
                continue
            nans = [p for p in at.parents if p.nan] if at.nan else []
            if at.nan and not nans:
                makers.append(at)
            waiting += nans or at.parents
        return self._first(origins, makers)

    def _first(self, origins: list[Note | Leaf], makers: list[Note]) -> Root | None:
        firm: list[Root] = []
        meant: list[Root] = []
        for origin in origins:
            if isinstance(origin, Leaf):
                reader = self._reader(origin)
                named = [Root(reader, origin if origin.name else None)] if reader else []
                firm += [] if origin.meant else named
                meant += named if origin.meant and origin.name else []
            elif not origin.constant:
                firm.append(Root(origin, None))
        loose = [Root(n, None) for n in makers] or [Root(n, None) for n in origins if isinstance(n, Note)]
        return min(firm or loose or meant, key=lambda root: root.note.number, default=None)

    def _reader(self, leaf: Leaf) -> Note | None:
        """The first operation that computes with a leaf; one that only moves it if no other does."""
        moved: set[int] = {id(leaf)}
        first: Note | None = None
        for note in self.notes:
            if any(id(p) in moved for p in note.parents):
                first = first or note
                if note.op.removeprefix("aten.") not in COPIES:
                    return note
                moved.add(id(note))
        return first

    def readers(self) -> list[Root]:
        """For each bad leaf the operation that reads it first; for values that never reach a result."""
        leaves = {id(p): p for note in self.notes for p in note.parents if isinstance(p, Leaf) and p.name}
        found = ((self._reader(leaf), leaf) for leaf in leaves.values())
        return [Root(note, leaf) for note, leaf in found if note is not None]


def finite(tensor: Tensor) -> bool:
    """Whether all values are finite: quickly by the sum; where that is not finite, by each value."""
    if not _floating(tensor):
        return True
    total = tensor.detach().sum(dtype=torch.float32 if tensor.element_size() < 4 else None)
    return isfinite(abs(total.item())) or bool(tensor.detach().isfinite().all())


def has_nan(tensor: Tensor) -> bool:
    """Whether a value is NaN."""
    return bool(tensor.detach().isnan().any())


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()) and value.numel() > 0


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@cache
def _plan(func: Any) -> _Plan:
    """By an operation's schema; that of BatchNorm does not say that it changes its running statistics."""
    arguments = func._schema.arguments
    written = [bool(a.alias_info and a.alias_info.is_write) or a.name in STATISTICS for a in arguments]
    return _Plan(
        name=func._schema.name.removeprefix("aten::").replace("::", "."),
        written=tuple(i for i, changes in enumerate(written) if changes),
        written_names=tuple(a.name for a, changes in zip(arguments, written, strict=True) if changes),
        fresh=any(r.alias_info is None for r in func._schema.returns),
    )
