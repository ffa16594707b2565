"""Finds functions of the user that replace one that a patch covers, so that the patch does not act.

The user may have set it before or after the patch: under the name in a module of Ultralytics, on a class, in a
subclass, on one object, or in a module that subclasses a class of Ultralytics.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from yolo_nanfix import upstream
from yolo_nanfix.patching.stack import Patched

MOST_WRAPPINGS = 64
"""How many wrappers of a function are followed."""
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Own:
    """A function of the user in place of a patched one.

    Attributes:
        where: the module or class that holds it, or the class of the object that does.
        name: its name there.
        file: where it is defined; empty if unknown.
        line: its line in `file`.
    """

    where: str
    name: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """As in `ultralytics.utils.loss uses your own bbox_iou (mine.py:7)`."""
        place = f" ({Path(self.file).name}:{self.line})" if self.file else ""
        return f"{self.where} uses your own {self.name}{place}"


def own(targets: Sequence[upstream.Target], *, objects: bool = False) -> dict[str, list[Own]]:
    """The user's functions in place of patched targets, by the path of the target.

    Args:
        targets: the targets as upstream made them.
        objects: also search all objects in memory for instances of subclasses that override a target, and for methods
            set on single instances (some 50 ms).
    """
    classes = {t.path: [t.owner, *_subclasses(t.owner)] for t in targets if isinstance(t.owner, type)}
    held = _objects({cls for known in classes.values() for cls in known}) if objects else {}
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    theirs = [module for module in modules if _is_upstream(module.__name__)]
    found = {}
    for target in targets:
        known = classes.get(target.path)
        mine = _in_modules(target, modules) if known is None else _on_classes(target, known, held, theirs)
        found[target.path] = list(dict.fromkeys(mine))
    return found


def _objects(classes: set[type]) -> dict[type, list[dict[str, Any]]]:
    """The `__dict__` of each instance of the classes that is in memory, by class."""
    found: dict[type, list[dict[str, Any]]] = {}
    for one in gc.get_objects():
        if type(one) in classes and isinstance(held := getattr(one, "__dict__", None), dict):
            found.setdefault(type(one), []).append(held)
    return found


def _in_modules(target: upstream.Target, modules: Sequence[ModuleType]) -> Iterator[Own]:
    name = target.attribute
    for module in modules:
        value = vars(module).get(name)
        if not callable(value) or covers(value, target.path):
            continue
        if _is_upstream(module.__name__):
            if module is target.owner or not _made_upstream(value):
                yield _described(module.__name__, name, value)
        elif not _made_upstream(value) and _builds_on_upstream(module):
            yield _described(module.__name__, name, value)


def _on_classes(
    target: upstream.Target,
    classes: list[type],
    held: dict[type, list[dict[str, Any]]],
    modules: Sequence[ModuleType],
) -> Iterator[Own]:
    """On the class itself, in place of the class, and in subclasses that have instances."""
    name, owner = target.attribute, target.owner
    for module in modules:
        other = vars(module).get(owner.__name__)
        if isinstance(other, type) and not issubclass(other, classes[0]) and not _is_upstream(other.__module__):
            yield _described(module.__name__, owner.__name__, vars(other).get(name) or vars(other).get("__init__"))
    for cls in classes:
        value = vars(cls).get(name)
        on_class = cls is owner or (cls in held and not _calls_super(value))
        if on_class and _mine(value, target.path):
            yield _described(f"{cls.__module__}.{cls.__qualname__}", name, value)
        for attributes in held.get(cls, ()):
            if _mine(value := attributes.get(name), target.path):
                yield _described(f"an object of {cls.__module__}.{cls.__qualname__}", name, value)


def _mine(value: Any, path: str) -> bool:
    """Whether `value` is set and neither is or wraps the patched function, nor is Ultralytics' or this package's.

    The guard sets methods on the trainers that it guards.
    """
    if value is None or covers(value, path) or _made_upstream(value):
        return False
    code = _python_code(value)
    return code is None or PACKAGE not in Path(code.co_filename).parents


def covers(value: Any, path: str) -> bool:
    """Whether a callable is the patched function, or wraps it."""
    for _ in range(MOST_WRAPPINGS):
        parent = getattr(value, "_self_parent", None)  # of a wrapt function bound to an instance
        if any(isinstance(one, Patched) and one._self_path == path for one in (value, parent)):
            return True
        names = ("__wrapped__", "__func__", "func")  # functools.wraps and wrapt, a bound method, functools.partial
        inner = next((i for name in names if (i := getattr(value, name, None)) is not None), None)
        if inner is None or inner is value:
            return False
        value = inner
    return False


def _python_code(value: Any) -> Any:
    """The code object of a function, method or partial; None if it has none."""
    value = getattr(value, "__func__", value)
    return getattr(value, "__code__", None) or getattr(getattr(value, "func", None), "__code__", None)


def _made_upstream(value: Any) -> bool:
    """Whether a callable is defined in a file of Ultralytics."""
    code = _python_code(value)
    if code is None:
        module = getattr(value, "__module__", None) or type(value).__module__
        return _is_upstream(module) and _is_upstream(type(value).__module__ if not isinstance(value, type) else module)
    root = getattr(sys.modules.get("ultralytics"), "__file__", None)
    return root is not None and Path(root).parent in Path(code.co_filename).parents


def _is_upstream(module: str) -> bool:
    return module.partition(".")[0] == "ultralytics"


def _builds_on_upstream(module: ModuleType) -> bool:
    """Whether a module defines a subclass of a class of Ultralytics."""
    own = [v for v in list(vars(module).values()) if isinstance(v, type) and v.__module__ == module.__name__]
    return any(_is_upstream(base.__module__) for cls in own for base in cls.__mro__)


def _subclasses(cls: type) -> list[type]:
    found: dict[type, None] = {}
    todo: list[type] = list(cls.__subclasses__())
    while todo:
        if (one := todo.pop()) not in found:
            found[one] = None
            todo += one.__subclasses__()
    return list(found)


def _calls_super(value: Any) -> bool:
    """Whether a method calls the same method of a base class, through `super()` or by name."""
    code = _python_code(value)
    return code is not None and ("__class__" in code.co_freevars or code.co_name in code.co_names)


def _described(where: str, name: str, value: Any) -> Own:
    code = _python_code(value)
    return Own(where, name, code.co_filename, code.co_firstlineno) if code is not None else Own(where, name)
