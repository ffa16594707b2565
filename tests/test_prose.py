"""No code of the package reads a sentence back: what a sentence says, the value that it is made from holds as facts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "yolo_nanfix"
PROSE = {
    "action",
    "advice",
    "detail",
    "evidence",
    "fix",
    "message",
    "reason",
    "reasons",
    "says",
    "stock",
    "summary",
}
"""Attributes and keys that hold sentences, or lists of them."""
METHODS = {
    *("startswith", "endswith", "partition", "rpartition", "split", "rsplit", "find", "rfind", "index", "count"),
    *("removeprefix", "removesuffix", "replace"),
}
PATTERNS = {"search", "match", "fullmatch", "findall", "finditer", "sub", "subn"}


class Reader(ast.NodeVisitor):
    """Collects the lines in which one function or module looks into a sentence."""

    def __init__(self, names: frozenset[str] = frozenset()) -> None:
        self.names = set(names)
        self.found: list[int] = []

    def is_prose(self, node: ast.AST | None) -> bool:
        """Whether it is a sentence: `x.message`, `x["message"]`, `lenient.text(x, "message")`, a name of one."""
        match node:
            case ast.Name(id=name):
                return name in self.names
            case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
                return name in PROSE
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
                return name in PROSE
            case ast.Call(func=ast.Name(id="str"), args=[inner]):
                return self.is_prose(inner)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="lenient")), args=[_, *_, ast.Constant(value=str(name))]
            ):
                return name in PROSE
        return False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        inner = Reader(frozenset(self.names - {arg.arg for arg in node.args.args}))
        inner.generic_visit(node)
        self.found += inner.found

    def visit_Assign(self, node: ast.Assign) -> None:
        self.taken(node.value, node.targets)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.taken(node.value, [node.target])
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self.taken(node.iter, [node.target])
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.taken(node.iter, [node.target])
        self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            for generator in node.generators:  # stands behind the expression that uses its names
                self.taken(generator.iter, [generator.target])
        super().visit(node)

    def taken(self, value: ast.AST, targets: list[ast.expr]) -> None:
        """Names that hold a sentence from here on, or something else."""
        pairs = [(target, value) for target in targets]
        for target, given in list(pairs):
            if isinstance(target, ast.Tuple) and isinstance(given, ast.Tuple):
                pairs += zip(target.elts, given.elts, strict=False)
        for target, given in pairs:
            if isinstance(target, ast.Name):
                (self.names.add if self.is_prose(given) else self.names.discard)(target.id)

    def visit_Compare(self, node: ast.Compare) -> None:
        if any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops):
            self.note(node, [node.left, *node.comparators])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in METHODS:
                self.note(node, [node.func.value])
            if node.func.attr in PATTERNS:
                self.note(node, node.args)
        self.generic_visit(node)

    def note(self, node: ast.AST, read: list[ast.expr]) -> None:
        self.found += [node.lineno for one in read if self.is_prose(one)]


def reads(code: str) -> list[int]:
    reader = Reader()
    reader.visit(ast.parse(code))
    return sorted(set(reader.found))


@pytest.mark.parametrize(
    "code",
    [
        '"roll" in event.action',
        'text = lenient.text(event, "guard", "action")\n"roll" in text',
        'def level(event):\n    action, images = lenient.text(event, "action"), 3\n    return "stopped" in action',
        'finding.message.startswith("line 3")',
        're.search(r"line (\\d+)", finding["message"])',
        '_LINE.sub("#", finding.message)',
        'any("--deep" in reason for reason in report.reasons)',
        'str(event.get("detail")).partition(": ")',
        '[line for line in verdict["evidence"] if line.startswith("replay:")]',
    ],
)
def test_a_planted_reader_is_found(code):
    assert reads(code)


@pytest.mark.parametrize(
    "code",
    [
        'print(finding.message)\nkey = (event.check, event.action)\nif finding.code.startswith("AN"):\n    pass',
        'text = finding.message\ntext = finding.code\n"BX" in text',
    ],
)
def test_what_only_passes_sentences_on_is_not(code):
    assert not reads(code)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_code_reads_a_sentence_back(path):
    assert reads(path.read_text(encoding="utf-8")) == []
