"""What a forward pass changes in a model beside its parameters and the statistics of its normalisation layers.

Observers of quantisation, running means of a user's own modules, prototypes, masks that are built as needed: buffers,
tensors that are plain attributes, and floats. A dropped micro-batch must leave no trace in them. They are never judged
by themselves: an Inf may be there by design (attention masks, observers that have seen nothing yet), and a NaN that
harms nothing is its owner's business. What held values that are not finite when training began is remembered.

Cost: models of Ultralytics hold nothing of the kind. Small tensors are copied before each forward pass; larger ones
only when the counter that torch keeps of their changes has moved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix.guard.sensors import NormBuffers

SMALL = 65_536
"""Tensors of at most so many values are copied before each forward pass: a change under `.data` moves no counter."""
EARLY = 3
"""Before so many first forward passes modules are asked whether they have made new buffers."""
OURS = ("torch", "ultralytics", "yolo_nanfix")
"""Modules whose plain attributes are not looked at: they keep their state in buffers."""


@dataclass(slots=True)
class Kept:
    """One tensor that a module holds: where, the very object, and its values before the last forward pass.

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
    """The other state of one model's modules: found, copied, put back."""

    def __init__(self, model: nn.Module, norms: NormBuffers) -> None:
        """Find what there is, and remember its values."""
        self.model = model
        self._known_to_norms = {id(t) for t in (*norms.running, *norms.counters)}
        self._kept: dict[str, Kept] = {}
        self._floats: dict[str, tuple[dict[str, Any], str, float]] = {}
        self._searches = 0
        self.find()
        born = {id(k.tensor) for k in self._kept.values() if k.start.is_floating_point() and not _finite(k.start)}
        everywhere = model.named_buffers(remove_duplicate=False)  # one buffer may stand in several modules
        self.born_non_finite = tuple(name for name, buffer in everywhere if id(buffer) in born)

    @torch.no_grad()
    def find(self) -> None:
        """Look for tensors that the modules have made, or replaced, since the last time."""
        seen: dict[str, tuple[dict[str, Any], str, Tensor]] = {}
        self._floats = {}
        for path, module in self.model.named_modules():
            held = _attributes(module)
            for owner, key, value in held:
                name = f"{path}.{key}" if path else key
                if isinstance(value, float):
                    self._floats[name] = (owner, key, value)
                elif id(value) not in self._known_to_norms:
                    seen[name] = (owner, key, value)
        for name, (owner, key, tensor) in seen.items():
            known = self._kept.get(name)
            if known is None or known.owner is not owner:
                copy = tensor.detach().clone()
                self._kept[name] = Kept(owner, key, tensor, _version(tensor), copy, copy)
        for name in self._kept.keys() - seen.keys():
            del self._kept[name]

    def copy(self) -> None:
        """Before a forward pass: bring the copies up to date."""
        if self._searches < EARLY:
            self._searches += 1
            self.find()
        if self._kept or self._floats:
            self._update()

    @torch.no_grad()
    def _update(self) -> None:
        stale: list[Kept] = []
        for kept in self._kept.values():
            tensor = kept.owner.get(kept.key)
            if not isinstance(tensor, Tensor):
                continue
            version = _version(tensor)
            if tensor is kept.tensor and version == kept.version >= 0 and tensor.numel() > SMALL:
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

    @torch.no_grad()
    def restore(self, earlier: Sequence[Mapping[str, Tensor]]) -> list[str]:
        """Put everything back as it was before the last forward pass.

        What was spoilt already then, without having done harm, takes its values of an earlier state.

        Args:
            earlier: tensors of earlier states by name, the newest first; the start of the run comes after them.

        Returns:
            The names of what was taken from an earlier state.
        """
        healed = []
        for name, kept in self._kept.items():
            kept.owner[kept.key] = kept.tensor
            _write(kept.tensor, kept.copy)
            if _spoilt(kept.copy, kept.start):
                states = [*(state[name] for state in earlier if name in state), kept.start]
                clean = next((s for s in states if not _spoilt(s, kept.start)), kept.start)
                _write(kept.tensor, clean)
                healed.append(name)
        for owner, key, value in self._floats.values():
            now = owner.get(key)
            if isinstance(now, float) and not math.isfinite(now) and math.isfinite(value):
                owner[key] = value
        return healed

    def named(self) -> dict[str, Tensor]:
        """The copies by name as they were before the last forward pass, poisoned or not; attributes included."""
        return {name: kept.copy for name, kept in self._kept.items()}


def _attributes(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """The buffers of a module; of modules from outside also floats and small tensors that are plain attributes."""
    for key, buffer in module._buffers.items():
        if buffer is not None:
            yield module._buffers, key, buffer
    if type(module).__module__.partition(".")[0] in OURS:
        return
    attributes = vars(module)
    for key, value in attributes.items():
        small = isinstance(value, Tensor) and not value.requires_grad and value.numel() <= SMALL
        if small or isinstance(value, float):
            yield attributes, key, value


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())


def _spoilt(tensor: Tensor, start: Tensor) -> bool:
    """Whether values are NaN that were not, or infinite that were finite, when training began."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or _finite(tensor):
        return False
    if tensor.shape != start.shape:
        return bool(tensor.isnan().any()) or _finite(start)
    return bool(((tensor.isnan() & ~start.isnan()) | (~tensor.isfinite() & start.isfinite())).any())


def _write(tensor: Tensor, values: Tensor) -> None:
    """Values in place, bit for bit; observers change the shape of theirs when they see the first batch."""
    if tensor is values:
        return
    if tensor.shape != values.shape:
        tensor.resize_(values.shape)
    tensor.copy_(values)
