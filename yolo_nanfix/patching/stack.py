"""What stands at each target: upstream's own object, under the wrappers of the cards that are on.

Several cards may wrap one function. Each wraps what the cards before it left, and each can be taken away on its own:
the rest is then stacked anew on the very same upstream object.
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
    """Hand in how a patched function is pickled: `reduce(path)` gives what `__reduce_ex__` returns."""
    _pickled[:] = [reduce]


class Patched(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # wrapt has no complete types
    """An upstream function under wrappers. Its pickle carries the patch set, which is put where it is loaded."""

    def __init__(self, path: str, wrapped: Any, wrapper: Wrapper) -> None:
        """Put one more wrapper around a function.

        Args:
            path: the target, `package.module:Qual.name`.
            wrapped: what stood there before.
            wrapper: what to put around it.
        """
        super().__init__(wrapped, wrapper)
        self._self_path = path

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle by name, together with what is patched here."""
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
    """The target as upstream made it, whatever stands on it now.

    Raises:
        LookupError: the installed release does not have it.
    """
    return _stacks[path].target if path in _stacks else upstream.resolve(path)


def paths(name: str | None = None) -> list[str]:
    """The targets that a card wraps; without a name, all that are wrapped."""
    return [path for path, stack in _stacks.items() if name is None or name in stack.wrappers]


def wrap_target(path: str, name: str, wrapper: Wrapper) -> None:
    """Put the wrapper of a card around a target, outside of those that are there."""
    target = original(path)
    stack = _stacks.setdefault(path, _Stack(target, target.raw))
    stack.wrappers[name] = wrapper
    _rebuild(stack)


def unwrap_target(path: str, name: str) -> None:
    """Take the wrapper of a card away; the last one to go leaves upstream's very own object."""
    stack = _stacks[path]
    del stack.wrappers[name]
    _rebuild(stack)
    if not stack.wrappers:
        del _stacks[path]


def _rebuild(stack: _Stack) -> None:
    """Swap what stands at the target, and at every module that holds it, for the present stack of wrappers.

    Where somebody else has replaced the target since, theirs stays.
    """
    target, before, now = stack.target, stack.current, stack.target.raw
    for wrapper in stack.wrappers.values():
        now = Patched(target.path, now, wrapper)
    if vars(target.owner).get(target.attribute) is before:
        setattr(target.owner, target.attribute, now)
    for module, name in upstream.holders(before, target.attribute):
        setattr(module, name, now)
    stack.current = now
