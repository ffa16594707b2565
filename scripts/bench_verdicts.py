"""How right the diagnosis is: seeded injections over many kinds, models and layers, and healthy steps beside them.

    python scripts/bench_verdicts.py [--n 200] [--healthy 50] [--jobs 2] [--seed 0] [--wrong]

Prints, kind by kind, how many verdicts are exact: operation, module, and image or parameter all right. Then the
confusion matrix of the causes, what was blamed in healthy steps (it must be nothing), and the cost in step times.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import benchlib
import injections
import oracles
import torch

from yolo_nanfix.diagnosis.examine import examine
from yolo_nanfix.patching import engine
from yolo_nanfix.verdicts import Cause

HEALTHY = "healthy"


class Result(NamedTuple):
    """One verdict against the truth."""

    model: str
    kind: str
    seed: int
    exact: bool
    wanted: str
    got: str
    blames: bool
    cost: float
    said: str


def jobs(n: int, healthy: int, seed: int, only: str | None = None) -> dict[str, list[tuple[str, int]]]:
    """Which injections each model gets: kinds and models in turn, until there are `n`."""
    work: dict[str, list[tuple[str, int]]] = {name: [] for name in injections.MODELS}
    names, kinds = itertools.cycle(injections.MODELS), itertools.cycle([only] if only else injections.KINDS)
    for number in range(n):
        kind = next(kinds)
        name = "yolov8n-seg" if kind == "label-without-area" else next(names)
        work[name].append((kind, seed + number))
    for number in range(healthy):
        work[next(names)].append((HEALTHY, seed + number))
    return work


def on_model(name: str, work: list[tuple[str, int]]) -> list[Result]:
    """All injections of one model, in this process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    benchlib.quiet()
    engine.apply(("torchvision-operators-missing",), {}, engine.Choice())
    with tempfile.TemporaryDirectory() as folder:
        bench = injections.Bench(Path(folder), name)
        steps = {precision: _step_time(bench, precision) for precision in set(injections.PRECISIONS)}
        return [result for kind, seed in work for result in _one(bench, kind, seed, steps)]


def _step_time(bench: injections.Bench, precision: str) -> float:
    """Seconds of a plain step, the median of five."""
    model, spent = bench.model(), []
    for batch in itertools.islice(itertools.cycle(bench.batches), 5):
        began = time.perf_counter()
        with oracles.autocast(precision):
            loss, _ = model(oracles.copied(batch))
        loss.sum().backward()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def _one(bench: injections.Bench, kind: str, seed: int, steps: dict[str, float]) -> Iterator[Result]:
    case = injections.inject("not-repeated" if kind == HEALTHY else kind, bench, seed)
    if case is None:
        return
    step = steps[str(case.incident.facts["precision"])]
    verdict = examine(case.incident, case.model, budget=10 * step)
    blames = verdict.cause is not Cause.NONDETERMINISTIC or bool(verdict.images or verdict.op or verdict.tensor)
    wanted, got = case.truth.cause.value, verdict.cause.value
    truth = f"{sorted(case.truth.ops)} {case.truth.module} {case.truth.tensor} {len(case.truth.images)} images"
    said = f"{verdict.op} {verdict.module} {verdict.tensor} {len(verdict.images)} images, wanted {truth}"
    cost = verdict.seconds / step
    yield Result(bench.name, kind, seed, case.truth.exact(verdict), wanted, got, blames, cost, said)


def report(results: list[Result]) -> int:
    """Print the tables; how many injections are not exact, plus blames in healthy steps."""
    planted = [r for r in results if r.kind != HEALTHY]
    healthy = [r for r in results if r.kind == HEALTHY]
    print(f"{'kind':<22}{'exact':>12}{'cause right':>14}")
    for kind in injections.KINDS:
        mine = [r for r in planted if r.kind == kind]
        right = sum(r.wanted == r.got for r in mine)
        print(f"{kind:<22}{f'{sum(r.exact for r in mine)} of {len(mine)}':>12}{f'{right} of {len(mine)}':>14}")
    exact = sum(r.exact for r in planted)
    print(
        f"\nexact on op, module, and image or parameter: {exact} of {len(planted)} ({exact / max(len(planted), 1):.1%})"
    )
    _confusion(planted)
    print(f"\nhealthy steps: {len(healthy)}, blamed: {sum(r.blames for r in healthy)}")
    if costs := sorted(r.cost for r in results):
        tail = costs[int(len(costs) * 0.95)]
        print(f"cost in step times: median {statistics.median(costs):.1f}, 95 % under {tail:.1f}, most {costs[-1]:.1f}")
    return len(planted) - exact + sum(r.blames for r in healthy)


def _confusion(results: list[Result]) -> None:
    """Rows: what was planted; columns: what the verdict says."""
    counts = Counter((r.wanted, r.got) for r in results)
    causes = [c.value for c in Cause if any(c.value in pair for pair in counts)]
    print("\n" + f"{'planted / verdict':<18}" + "".join(f"{c[:12]:>14}" for c in causes))
    for wanted in causes:
        print(f"{wanted:<18}" + "".join(f"{counts[wanted, got] or '.':>14}" for got in causes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="injections (default 200)")
    parser.add_argument("--healthy", type=int, default=50, help="healthy steps (default 50)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--kind", choices=list(injections.KINDS), help="only this kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wrong", action="store_true", help="also list the verdicts that are not exact")
    args = parser.parse_args()
    work = {name: todo for name, todo in jobs(args.n, args.healthy, args.seed, args.kind).items() if todo}
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        results: list[Any] = [r for rs in pool.map(on_model, work.keys(), work.values()) for r in rs]
    print(benchlib.header())
    wrong = report(results)
    for r in results if args.wrong else ():
        if not (r.exact or r.kind == HEALTHY) or r.wanted != r.got:
            print(f"{r.model} {r.kind} seed {r.seed}: {r.wanted} -> {r.got}; {r.said}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
