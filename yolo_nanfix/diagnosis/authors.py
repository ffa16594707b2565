"""Whose text a line of code is: that of the installed release of Ultralytics, or anybody else's.

The path says nothing: a fork edited in place, a vendored copy, an editable install lie in a folder `ultralytics` too.
So texts are compared: of the file, with what the distribution recorded of it when it was installed; where it was
edited, of the function alone, with an unedited copy beside it or with the fingerprints of the cards. What nothing can
be compared with counts as the user's.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

from yolo_nanfix import cards, upstream

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def of_release(file: str, line: int, loader: Any = None) -> bool:
    """Whether the function that holds a line has the text of the installed release.

    Args:
        file: the file as Python names it, not shortened.
        line: 1-based.
        loader: of the module, for a file in an archive.
    """
    path = upstream.package_path(file)
    text = upstream.read_source(file, loader) if path else None
    if text is None:
        return False
    if upstream.is_record(path, text):
        return True
    found = _function_at(text, line)
    if found is None:
        return False
    name, source = found
    mine = upstream.text_fingerprint(source)
    return mine in _pristine(path, name) or mine in _known(path, name)


def _pristine(path: str, name: str) -> set[str]:
    """The fingerprint of a function in the copy that the distribution installed, if that is unedited."""
    if path not in upstream.recorded():
        return set()
    text = upstream.read_source(str(upstream.recorded()[path][1]))
    if text is None or not upstream.is_record(path, text):
        return set()
    return {upstream.text_fingerprint(source) for at, source in _functions(text) if at == name}


def _known(path: str, name: str) -> set[str]:
    """The fingerprints that cards know of a function, of whatever release."""
    target = f"{path.removesuffix('.py').replace('/', '.')}:{name}"
    return {known for card in cards.load_all().values() if target in card.targets for known in card.fingerprints}


def _function_at(text: bytes, line: int) -> tuple[str, str] | None:
    """Qualified name and source of the outermost function around a line."""
    tree = _parsed(text)
    for name, node in _walk(tree) if tree else ():
        if _first(node) <= line <= (node.end_lineno or 0):
            return name, _source(text, node)
    return None


def _functions(text: bytes) -> list[tuple[str, str]]:
    tree = _parsed(text)
    return [(name, _source(text, node)) for name, node in _walk(tree)] if tree else []


def _parsed(text: bytes) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _walk(tree: ast.AST, prefix: str = "") -> list[tuple[str, Function]]:
    """Functions and methods; those inside of functions are part of them."""
    found: list[tuple[str, Function]] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append((prefix + node.name, node))
        elif isinstance(node, ast.ClassDef):
            found += _walk(node, f"{prefix}{node.name}.")
        elif not isinstance(node, ast.expr):
            found += _walk(node, prefix)
    return found


def _first(node: Function) -> int:
    return min([node.lineno, *(d.lineno for d in node.decorator_list)])


def _source(text: bytes, node: Function) -> str:
    lines = text.decode("utf-8", "replace").splitlines(keepends=True)
    return "".join(lines[_first(node) - 1 : node.end_lineno])
