"""The fuzz campaign: thousands of odd inputs, each given to the real commands in a process and a box of its own.

    python scripts/fuzz.py [--count 3000] [--seed 0] [--jobs 2] [--kind labels,yaml,...]
    python scripts/fuzz.py --only yaml:17 [--seed 0] [--keep FOLDER]

Each kind of input has a module of its own (`fuzz_<kind>.py`) that makes a case from a healthy one: values, structure or
bytes are changed, files are replaced by links, pipes, devices. A case runs in a fork of a process that has everything
imported, with 20 seconds a command and 3 GB of memory more; the folders around it are hashed before and after. A defect
is: an exit code but 0, 1 and 2, a traceback, a signal; a hang; more than 1.5 GB; a file changed outside, or in the
dataset without `--fix`; a byte that `--undo` does not give back; another result from a damaged memory; output that is
not of the form that was asked for, or that holds control characters.

A case hangs on the seed, its kind and its number alone: `--only` repeats it. Exit code 1 if there is a defect.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

HERE = Path(__file__).resolve().parent
SHARES = {
    "labels": 5, "yaml": 5, "coco": 4, "voc": 3, "ndjson": 3, "images": 2, "settings": 4, "runs": 4,
    "caches": 3, "journals": 3, "words": 5, "incidents": 3,
}  # fmt: skip
"""The kinds, and how many of the cases each gets."""
HEAVY = frozenset(("incidents",))
"""Kinds that need torch and Ultralytics; imported for others, they would change how images are opened."""
SORTS = ("abort", "hang", "memory", "write outside", "bytes lost", "another result", "output")


def sort_of(wrong: str) -> str:
    """To which column of the table a defect belongs."""
    text = wrong.partition(": ")[2] if wrong.startswith("command ") else wrong
    if text.startswith(("exit code", "traceback", "abort", "the fuzzer")):
        return "abort"
    return next(
        (sort for sort in SORTS if text.startswith(sort)), "write outside" if "left behind" in text else "output"
    )


def plan(count: int, kinds: list[str]) -> Iterator[tuple[str, int]]:
    """Kind and number of so many cases, all kinds mixed."""
    whole = sum(SHARES[kind] for kind in kinds)
    each = {kind: max(1, round(count * SHARES[kind] / whole)) for kind in kinds}
    for number in range(max(each.values())):
        yield from ((kind, number) for kind in kinds if number < each[kind])


class Server:
    """One process that runs cases."""

    def __init__(self, folder: Path, sort: str) -> None:
        """Start it; it is warm once it answers."""
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "server.err"
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE))), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / "fuzz_server.py"), str(folder), sort]
        with self._log.open("w") as log:  # what Ultralytics says when it is imported
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environ, cwd=folder
            )
        self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process that runs the cases has ended: {self._log.read_text()[-2000:]}")
        return json.loads(line)

    def ask(self, kind: str, number: int, seed: int) -> dict[str, Any]:
        """What became of one case."""
        assert self._process.stdin is not None
        print(json.dumps({"kind": kind, "number": number, "seed": seed}), file=self._process.stdin, flush=True)
        result: dict[str, Any] = self._read()
        return result

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def campaign(cases: list[tuple[str, int]], seed: int, jobs: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Run cases in some processes; what became of each, as they end."""
    waiting: SimpleQueue[tuple[str, int]] = SimpleQueue()
    done: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    for case in cases:
        waiting.put(case)

    def work(name: str) -> None:
        try:
            servers: dict[str, Server] = {}
            while True:
                try:
                    kind, number = waiting.get_nowait()
                except Empty:
                    break
                sort = "heavy" if kind in HEAVY else "light"
                if sort not in servers:
                    servers[sort] = Server(folder / name / sort, sort)
                done.put(servers[sort].ask(kind, number, seed))
            for server in servers.values():
                server.close()
        finally:
            done.put(None)

    threads = [threading.Thread(target=work, args=(f"w{i}",), daemon=True) for i in range(jobs)]
    for thread in threads:
        thread.start()
    ended = 0
    while ended < jobs:
        result = done.get()
        if result is None:
            ended += 1
        else:
            yield result
    for thread in threads:
        thread.join()


def table(results: list[dict[str, Any]]) -> list[str]:
    """Cases and defects by kind."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        rows[result["kind"]]["cases"] += 1
        rows[result["kind"]].update({sort_of(wrong) for wrong in result["wrong"]})
    columns = ("cases", *SORTS)
    lines = [f"{'kind':<10}" + "".join(f"{name:>15}" for name in columns)]
    for kind in [*rows, "all"]:
        counts = rows[kind] if kind != "all" else sum(rows.values(), Counter())
        lines.append(f"{kind:<10}" + "".join(f"{counts[name]:>15}" for name in columns))
    return lines


def main() -> int:
    """Run the campaign and print the table and each defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--kind", default=",".join(SHARES), help="kinds, joined by commas")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="repeat one case")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="where the case is left to be looked at")
    args = parser.parse_args()
    unknown = set(args.kind.split(",")) - SHARES.keys()
    if unknown:
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(SHARES)}")
    cases = list(plan(args.count, args.kind.split(",")))
    if args.only:
        kind, _, number = args.only.partition(":")
        cases = [(kind, int(number))]
    began, results = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as scratch:
        folder = args.keep.absolute() if args.keep else Path(scratch)
        for result in campaign(cases, args.seed, 1 if args.only else args.jobs, folder):
            results.append(result)
            for wrong in result["wrong"]:
                print(f"{result['kind']}:{result['number']} {wrong}\n    {result['words']}", flush=True)
            if args.only:
                print(json.dumps(result, indent=1))
    print("\n".join(table(results)))
    slowest = max(results, key=lambda result: result["seconds"])
    largest = max(results, key=lambda result: result["peak"])
    codes = Counter(code for result in results for code in result.get("codes", ()))
    took = time.monotonic() - began
    print(f"{len(results)} cases of {len(cases)}, seed {args.seed}, {took:.0f} s; exit codes {dict(codes)}")
    print(f"slowest {slowest['kind']}:{slowest['number']} {slowest['seconds']:.1f} s; ", end="")
    print(f"most memory {largest['kind']}:{largest['number']} {largest['peak'] >> 20} MiB")
    bad = sorted((r["kind"], r["number"]) for r in results if r["wrong"])
    if bad:
        first = f"{bad[0][0]}:{bad[0][1]}"
        print(f"{len(bad)} cases with defects; one again: python scripts/fuzz.py --seed {args.seed} --only {first}")
    return 1 if bad or len(results) < len(cases) else 0


if __name__ == "__main__":
    sys.exit(main())
