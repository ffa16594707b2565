"""Changes thresholds and comparisons one at a time, and asks the tests: which changes does none of them see?

    python scripts/mutate.py [--count 200] [--seed 0] [--jobs 2] [--only PATH ...] [--json OUT] [--list]

Mutants: a number of a module's constant or of a comparison becomes one more, half and twice as large; `<` and `<=`,
`>` and `>=` change places. Each is tried in a copy of the checkout by the tests of its unit (`UNITS`), of a rule by
those that name its code; the first that fails ends it. What no result can show is left out by `_shows`. Exit code 1
where fewer than 95 % die.

Imports and the collection of tests are paid once: every mutant is a fork of a process that holds both, in which the
changed functions get their new code, and constants their new value; processes that the tests start find it in the file.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import importlib
import inspect
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 900
"""Seconds that the tests of a mutant may take; a mutant that hangs is seen."""
BUDGET = 4
"""Seconds of processor time that the tests of a mutant may take: the quick ones come first, and what they do not see
counts as survived."""
WANTED = 0.95
HEAVY = ("numpy", "polars", "cv2", "PIL.Image", "simplejpeg", "yaml", "torch", "ultralytics", "linting.cases")
RULES = "yolo_nanfix/linting/rules"
UNITS = {
    "yolo_nanfix/guard/policy.py": ("guard/test_policy.py",),
    "yolo_nanfix/guard/divergence.py": ("guard/test_divergence.py",),
    "yolo_nanfix/guard/escalation.py": ("guard/test_policy.py", "guard/test_ladder.py", "guard/test_rungs.py"),
    "yolo_nanfix/numerics/lr_range.py": ("numerics/test_lr_range.py",),
    "yolo_nanfix/numerics/*.py": ("numerics",),
    f"{RULES}/*.py": ("linting",),
}
"""Module -> the tests of its unit, below tests/; of a folder those files that name the module, or a rule of it."""
FUNCTIONS: dict[str, list[types.FunctionType]] = defaultdict(list)
"""File -> the functions made from it, in the process that answers."""
SWAPPED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
}


@dataclass(frozen=True)
class Mutant:
    """One change: `old` at `line` and `column` (bytes, from 0) of a file becomes `new`."""

    file: str
    line: int
    column: int
    old: str
    new: str
    codes: tuple[str, ...] = ()
    """The rules that the change concerns."""

    def applied(self, text: bytes) -> bytes:
        """The file's bytes with the change in them."""
        lines = text.splitlines(keepends=True)
        row, end = lines[self.line - 1], self.column + len(self.old)
        assert row[self.column : end] == self.old.encode(), self
        lines[self.line - 1] = row[: self.column] + self.new.encode() + row[end:]
        return b"".join(lines)


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a mutant."""

    mutant: Mutant
    killed: bool
    by: str
    """The test that failed first, or why it ended."""
    seconds: float


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """All mutants of a module."""
    tree = ast.parse(source)
    constants = _constants(tree)
    codes = _codes(tree)
    for name, value in constants.items():
        if _shows(name):
            for number in _numbers(value):
                yield from _changed(file, source, number, codes(name))
    known = _imported(tree) | constants
    for top in tree.body:
        words = _words(top)
        for node in ast.walk(top):
            if isinstance(node, ast.Compare) and node not in words:
                yield from _comparisons(file, source, node, known, codes(getattr(top, "name", "")))


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Name -> value, also of `A, B = 1, 2`."""
    found = {name: node.value for node in tree.body if (name := _constant(node)) and getattr(node, "value", None)}
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.value, ast.Tuple)
        ):
            pairs = zip(node.targets[0].elts, node.value.elts, strict=True)
            found |= {target.id: value for target, value in pairs if isinstance(target, ast.Name)}
    return found


def _imported(tree: ast.Module) -> dict[str, ast.expr]:
    """Constants that a module takes from others of the package."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("yolo_nanfix."):
            file = ROOT / f"{node.module.replace('.', '/')}.py"
            names = {alias.name for alias in node.names if alias.name.isupper()}
            if names and file.is_file():
                values = _constants(ast.parse(file.read_text(encoding="utf-8")))
                found |= {name: values[name] for name in names & set(values)}
    return found


def _constant(node: ast.stmt) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(target, ast.Name) else ""


def _shows(name: str) -> bool:
    """Whether a constant can change a result: not how many rows are worked on at once, nor a type."""
    return name.isupper() and not re.search(r"CHUNK|BLOCK|AT_ONCE|BATCH", name)


def _codes(tree: ast.Module):
    """Name of a function or constant -> codes of the rules that use it, also through other names of the module."""
    uses: dict[str, set[str]] = {}
    own: dict[str, set[str]] = {}
    for node in tree.body:
        name = _constant(node) or getattr(node, "name", "")
        uses[name] = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        own[name] = {
            str(call.args[0].value)
            for call in getattr(node, "decorator_list", ())
            if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant)
        }

    def reaches(name: str, wanted: str, seen: set[str]) -> bool:
        seen.add(name)
        return name == wanted or any(reaches(x, wanted, seen) for x in uses.get(name, set()) - seen)

    return lambda wanted: tuple(
        sorted(code for name, found in own.items() if found and reaches(name, wanted, set()) for code in found)
    )


def _numbers(node: ast.AST) -> Iterator[ast.Constant]:
    """Numbers of an expression; not those that choose a part of an array, are a key, or are handed to a function."""
    if isinstance(node, ast.Constant):
        if type(node.value) in (int, float) and node.value == node.value:
            yield node
    elif isinstance(node, ast.Subscript):
        yield from _numbers(node.value)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _numbers(value)
    elif isinstance(node, ast.Call):
        if getattr(node.func, "id", "") in ("min", "max", "abs", "float", "int"):
            for part in node.args:
                yield from _numbers(part)
    elif not isinstance(node, (ast.keyword, ast.Lambda)):
        for part in ast.iter_child_nodes(node):
            yield from _numbers(part)


def _words(tree: ast.AST) -> set[ast.AST]:
    """Parts of an expression that choose between words, so that they change a message alone."""
    found: set[ast.AST] = set()
    texts = {
        node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_text(node.value, set())
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found |= set(ast.walk(node))
        elif isinstance(node, ast.IfExp) and all(_is_text(part, texts) for part in (node.body, node.orelse)):
            found |= set(ast.walk(node.test))
    return found


def _is_text(node: ast.AST, texts: set[str]) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_text(node.body, texts) and _is_text(node.orelse, texts)
    if isinstance(node, ast.Name):
        return node.id in texts
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _changed(file: str, source: str, number: ast.Constant, codes: tuple[str, ...]) -> Iterator[Mutant]:
    old = ast.get_source_segment(source, number)
    value = number.value
    assert old is not None
    assert isinstance(value, (int, float))
    made = [value + 1] if isinstance(value, int) else []
    if value and (isinstance(value, float) or value >= 8):
        made += [value * 2, value * 0.5 if isinstance(value, float) or value % 2 else value // 2]
    for new in made:
        yield Mutant(file, number.lineno, number.col_offset, old, repr(new), codes)


def _comparisons(
    file: str, source: str, node: ast.Compare, constants: dict[str, ast.expr], codes: tuple[str, ...]
) -> Iterator[Mutant]:
    sides = [node.left, *node.comparators]
    for side in sides:
        for number in _numbers(side):
            yield from _changed(file, source, number, codes)
    for operator, left, right in zip(node.ops, sides, node.comparators, strict=False):
        if type(operator) not in SWAPPED or _never_met(left, constants) or _never_met(right, constants):
            continue
        old, new = SWAPPED[type(operator)]
        lines = source.encode().splitlines(keepends=True)
        assert left.end_lineno is not None
        assert left.end_col_offset is not None
        for line in range(left.end_lineno, right.lineno + 1):
            begin = left.end_col_offset if line == left.end_lineno else 0
            if (column := lines[line - 1].find(old.encode(), begin)) >= 0:
                yield Mutant(file, line, column, old, new, codes)
                break


def _never_met(side: ast.expr, constants: dict[str, ast.expr]) -> bool:
    """Whether a threshold, perhaps reckoned from constants, is a fraction or a magnitude that no value equals.

    Then `<` is `<=`.
    """
    names = [node for node in ast.walk(side) if isinstance(node, ast.Name)]
    if not all(name.id in constants for name in names):
        return any(map(_odd, _numbers(side)))
    return any(_odd(number) for part in (side, *(constants[name.id] for name in names)) for number in _numbers(part))


def _odd(number: ast.Constant) -> bool:
    value = number.value
    return isinstance(value, float) and (not value.is_integer() or abs(value) >= 1e4)


def all_mutants(root: Path, only: list[str]) -> list[Mutant]:
    """The mutants of all units, or of the files whose path holds one of the texts."""
    files = dict.fromkeys(path.relative_to(root).as_posix() for glob in UNITS for path in sorted(root.glob(glob)))
    return [
        mutant
        for file in files
        if not only or any(text in file for text in only)
        for mutant in dict.fromkeys(mutants(file, (root / file).read_text(encoding="utf-8")))
    ]


@cache
def _codes_of_users(helper: str) -> tuple[str, ...]:
    """The codes of a module of rules, or else of all rules whose modules import it."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(Path(RULES).glob("*.py"))}
    own = re.findall(r'^@rule\(\s*"(\w+)"', texts[helper], re.M)
    users = [text for text in texts.values() if re.search(rf"rules(\.{helper} import| import .*\b{helper}\b)", text)]
    return tuple(own or dict.fromkeys(code for text in users for code in re.findall(r'^@rule\(\s*"(\w+)"', text, re.M)))


class Copy:
    """A copy of the checkout, and the process that runs tests in it."""

    def __init__(self, place: Path, files: set[str]) -> None:
        self.root = place / "checkout"
        listed = subprocess.run(
            ["git", "ls-files", "-zco", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.root / name)
        if (ROOT.parent / "shared").is_dir():
            (place / "shared").symlink_to(ROOT.parent / "shared")
        environment = os.environ | {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1", "YOLO_OFFLINE": "1"}
        environment |= {"YOLO_CONFIG_DIR": str(place), "TMPDIR": str(place)}
        self.process = subprocess.Popen(
            [sys.executable, "-B", __file__, "--serve", *sorted({part for file in files for part in tests_of(file)})],
            cwd=self.root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()  # all is imported, so that the files may change

    def judge(self, mutant: Mutant) -> Outcome:
        """Try one mutant; the file is as it was afterwards."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        file, start = self.root / mutant.file, time.monotonic()
        before = file.read_bytes()
        file.write_bytes(mutant.applied(before))
        try:
            print(json.dumps([mutant.file, mutant.codes]), file=self.process.stdin, flush=True)
            by = str(json.loads(self.process.stdout.readline()))
        finally:
            file.write_bytes(before)
        return Outcome(mutant, bool(by), by, time.monotonic() - start)


def tests_of(file: str) -> list[str]:
    """The tests of the unit of a module, relative to the checkout."""
    return [f"tests/{name}" for name in next(tests for glob, tests in UNITS.items() if Path(file).match(glob))]


class Server:
    """A plugin of pytest that has collected the tests, and runs those that are asked for in forks of the process."""

    def __init__(self, answers: TextIO) -> None:
        self.answers = answers
        self.failed: list[str] = []
        self.sound: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtestloop(self, session: Any) -> bool:
        for glob in UNITS:
            for path in Path().glob(glob):
                importlib.import_module(".".join(path.with_suffix("").parts))
        gc.unfreeze()  # tests/conftest.py froze what the tests import, and what is frozen is not listed
        for found in gc.get_objects():
            if type(found) is types.FunctionType:
                FUNCTIONS[found.__code__.co_filename].append(found)
        gc.freeze()
        print("ready", file=self.answers, flush=True)
        for line in sys.stdin:
            file, codes = json.loads(line)
            chosen = _chosen(session.items, file, codes)
            while by := self._forked(chosen, file):
                blamed = [item for item in chosen if item.nodeid == by and by not in self.sound]
                if not blamed or not self._forked(blamed, ""):
                    self.sound.add(by)
                    break
                chosen.remove(*blamed)  # it fails without a change, too
            print(json.dumps(by), file=self.answers, flush=True)
        return True

    def _forked(self, items: list[Any], file: str) -> str:
        """The first that fails with the file as it is now, or why there was no end; empty if all pass."""
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            said = "the process died"
            try:
                said = self._first(items, file)
            except BaseException as error:
                said = f"{type(error).__name__} while the change was made"
            finally:
                os.write(write, said.encode())
                os._exit(0)
        os.close(write)
        ends = time.monotonic() + LIMIT
        while not (done := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < ends:
            time.sleep(0.01)
        if not done[0]:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said = f"no end in {LIMIT} seconds"
        else:
            said = os.read(read, 1 << 16).decode() if not done[1] else "the process died"
        os.close(read)
        return said

    def _first(self, items: list[Any], file: str) -> str:
        if file:
            _renew(file)
        ends = time.process_time() + BUDGET
        for item, after in zip_longest(items, items[1:]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self.failed:
                return self.failed[0]
            if time.process_time() > ends:
                break
        return ""


def serve(tests: list[str]) -> None:
    """Answer each line, a file and codes of rules, by the first test that fails with the file as it is then."""
    answers = os.fdopen(os.dup(1), "w")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    sys.path[:0] = [str(Path("tests").resolve()), str(Path("scripts").resolve()), str(Path.cwd())]
    import surroundings

    surroundings.settle()
    for name in HEAVY:
        importlib.import_module(name)
    import pytest

    options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "tmp_path_retention_policy=none"]
    sys.exit(pytest.main([*options, *tests], plugins=[Server(answers)]))


def _chosen(items: list[Any], file: str, codes: list[str]) -> list[Any]:
    """The tests of a module, of a rule those that name its code: first where each is tried on its own."""
    within = [item for item in items if any(item.nodeid.startswith(part) for part in tests_of(file))]
    stem = Path(file).stem
    if not file.startswith(RULES):
        users = [
            item for item in within if re.search(rf"numerics(\.{stem} import| import .*\b{stem}\b)", _text(item.path))
        ]
        return users or within
    words = re.compile(rf"\b({'|'.join(codes or _codes_of_users(stem))})\b")
    direct = re.compile(rf"rules(\.{stem} import| import .*\b{stem}\b)")
    ranked = [(_rank(item, words, direct), item) for item in within]
    return [item for rank, item in sorted(ranked, key=lambda one: one[0]) if rank < 5]


def _rank(item: Any, words: re.Pattern[str], direct: re.Pattern[str]) -> int:
    """The order of a test: calls of the module without files, twins, others that name a rule; 5 for none of them."""
    near = direct.search(_text(item.path))
    if near and not any(name.startswith("tmp_path") for name in item.fixturenames):
        return 0
    if words.search(item.name):
        return 1 if item.path.name == "test_edges.py" else 2
    if words.search(_source(item.function)):
        return 3
    return 4 if near else 5


@cache
def _source(function: types.FunctionType) -> str:
    return inspect.getsource(inspect.unwrap(function))


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _renew(file: str) -> None:
    """Give the functions of an imported module the code that its file has now, and its constants their values."""
    path = Path(file).resolve()
    module = sys.modules[".".join(Path(file).with_suffix("").parts)]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    new: dict[tuple[str, int], types.CodeType] = {}
    held = [compile(tree, str(path), "exec", dont_inherit=True)]
    while held:
        code = held.pop()
        new[code.co_qualname, code.co_firstlineno] = code
        held += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    for function in FUNCTIONS[str(path)]:
        function.__code__ = new[function.__code__.co_qualname, function.__code__.co_firstlineno]
    for node in tree.body:
        names = [name for name in _constants(ast.Module([node], [])) if name.isupper()]
        before = {name: getattr(module, name) for name in names}
        if names:
            exec(compile(ast.Module([node], []), str(path), "exec"), vars(module))  # noqa: S102 - our own file
            for other in list(sys.modules.values()):
                if str(getattr(other, "__file__", "")).startswith(str(Path.cwd())):
                    for name in names:
                        if vars(other).get(name) is before[name]:
                            setattr(other, name, getattr(module, name))


def tried(chosen: list[Mutant], jobs: int) -> Iterator[Outcome]:
    """The outcome of each, as they come."""
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder, contextlib.ExitStack() as stack:
        free: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            copy = Copy(Path(folder, str(number)), {mutant.file for mutant in chosen})
            stack.callback(copy.process.kill)
            free.put(copy)

        def one(mutant: Mutant) -> Outcome:
            copy = free.get()
            try:
                return copy.judge(mutant)
            finally:
                free.put(copy)

        with ThreadPoolExecutor(jobs) as pool:
            for future in as_completed([pool.submit(one, mutant) for mutant in chosen]):
                yield future.result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="so many of all, drawn with the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], metavar="PATH", help="files whose path holds one of these")
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--list", action="store_true", help="print the mutants that would be tried, and end")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return 0
    found = all_mutants(ROOT, args.only)
    chosen = random.Random(args.seed).sample(found, args.count) if args.count < len(found) else found
    print(f"{len(chosen)} of {len(found)} mutants")
    if args.list:
        print(*(f"{m.file}:{m.line}:{m.column}  {m.old} -> {m.new}  {' '.join(m.codes)}" for m in chosen), sep="\n")
        return 0
    outcomes = []
    for outcome in tried(chosen, args.jobs):
        outcomes.append(outcome)
        m, word = outcome.mutant, "killed  " if outcome.killed else "SURVIVED"
        print(
            f"{word} {outcome.seconds:6.1f} s  {m.file}:{m.line}:{m.column}  {m.old} -> {m.new}  {outcome.by}",
            flush=True,
        )
    killed = sum(outcome.killed for outcome in outcomes)
    print(f"{killed} of {len(outcomes)} killed ({killed / max(1, len(outcomes)):.1%})")
    if args.json:
        args.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2), encoding="utf-8")
    return int(killed < WANTED * len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
