"""The wrappers around each target: upstream's own object, inside the wrappers of the cards that are on.

Several cards may wrap one function. Each can be removed alone: the others are then stacked again on the very same
upstream object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import wrapt

from yolo_nanfix import upstream
from yolo_nanfix.patching.fix import Wrapper

_pickled: list[Callable[[str], tuple[Any, ...]]] = []


def pickled_by(reduce: Callable[[str], tuple[Any, ...]]) -> None:
    """Set how a patched function is pickled: `reduce(path)` gives what `__reduce_ex__` returns."""
    _pickled[:] = [reduce]


class Patched(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # wrapt has no complete types
    """An upstream function in a wrapper. Its pickle holds the patches of this process, applied where it is loaded."""

    def __init__(self, path: str, wrapped: Any, wrapper: Wrapper) -> None:
        """Wrap the function `wrapped` at the target `path` (`package.module:Qual.name`)."""
        super().__init__(wrapped, wrapper)
        self._self_path = path

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle by path, with the patches of this process."""
        return _pickled[0](self._self_path)

    def __copy__(self) -> Patched:
        """A function is its own copy."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Patched:
        """A function is its own copy."""
        return self


@dataclass
class _Stack:
    target: upstream.Target
    current: Any
    wrappers: dict[str, Wrapper] = field(default_factory=dict)


_stacks: dict[str, _Stack] = {}


def original(path: str) -> upstream.Target:
    """The target as upstream made it, whatever wraps it now.

    Raises:
        LookupError: the installed release does not have it.
    """
    return _stacks[path].target if path in _stacks else upstream.resolve(path)


def paths(name: str | None = None) -> list[str]:
    """The targets that a card wraps; without a name, all that are wrapped."""
    return [path for path, stack in _stacks.items() if name is None or name in stack.wrappers]


def wrap_target(path: str, name: str, wrapper: Wrapper) -> None:
    """Add the wrapper of a card to a target, as the outermost one."""
    target = original(path)
    stack = _stacks.setdefault(path, _Stack(target, target.raw))
    stack.wrappers[name] = wrapper
    _rebuild(stack)


def unwrap_target(path: str, name: str) -> None:
    """Remove the wrapper of a card; without wrappers, upstream's very own object is restored."""
    stack = _stacks[path]
    del stack.wrappers[name]
    _rebuild(stack)
    if not stack.wrappers:
        del _stacks[path]


def _rebuild(stack: _Stack) -> None:
    """Set the current stack of wrappers at the target and in every module that holds it.

    A place that somebody else has set since is left alone.
    """
    target, before, now = stack.target, stack.current, stack.target.raw
    for wrapper in stack.wrappers.values():
        now = Patched(target.path, now, wrapper)
    if vars(target.owner).get(target.attribute) is before:
        setattr(target.owner, target.attribute, now)
    for module, name in upstream.holders(before, target.attribute):
        setattr(module, name, now)
    stack.current = now
