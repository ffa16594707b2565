"""Locates an operation: the module that runs it, the line of Python that called it, and whether that is upstream's.

In the forward pass hooks on the modules give the one that is running, and the stack gives the line. In the backward
pass the sequence number that autograd gave the node in the forward pass leads back to both.

Whether code is that of the installed release of Ultralytics does not follow from its path: a fork edited in place, a
vendored copy, an editable install are in a folder `ultralytics`, too. So sources are compared: the file with the record
of the distribution; where that was edited, the function with an unedited copy beside it or with the fingerprints of the
cards. Code that cannot be compared counts as the user's.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from bisect import bisect_right
from functools import cache
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
import wrapt
from torch import nn

from yolo_nanfix import cards, upstream

LOSS = "loss"
_PACKAGE = str(Path(__file__).parents[1])
_REPLAY = str(Path(__file__).with_name("replay.py"))
_FOREIGN = tuple(str(Path(str(m.__file__)).parent) for m in (torch, wrapt))
_STDLIB = sysconfig.get_paths()["stdlib"]
_GENERATORS = frozenset(("torch", "numpy", "wrapt", "yolo_nanfix", "None"))
"""Packages whose generated code (`<eval_with_key>.1`) has no useful line."""


class Places:
    """Follows one forward pass of a model, which is a copy, by hooks on its modules."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {id(m): name for name, m in model.named_modules()}
        self._children = {(id(m), id(c)): n for m in model.modules() for n, c in m.named_children()}
        self._stack: list[tuple[int, str]] = []
        self._marks: list[tuple[int, str]] = []
        self._lines: list[tuple[int, str]] = []
        self._hooks = [
            hook
            for module in set(model.modules())
            for hook in (module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave))
        ]

    def take_back(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()

    def restart(self) -> None:
        """Forget the last forward pass before the next one."""
        self._stack, self._marks, self._lines = [], [], []

    def module(self) -> str:
        """The module that is running now: its dotted path, or `loss` outside of all layers."""
        return self._stack[-1][1] if self._stack else LOSS

    def passed(self) -> str:
        """Note that an operation of the forward pass runs, and return the line that called it."""
        line = caller()
        self._lines.append((_next_number(), line))
        return line

    def of_node(self, number: int) -> tuple[str, str]:
        """Module and line of the forward operation that made the autograd node with this sequence number."""
        at = bisect_right(self._marks, number, key=lambda mark: mark[0]) - 1
        module = self._marks[at][1] if at >= 0 else LOSS
        after = bisect_right(self._lines, number, key=lambda line: line[0])
        return module, self._lines[after][1] if after < len(self._lines) else ""

    def _enter(self, module: nn.Module, _: Any) -> None:
        path = self._path(module)
        self._stack.append((id(module), LOSS if not path or path.startswith("criterion") else path))
        self._marks.append((_next_number(), self._stack[-1][1]))

    def _leave(self, *_: Any) -> None:
        if self._stack:
            self._stack.pop()
        self._marks.append((_next_number(), self.module()))

    def _path(self, module: nn.Module) -> str:
        """The path of a module; one that several parents share, as activations, has that of the calling parent."""
        if self._stack:
            parent, path = self._stack[-1]
            name = self._children.get((parent, id(module)))
            if name is not None and path != LOSS:
                return f"{path}.{name}"
        return str(self._names[id(module)])


def _next_number() -> int:
    number: int = torch._C._autograd._get_sequence_nr()
    return number


def current_node() -> Any:
    """The autograd node that is running, or None."""
    return torch._C._current_autograd_node()


def caller() -> str:
    """File and line of the innermost frame outside of torch, Python's library and this package; else empty."""
    frame, file = _asking()
    if frame is None:
        return ""
    code = f"{file}:{frame.f_lineno}"
    _sources[code] = (frame.f_code.co_filename, frame.f_globals.get("__loader__"))
    return code


def _asking() -> tuple[FrameType | None, str]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != _REPLAY:
        file = _shown(frame.f_code.co_filename, str(frame.f_globals.get("__name__")))
        if file is not None:
            return frame, file
        frame = frame.f_back
    return None, ""


def names_of_not_finite() -> tuple[str, ...]:
    """The names of non-finite numbers in the function of `caller`'s line: `self.mean`, `SCALE`.

    They are local and global variables, and attributes of local variables that it uses.
    """
    frame, _ = _asking()
    if frame is None:
        return ()
    used, mine = set(frame.f_code.co_names), frame.f_locals
    found = [name for name, value in mine.items() if _bad_number(value)]
    found += [name for name in used if name not in mine and _bad_number(frame.f_globals.get(name))]
    for name, value in mine.items():
        held = getattr(value, "__dict__", None)
        if isinstance(held, dict) and not isinstance(value, type):
            found += [f"{name}.{key}" for key in used if _bad_number(held.get(key))]
    return tuple(sorted(found))


def _bad_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.dim() and value.is_floating_point() and not bool(value.detach().isfinite())
    return isinstance(value, float) and not isfinite(value)


_sources: dict[str, tuple[str, Any]] = {}
"""File and loader of each line by its name in a verdict; of two copies with the same name the last one."""


def of_release(code: str) -> bool:
    """Whether a line of `caller` is in a function of the installed release of Ultralytics."""
    line = code.rpartition(":")[2]
    if code not in _sources:
        return False
    file, loader = _sources[code]
    return text_of_release(file, int(line), loader)


@cache
def _shown(file: str, module: str) -> str | None:
    """A file as a verdict names it, relative to its package or to the current folder; None for files to skip."""
    if file.startswith("<"):  # a notebook's cell, a prompt, `python -c`, exec
        root = module.partition(".")[0]
        return file if root not in _GENERATORS and root not in sys.stdlib_module_names - {"__main__"} else None
    if file.startswith((_PACKAGE, *_FOREIGN)):
        return None
    if file.startswith(_STDLIB) and "-packages" not in file:
        return None
    return upstream.shown_path(file)


@cache
def text_of_release(file: str, line: int, loader: Any = None) -> bool:
    """Whether the function with a line (1-based) has the source of the installed release.

    `loader` is that of the module, for a file in an archive.
    """
    path = upstream.package_path(file)
    text = upstream.read_source(file, loader) if path else None
    if text is None:
        return False
    if upstream.is_record(path, text):
        return True
    found = next((f for f in _functions(text) if f.first <= line <= f.last), None)
    if found is None:
        return False
    mine = upstream.text_fingerprint(found.source)
    return mine in _pristine(path, found.name) or mine in _card_fingerprints(path, found.name)


def _pristine(path: str, name: str) -> set[str]:
    """The fingerprint of a function in the file that the distribution installed, if that is unedited."""
    if path not in upstream.recorded():
        return set()
    text = upstream.read_source(str(upstream.recorded()[path][1]))
    if text is None or not upstream.is_record(path, text):
        return set()
    return {upstream.text_fingerprint(f.source) for f in _functions(text) if f.name == name}


def _card_fingerprints(path: str, name: str) -> set[str]:
    target = f"{path.removesuffix('.py').replace('/', '.')}:{name}"
    return {known for card in cards.load_all().values() if target in card.targets for known in card.fingerprints}


class _Function(NamedTuple):
    """Qualified name, first and last line (1-based, decorators included) and source of a function."""

    name: str
    first: int
    last: int
    source: str


def _functions(text: bytes) -> list[_Function]:
    """The functions and methods of a module, with nested ones as part of them; none if it does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    lines = text.decode("utf-8", "replace").splitlines(keepends=True)
    found: list[_Function] = []

    def visit(parent: ast.AST, prefix: str) -> None:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                last = node.end_lineno or first
                found.append(_Function(prefix + node.name, first, last, "".join(lines[first - 1 : last])))
            elif isinstance(node, ast.ClassDef):
                visit(node, f"{prefix}{node.name}.")
            elif not isinstance(node, ast.expr):
                visit(node, prefix)

    visit(tree, "")
    return found
