"""The wrappers around each target: upstream's own object, inside the wrappers of the cards that are on.

Several cards may wrap one function. Each can be removed alone: the others are then stacked again on the very same
upstream object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_changed: set[str] = set()
"""The targets whose wrappers differ from those that are set."""
_blocks = 0
"""How many `at_once` blocks are open."""


def original(path: str) -> upstream.Target:
    """The target as upstream made it, whatever wraps it now.

    Raises:
        LookupError: the installed release does not have it.
    """
    return _stacks[path].target if path in _stacks else upstream.resolve(path)


def paths(name: str | None = None) -> list[str]:
    """The targets that a card wraps; without a name, all that are wrapped."""
    return [path for path, stack in _stacks.items() if name is None or name in stack.wrappers]


@contextmanager
def at_once() -> Iterator[None]:
    """In a `with` block, wrappers are only noted; at its end all are set, in one look at the loaded modules."""
    global _blocks
    _blocks += 1
    try:
        yield
    finally:
        _blocks -= 1
        if not _blocks:
            changed = [_stacks[path] for path in _changed]
            _changed.clear()
            _rebuild(changed)


def wrap_target(path: str, name: str, wrapper: Wrapper) -> None:
    """Add the wrapper of a card to a target, as the outermost one."""
    target = original(path)
    with at_once():
        _stacks.setdefault(path, _Stack(target, target.raw)).wrappers[name] = wrapper
        _changed.add(path)


def unwrap_target(path: str, name: str) -> None:
    """Remove the wrapper of a card; without wrappers, upstream's very own object is restored."""
    with at_once():
        del _stacks[path].wrappers[name]
        _changed.add(path)


def _rebuild(stacks: list[_Stack]) -> None:
    """Set the current wrappers at the targets and in every module that holds one.

    A place that somebody else has set since is left alone.
    """
    now: dict[int, Any] = {}
    for stack in stacks:
        target, wrapped = stack.target, stack.target.raw
        for wrapper in stack.wrappers.values():
            wrapped = Patched(target.path, wrapped, wrapper)
        now[id(stack.current)] = wrapped
        if vars(target.owner).get(target.attribute) is stack.current:
            setattr(target.owner, target.attribute, wrapped)
    for module, name, held in upstream.holders([(stack.current, stack.target.attribute) for stack in stacks]):
        setattr(module, name, now[id(held)])
    for stack in stacks:
        stack.current = now[id(stack.current)]
        if not stack.wrappers:
            del _stacks[stack.target.path]
