"""How a checkout of the package is built, in figures: size, import cycles, names, and the types of lint.

    python scripts/structure.py [--root CHECKOUT ...] [--names] [--json]

With two checkouts their figures stand beside each other, the old one first. `--names` lists each name that three
modules or more define. tests/test_layers.py holds some of the figures.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "yolo_nanfix"
ROOT = Path(__file__).resolve().parents[1]
ONE_FORM = ("patching.fixes", "cli.commands", "finetune.advices")
"""Folders whose modules have one form (patch, command, unit of advice), names included: each is one module here."""
PIPELINE = ("dataset", "linting")
"""The rooms between a file and a finding; what stands in their folders (rules, formats, autofix) is not counted."""


@dataclass(frozen=True)
class Checkout:
    """The modules of the package in one checkout, by dotted name without the package's."""

    root: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        """Module -> its file."""
        package = self.root / PACKAGE
        return {
            ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__"): path
            for path in sorted(package.rglob("*.py"))
        }

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Module -> its syntax tree."""
        return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in self.files.items()}

    @cached_property
    def imports(self) -> dict[str, frozenset[str]]:
        """Module -> what it imports, also inside functions; modules of the package without its name."""
        return {module: frozenset(self._imported(tree)) for module, tree in self.trees.items()}

    def _imported(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    yield name if name.removeprefix(f"{PACKAGE}.") in self.files else node.module

    def ours(self, module: str) -> set[str]:
        """The other modules of the package that a module imports."""
        begin = f"{PACKAGE}."
        return {name.removeprefix(begin) for name in self.imports[module] if name.startswith(begin)} - {module}

    def lines(self) -> int:
        """Lines of all modules."""
        return sum(len(path.read_bytes().splitlines()) for path in self.files.values())

    def cycles(self) -> list[list[str]]:
        """Modules that import each other, also inside functions (strongly connected components, after Tarjan)."""
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        found = []

        def visit(name: str) -> None:
            index[name] = low[name] = len(index)
            stack.append(name)
            for other in sorted(self.ours(name) & set(self.files)):
                if other not in index:
                    visit(other)
                    low[name] = min(low[name], low[other])
                elif other in stack:
                    low[name] = min(low[name], index[other])
            if low[name] == index[name]:
                cut = stack.index(name)
                if len(stack) - cut > 1:
                    found.append(stack[cut:])
                del stack[cut:]

        for name in self.files:
            if name not in index:
                visit(name)
        return found

    def modules_twice(self) -> list[str]:
        """Names that two modules or more have, in different folders."""
        last = Counter(name.rpartition(".")[2] for name, path in self.files.items() if path.name != "__init__.py")
        return sorted(name for name, count in last.items() if count > 1)

    def names_thrice(self) -> dict[str, list[str]]:
        """Names that three modules or more define at their top level -> those modules."""
        defining: dict[str, dict[str, None]] = defaultdict(dict)
        for module, tree in self.trees.items():
            where = next((folder for folder in ONE_FORM if module.startswith(folder)), module)
            for name in _defined(tree):
                defining[name][where] = None
        return {name: list(modules) for name, modules in defining.items() if len(modules) > 2}

    def types(self) -> list[str]:
        """Classes of the rooms between a file and a finding."""
        old = not (self.root / PACKAGE / PIPELINE[0]).is_dir()
        rooms = [self.root / PACKAGE / room for room in PIPELINE[old:]]
        return [
            f"{module}.{node.name}"
            for module, path in self.files.items()
            if path.parent in rooms
            for node in self.trees[module].body
            if isinstance(node, ast.ClassDef)
        ]

    def prose(self) -> list[str]:
        """Places that read a sentence back, as tests/test_prose.py finds them."""
        sys.path.append(str(ROOT / "tests"))
        import test_prose

        found = {name: test_prose.reads(path.read_text(encoding="utf-8")) for name, path in self.files.items()}
        return [f"{name}:{line}" for name, lines in found.items() for line in lines]

    def figures(self) -> dict[str, int]:
        """The table: what is counted -> how many."""
        return {
            "lines": self.lines(),
            "files": len(self.files),
            "import cycles between files": len(self.cycles()),
            "places that read prose": len(self.prose()),
            "module names used twice": len(self.modules_twice()),
            "names defined in three modules or more": len(self.names_thrice()),
            "types from file to finding": len(self.types()),
        }


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else (node.target,):
                yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, action="append", help="a checkout; this one unless given")
    parser.add_argument("--names", action="store_true", help="also which names three modules or more define, and where")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    checkouts = [Checkout(root.resolve()) for root in args.root or [ROOT]]
    tables = [checkout.figures() for checkout in checkouts]
    if args.json:
        print(json.dumps({str(one.root): table for one, table in zip(checkouts, tables, strict=True)}, indent=2))
        return
    for what in tables[0]:
        values = [table[what] for table in tables]
        numbers = "".join(f"{value:>8}" for value in values)
        ratio = f"  {values[-1] / values[0]:.2f}" if len(values) > 1 and values[0] else ""
        print(f"{what:<40}{numbers}{ratio}")
    for checkout in checkouts if args.names else []:
        for name, modules in sorted(checkout.names_thrice().items(), key=lambda item: (len(item[1]), item[1])):
            print(f"{name}: {' '.join(modules)}")


if __name__ == "__main__":
    main()
