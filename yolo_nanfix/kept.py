"""Numbers and tensors that a model and its loss keep in plain attributes, outside of weights and buffers.

A running mean that is a Python float, a prototype that is a plain tensor, the class weights of a loss: no checkpoint
holds them, nothing restores them, and a NaN in one makes every later step fail.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

OWN = frozenset(vars(nn.Module()))
"""Attributes that every module has for torch."""
DEEP = 4
"""Depth of objects below a module that are searched."""
MOST_OBJECTS = 5000
"""Most objects, and so many entries of a list or mapping."""
MOST_ELEMENTS = 1 << 16
"""Most elements of a tensor that is copied."""
ELSEWHERE = ("ultralytics.engine", "ultralytics.data", "torch.utils", "torch.optim", "torch.cuda", "torch.distributed")
"""Objects of these packages are no part of a model: a trainer that a model refers to is not searched."""
STOCK = frozenset(("torch", "torchvision", "ultralytics", "yolo_nanfix"))


def owners(model: nn.Module) -> dict[str, Any]:
    """The modules of a model, and objects in their attributes (the loss and its parts), by their dotted names."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    waiting: deque[tuple[str, Any, int]] = deque((name, module, 0) for name, module in model.named_modules())
    while waiting and len(found) < MOST_OBJECTS:
        name, owner, depth = waiting.popleft()
        if type(owner).__module__.startswith("yolo_nanfix"):
            owner = getattr(owner, "__wrapped__", owner)  # the guard's stand-in for a criterion
        if id(owner) in seen:
            continue
        seen.add(id(owner))
        found[name] = owner
        if depth == DEEP:
            continue
        children = list(owner._modules.items()) if isinstance(owner, nn.Module) else []
        for key, value in (*children, *attributes(owner)):
            waiting += [(_dotted(name, part), inner, depth + 1) for part, inner in _parts(key, value) if _object(inner)]
    return found


def attributes(owner: Any) -> list[tuple[str, Any]]:
    """The attributes of an object, without those that every module has."""
    own = OWN if isinstance(owner, nn.Module) else ()
    return [(key, value) for key, value in vars(owner).items() if key not in own]


def values(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Numbers and tensors of a model and its loss, by name, without the model's weights and buffers."""
    known = {id(t) for t in (*model.parameters(), *model.buffers())}
    for name, owner in owners(model).items():
        inner = (*owner._parameters.items(), *owner._buffers.items()) if isinstance(owner, nn.Module) else ()
        for key, value in (*inner, *attributes(owner)):
            for part, held in _parts(key, value):
                number = isinstance(held, (float, complex, Tensor)) or type(held).__module__ == "numpy"
                if number and id(held) not in known:
                    yield _dotted(name, part), held


def not_finite(model: nn.Module) -> dict[str, str]:
    """Those values that are not finite: by name `nan`, `inf`, or how many of a tensor's values."""
    return {name: said for name, value in values(model) if (said := _defect(value))}


def _defect(value: Any) -> str:
    if isinstance(value, Tensor):
        floating = value.numel() and (value.is_floating_point() or value.is_complex())
        count = int((~value.detach().isfinite()).sum()) if floating and not value.is_meta else 0
        return "" if not count else f"{count} of {value.numel()} values" if value.dim() else f"{float(value)}"
    try:
        array = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return ""
    return _defect(array)


def _dotted(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _parts(key: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """A value, or what a list, tuple, deque or mapping holds, by names such as `scale.0`."""
    if depth < 2 and isinstance(value, (list, tuple, deque)) and len(value) < MOST_OBJECTS:
        for i, entry in enumerate(value):
            yield from _parts(f"{key}.{i}", entry, depth + 1)
    elif depth < 2 and isinstance(value, Mapping) and len(value) < MOST_OBJECTS:
        for name, entry in value.items():
            yield from _parts(f"{key}.{name}", entry, depth + 1)
    else:
        yield key, value


def _object(value: Any) -> bool:
    """Whether an object may have numbers in attributes: a module, or an instance of most other classes."""
    if isinstance(value, (type, FunctionType, ModuleType, Tensor, SimpleNamespace)) or not hasattr(value, "__dict__"):
        return False
    module = type(value).__module__
    return isinstance(value, nn.Module) or not module.startswith((*ELSEWHERE, "builtins", "pathlib", "numpy"))


def users_own(owner: Any) -> bool:
    """Whether an object's class comes from elsewhere than torch or ultralytics."""
    return type(owner).__module__.partition(".")[0] not in STOCK


def hooks(model: nn.Module) -> list[tuple[str, str, Any]]:
    """The hooks on a model and its weights that are not of torch, ultralytics or yolo_nanfix.

    Returns:
        For each: what it is on (a module's or weight's dotted name, empty for all modules), its kind (`tensor`,
        `post-accumulate`, `forward`, `forward-pre`, `backward`, `backward-pre`), and the function.
    """
    found: list[tuple[str, str, Any]] = []
    for name, parameter in model.named_parameters():
        for kind, registered in (
            ("tensor", parameter._backward_hooks),
            ("post-accumulate", getattr(parameter, "_post_accumulate_grad_hooks", None)),
        ):
            found += [(name, kind, hook) for hook in (registered or {}).values()]
    modules = [(name, module, "_{}_hooks") for name, module in model.named_modules()]
    for name, holder, form in (("", torch.nn.modules.module, "_global_{}_hooks"), *modules):
        for kind in ("forward", "forward_pre", "backward", "backward_pre"):
            registered = getattr(holder, form.format(kind), None) or {}
            found += [(name, kind.replace("_", "-"), hook) for hook in registered.values()]
    return [entry for entry in found if module_of(entry[2]).partition(".")[0] not in STOCK]


def plain_function(function: Any) -> Any:
    """The function of a partial, a bound method, a decorated function or a callable object."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    return function if hasattr(function, "__code__") else vars(type(function)).get("__call__", function)


def module_of(function: Any) -> str:
    """The module in which a function was written."""
    return str(getattr(plain_function(function), "__module__", None) or "")


class Keeper:
    """Copies the attributes before each step, and knows since which incident one is not finite."""

    def __init__(self) -> None:
        self.before: dict[str, dict[str, Any]] = {}
        self._foreign: dict[str, Any] = {}
        self._numbers: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {}
        self._first: dict[str, int] = {}
        self._criterion: Any = self

    def tick(self, model: nn.Module) -> None:
        """A step begins: copy the numbers of the loss, and the numbers and small tensors of the user's own modules."""
        criterion = getattr(model, "criterion", None)
        criterion = getattr(criterion, "__wrapped__", criterion)  # the guard stands in for it after the first step
        if criterion is not self._criterion:
            self._criterion = criterion
            everything = owners(model)
            self._foreign = {name: owner for name, owner in everything.items() if users_own(owner)}
            loss = {n: o for n, o in everything.items() if n.partition(".")[0] == "criterion" and not users_own(o)}
            keys_of = {name: tuple(copied(owner)) for name, owner in loss.items()}
            self._numbers = {name: (vars(loss[name]), keys) for name, keys in keys_of.items() if keys}
            self._first |= {name: 0 for name in not_finite(model) if name not in self._first}
        numbers = {
            name: {key: held[key] for key in keys if key in held} for name, (held, keys) in self._numbers.items()
        }
        self.before = numbers | {name: copied(owner) for name, owner in self._foreign.items()}

    def since(self, model: nn.Module, number: int) -> dict[str, dict[str, Any]]:
        """Non-finite values by name: the value, and the number of the first incident with it; 0: the start."""
        now = not_finite(model)
        self._first = {name: self._first.get(name, number) for name in now}
        return {name: {"value": said, "since": self._first[name]} for name, said in now.items()}


def copied(owner: Any) -> dict[str, Any]:
    """The numbers of an object, and its small tensors where it is of the user's own, as they are now."""
    small = users_own(owner)
    return {
        key: value.detach().clone() if isinstance(value, Tensor) else value
        for key, value in vars(owner).items()
        if (type(value) in (int, float, bool) and key not in OWN)
        or (
            small
            and isinstance(value, Tensor)
            and not isinstance(value, nn.Parameter)
            and value.numel() <= MOST_ELEMENTS
        )
    }


@torch.no_grad()
def put_back(found: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]]) -> None:
    """Set attributes of owners (see `owners`) to the values of `Keeper.before` or an incident.

    Only attributes with the same type, and as tensors with the same shape, are changed.
    """
    for name, kept in before.items():
        for key, value in kept.items():
            held = vars(found[name]).get(key) if name in found else None
            if held is None or type(held) is not type(value) or key in OWN:
                continue
            if not isinstance(value, Tensor):
                vars(found[name])[key] = value
            elif held.shape == value.shape and held.dtype == value.dtype:
                vars(found[name])[key] = value.to(held.device).clone()


def classes(found: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """The classes of owners that come from elsewhere than torch and ultralytics, by owner."""
    return {name: f"{type(o).__module__}:{type(o).__qualname__}" for name, o in found if users_own(o)}
