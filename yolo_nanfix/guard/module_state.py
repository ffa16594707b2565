"""What a forward pass changes in a model beside its parameters and the statistics of its normalisation layers.

Observers of quantisation, running means of a user's own modules, prototypes, masks that are built as needed: buffers,
tensors that are plain attributes, floats, and short lists and mappings of them. A dropped micro-batch must not change
them. They are never judged: an Inf may be intended (attention masks, observers that have seen nothing yet), and a NaN
may do no harm. The names of those that were non-finite when training began are kept.

Cost: none for Ultralytics' models, which have no such state. Small tensors are copied before each forward pass; larger
ones only when torch's counter of their changes has moved.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from yolo_nanfix.kept import OWN, users_own
from yolo_nanfix.numerics.finite import ordinary

SMALL_TENSOR = 65_536
"""Most values of a tensor that is always copied: a change through `.data` moves no counter."""
MOST_ENTRIES_COPIED = 64
"""Most entries of a list, deque or mapping that is copied."""
EARLY = 3
"""Before so many first forward passes new state is searched for."""
NormCopy = tuple[Tensor, list[int]]


class NormBuffers:
    """The running statistics of all normalisation layers of a model: one flat copy, one finite check.

    A NaN in a running mean or variance never decays (0.97 * NaN), so these are what one bad forward ruins.
    """

    def __init__(self, model: nn.Module) -> None:
        """Collect the buffers once; they are updated in place, so the list stays valid."""
        norms = [m for m in model.modules() if isinstance(m, _NormBase)]
        stats = [b for m in norms for b in (m.running_mean, m.running_var) if b is not None]
        names = {id(b): name for name, b in model.named_buffers()}
        self.names = [names[id(b)] for b in stats]
        self.running: list[Tensor] = stats
        self.counters: list[Tensor] = [m.num_batches_tracked for m in norms if m.num_batches_tracked is not None]
        device = stats[0].device if stats else torch.device("cpu")
        dtype = reduce(torch.promote_types, (b.dtype for b in stats), torch.float32)
        self._kept = torch.zeros(sum(b.numel() for b in stats), dtype=dtype, device=device)
        self._seen = torch.zeros_like(self._kept)

    @torch.no_grad()
    def copy(self) -> NormCopy:
        """Copies of the statistics, flat (float), and how often each batch counter was changed; valid until the next.

        Each forward pass adds 1 to a counter, which torch counts as one change; to copy all of them costs more.
        """
        if self.running:
            torch.cat(self.running, out=self._kept)
        return self._kept, [c._version for c in self.counters]

    @torch.no_grad()
    def sum(self) -> Tensor:
        """The sum of all statistics, a scalar on the model's device: finite if and only if all of them are."""
        return torch.cat(self.running, out=self._seen).sum() if self.running else self._seen.sum()

    @torch.no_grad()
    def restore(self, saved: NormCopy) -> None:
        """Write a copy back in place, bit for bit."""
        flat, versions = saved
        if self.running:
            torch._foreach_copy_(self.running, list(torch.split(flat, [b.numel() for b in self.running])))
        for i, (counter, version) in enumerate(zip(self.counters, versions, strict=True)):
            counter.sub_(counter._version - version)
            versions[i] = counter._version  # a second call changes nothing

    def tensors(self) -> list[tuple[str, Tensor]]:
        """The statistics by their names in the state_dict."""
        return list(zip(self.names, self.running, strict=True))

    def restore_from(self, weights: Mapping[str, Tensor]) -> None:
        """Write the statistics of a state_dict back in place; the batch counters stay."""
        for name, buffer in zip(self.names, self.running, strict=True):
            buffer.copy_(weights[name])

    def named(self, saved: NormCopy) -> dict[str, Tensor]:
        """A copy as a part of a state_dict."""
        parts = torch.split(saved[0].clone(), [b.numel() for b in self.running])
        return {n: p.to(b.dtype).view_as(b) for n, p, b in zip(self.names, parts, self.running, strict=True)}


@dataclass(slots=True)
class HeldTensor:
    """One tensor that a module holds, and its values before the last forward pass.

    Attributes:
        owner: the mapping of the module that holds it (`_buffers`, or `__dict__` for a plain attribute).
        key: its name there.
        tensor: the object itself.
        version: torch's counter of its changes when it was copied; -1 where torch keeps none.
        copy: its values before the last forward pass.
        start: its values when it was found first.
    """

    owner: dict[str, Any]
    key: str
    tensor: Tensor
    version: int
    copy: Tensor
    start: Tensor


class ModuleState:
    """Finds, copies and restores the other state of one model's modules."""

    def __init__(self, model: nn.Module, norms: NormBuffers) -> None:
        self.model = model
        self._known_to_norms = {id(t) for t in (*norms.running, *norms.counters)}
        self._kept: dict[str, HeldTensor] = {}
        self._floats: dict[str, tuple[dict[str, Any], str, float]] = {}
        self._collections: dict[str, tuple[Any, Any]] = {}
        self._searches = 0
        self._empty: set[tuple[int, str]] = set()
        self.find()
        born = {
            id(k.tensor) for k in self._kept.values() if k.start.is_floating_point() and not _all_values_finite(k.start)
        }
        everywhere = model.named_buffers(remove_duplicate=False)  # one buffer may stand in several modules
        self.born_non_finite = tuple(name for name, buffer in everywhere if id(buffer) in born)

    @torch.no_grad()
    def find(self) -> None:
        """Find state that the modules have made, or replaced, since the last time."""
        seen = {}
        self._floats, self._collections = {}, {}
        self._empty = {
            (id(m._buffers), key) for m in self.model.modules() for key, b in m._buffers.items() if b is None
        }
        for name, owner, key, value in self._state():
            if isinstance(value, float):
                self._floats[name] = (owner, key, value)
            elif isinstance(value, Tensor):
                seen[name] = (owner, key, value)
            else:
                self._collections[name] = (value, _entries_copied(value))
        for name, (owner, key, tensor) in seen.items():
            known = self._kept.get(name)
            if known is None or known.owner is not owner:
                copy = tensor.detach().clone()
                self._kept[name] = HeldTensor(owner, key, tensor, _version(tensor), copy, copy)
        for name in self._kept.keys() - seen.keys():
            del self._kept[name]

    def copy(self) -> None:
        """Before a forward pass: bring the copies up to date."""
        if self._searches < EARLY:
            self._searches += 1
            self.find()
        if self._kept or self._floats or self._collections:
            self._update()

    @torch.no_grad()
    def _update(self) -> None:
        stale: list[HeldTensor] = []
        for kept in self._kept.values():
            tensor = kept.owner.get(kept.key)
            if not isinstance(tensor, Tensor) or not ordinary(tensor):
                continue
            version = _version(tensor)
            if tensor is kept.tensor and version == kept.version >= 0 and tensor.numel() > SMALL_TENSOR:
                continue
            kept.tensor, kept.version = tensor, version
            if kept.copy is kept.start or kept.copy.shape != tensor.shape or kept.copy.dtype != tensor.dtype:
                kept.copy = tensor.detach().clone()
            else:
                stale.append(kept)
        if stale:
            torch._foreach_copy_([k.copy for k in stale], [k.tensor.detach() for k in stale])
        for name, (owner, key, _) in self._floats.items():
            value = owner.get(key)
            if isinstance(value, float):
                self._floats[name] = (owner, key, value)
        for name, (collection, _) in self._collections.items():
            if len(collection) <= MOST_ENTRIES_COPIED:
                self._collections[name] = (collection, _entries_copied(collection))

    @torch.no_grad()
    def restore(self, earlier: Sequence[Mapping[str, Tensor]]) -> list[str]:
        """Restore everything as it was before the last forward pass.

        What was non-finite already then, without having done harm, takes its values of an earlier state (those given,
        the newest first, then the start of the run); the names of these are returned.
        """
        self._forget_new()
        healed = []
        for name, kept in self._kept.items():
            kept.owner[kept.key] = kept.tensor
            _write_tensor(kept, kept.copy)
            if _spoilt(kept.copy, kept.start):
                states = [*(state[name] for state in earlier if name in state), kept.start]
                clean = next((s for s in states if not _spoilt(s, kept.start)), kept.start)
                _write_tensor(kept, clean)
                healed.append(name)
        for owner, key, value in self._floats.values():
            now = owner.get(key)
            if isinstance(now, float) and not math.isfinite(now) and math.isfinite(value):
                owner[key] = value
        for collection, before in self._collections.values():
            if _holds_nan(collection) and not _holds_nan(before):
                _refill(collection, before)
        return healed

    def named(self) -> dict[str, Tensor]:
        """The copies by name as they were before the last forward pass, non-finite or not; attributes included."""
        return {name: kept.copy for name, kept in self._kept.items()}

    def _state(self) -> Iterator[tuple[str, dict[str, Any], str, Any]]:
        """All state: name, the mapping that holds it, its key there, and the value."""
        for path, module in self.model.named_modules():
            for owner, key, value in _attributes(module):
                if id(value) not in self._known_to_norms:
                    yield (f"{path}.{key}" if path else key), owner, key, value
        criterion = getattr(self.model, "criterion", None)
        criterion = getattr(criterion, "__wrapped__", criterion)  # the guard stands in for it
        if not isinstance(criterion, nn.Module) and hasattr(criterion, "__dict__") and users_own(criterion):
            for owner, key, value in _plain_state(vars(criterion)):
                yield f"criterion.{key}", owner, key, value

    def _forget_new(self) -> None:
        """Remove tensors with NaN that a module made in the bad forward pass, so that it makes them again."""
        for name, owner, key, value in list(self._state()):
            if not isinstance(value, Tensor) or name in self._kept or not _holds_nan([value]):
                continue
            if (id(owner), key) in self._empty:
                owner[key] = None
            else:
                del owner[key]


def _attributes(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """The buffers of a module; of modules from outside also small tensors, floats and short collections of them."""
    for key, buffer in module._buffers.items():
        if buffer is not None and ordinary(buffer):
            yield module._buffers, key, buffer
    if users_own(module):
        yield from _plain_state(vars(module))


def _plain_state(attributes: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, Any]]:
    for key, value in attributes.items():
        if isinstance(value, Tensor):
            if not value.requires_grad and value.numel() <= SMALL_TENSOR and ordinary(value):
                yield attributes, key, value
        elif isinstance(value, float) or (_own_collection(key, value) and any(map(_is_number, _values(value)))):
            yield attributes, key, value


def _own_collection(key: str, value: Any) -> bool:
    """Whether an attribute is a short list, deque or dictionary of the user's, not one that torch's modules have."""
    return type(value) in (list, deque, dict) and len(value) <= MOST_ENTRIES_COPIED and key not in OWN


def _values(collection: Any) -> list[Any]:
    return list(collection.values() if isinstance(collection, dict) else collection)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, Tensor) and value.numel() <= SMALL_TENSOR and ordinary(value))


def _entries_copied(collection: Any) -> Any:

    def kept(value: Any) -> Any:
        return value.detach().clone() if isinstance(value, Tensor) and _is_number(value) else value

    if isinstance(collection, dict):
        return {key: kept(value) for key, value in collection.items()}
    return [kept(value) for value in collection]


def _refill(collection: Any, entries: Any) -> None:
    copies = _entries_copied(entries)
    collection.clear()
    if isinstance(collection, dict):
        collection.update(copies)
    else:
        collection.extend(copies)


def _holds_nan(collection: Any) -> bool:
    numbers = [value for value in _values(collection) if _is_number(value)]
    return any(bool(v.isnan().any()) if isinstance(v, Tensor) else math.isnan(v) for v in numbers)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _all_values_finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())


def _spoilt(tensor: Tensor, start: Tensor) -> bool:
    """Whether values are NaN that were not, or infinite that were finite, when training began."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or _all_values_finite(tensor):
        return False
    if tensor.shape != start.shape:
        return bool(tensor.isnan().any()) or _all_values_finite(start)
    return bool(((tensor.isnan() & ~start.isnan()) | (~tensor.isfinite() & start.isfinite())).any())


def _write_tensor(kept: HeldTensor, values: Tensor) -> None:
    """Write values in place, bit for bit; replace a tensor that cannot be written to (expanded, of inference mode).

    Observers change the shape of theirs when they see the first batch.
    """
    tensor = kept.tensor
    if tensor is values or _same_values(tensor, values):
        return
    try:
        if tensor.shape != values.shape:
            tensor.resize_(values.shape)
        tensor.copy_(values)
    except RuntimeError:
        kept.tensor = kept.owner[kept.key] = values.clone()


def _same_values(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
