"""The zoo: every case of datasets/zoo/ trained by stock Ultralytics and under yolo-nanfix, and the scoreboard.

    python scripts/zoo.py                         all cases; writes datasets/zoo/SCOREBOARD.md
    python scripts/zoo.py --case NAME [NAME ...]  these only; prints the table
    python scripts/zoo.py --fast                  the quick ones

Each half of a case runs in a process of its own, forked from one that has torch and Ultralytics imported and
nothing patched. Exit code 0 if every case is as its spec says, 1 if one is not, 2 for a wrong spec or request.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

import zoo_score  # noqa: E402
import zoo_specs  # noqa: E402
from zoo_specs import Case  # noqa: E402

from yolo_nanfix.errors import UsageError  # noqa: E402

CPU_LIMIT, LIMIT = 240, 1800
"""Seconds of CPU time, and of the clock, after which a run is killed; the first does not mind a busy machine."""
HEAVY = ("torch._dynamo", "matplotlib.font_manager", "ultralytics.engine.trainer", "ultralytics.models", "zoo_run")
"""What every run needs and what takes long to import; none of it starts a thread (polars would)."""
BOARD = zoo_specs.FOLDER / "SCOREBOARD.md"


@dataclass(frozen=True)
class Job:
    """One process: what it is called, and what it does and gives back."""

    name: str
    work: Callable[[], dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", default=[], metavar="NAME", help="only these cases")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at a time")
    parser.add_argument("--fast", action="store_true", help="only the quick cases")
    parser.add_argument("--ours-only", action="store_true", help="leave stock's half out (twins still need it)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the scores as JSON")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep what each run printed (default: a new folder)")
    args = parser.parse_args(argv)
    try:
        if args.jobs < 1:
            raise UsageError(f"--jobs must be at least 1, not {args.jobs}")
        known = zoo_specs.read_all()
        chosen = zoo_specs.choose(known, args.case, fast=args.fast)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    logs = args.logs or Path(tempfile.mkdtemp(prefix="yolo-nanfix-zoo-"))
    began = time.monotonic()
    scores = play(chosen, known, args.jobs, logs, ours_only=args.ours_only)
    text = f"{zoo_score.summary(scores)}\n\n{zoo_score.table(scores)}"
    print(f"{text}\n\n{time.monotonic() - began:.0f} s; logs: {logs}")
    _write(scores, text, args, whole=len(chosen) == len(known) and not args.ours_only, seconds=time.monotonic() - began)
    return 1 if any(line.misses for line in scores) else 0


def play(
    cases: Sequence[Case], known: Sequence[Case], jobs: int, logs: Path, *, ours_only: bool = False
) -> list[zoo_score.Score]:
    """Run cases and judge them; one line to stderr as each run ends."""
    _import_heavy()
    logs.mkdir(parents=True, exist_ok=True)
    twins = {case.name: zoo_specs.twin(case, known) for case in cases}
    starts = {(c.task, c.model) for c in (*cases, *twins.values()) if c.start == "trained"}
    _work([Job(f"start {model}", _starter(task, model)) for task, model in sorted(starts)], jobs, logs)
    halves = {(c.name, side): c for c in cases for side in (("ours",) if ours_only else ("stock", "ours"))}
    halves |= {(twin.name, "stock"): twin for twin in twins.values()}
    order = sorted(halves, key=lambda half: -int(halves[half].args.get("epochs", 3)))
    done = _work([Job(f"{name} {side}", _runner(halves[name, side], side)) for name, side in order], jobs, logs)
    scores = []
    for case in cases:
        stock = done.get(f"{case.name} stock")
        line = zoo_score.score(case, stock or {}, done[f"{case.name} ours"], done[f"{twins[case.name].name} stock"])
        if stock is None:
            line.stock, line.misses = "not run", [m for m in line.misses if not m.startswith("stock")]
        scores.append(line)
    return scores


def _import_heavy() -> None:
    """What every run needs, imported once; the runs are forked from here."""
    home = tempfile.mkdtemp(prefix="yolo-nanfix-zoo-home-")
    quiet = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    os.environ.update({**quiet, "YOLO_CONFIG_DIR": home, "MPLCONFIGDIR": home})
    for name in HEAVY:
        importlib.import_module(name)


def _starter(task: str, model: str) -> Callable[[], dict[str, Any]]:
    def work() -> dict[str, Any]:
        import zoo_run
        import zoo_starts

        if not zoo_starts.start_path(task, model).exists():
            with tempfile.TemporaryDirectory(prefix="yolo-nanfix-zoo-") as folder:
                zoo_run.make_start(task, model, Path(folder))
        return {}

    return work


def _runner(case: Case, side: str) -> Callable[[], dict[str, Any]]:
    def work() -> dict[str, Any]:
        import releases
        import zoo_run
        import zoo_starts

        start = zoo_starts.start_path(case.task, case.model) if case.start == "trained" else None
        with tempfile.TemporaryDirectory(prefix="yolo-nanfix-zoo-") as name:
            if case.release is None:
                return zoo_run.run(case, side, Path(name), start)
            request = json.dumps({"spec": case.spec, "side": side, "folder": name})
            said = releases.run(case.release, "import zoo_run; zoo_run.main()", request, timeout=LIMIT)
            facts: dict[str, Any] = json.loads(said.splitlines()[-1])
            return facts

    return work


def _work(jobs: list[Job], at_a_time: int, logs: Path) -> dict[str, dict[str, Any]]:
    """Run every job in a forked process, so many at a time; what each returned, by name.

    Raises:
        UsageError: a job that others stand on failed.
    """
    done: dict[str, dict[str, Any]] = {}
    waiting, running = list(reversed(jobs)), {}
    while waiting or running:
        while waiting and len(running) < at_a_time:
            job = waiting.pop()
            running[job.name] = _launch(job, logs)
        wait([process.sentinel for process, _, _ in running.values()], timeout=5)
        for name, (process, answer, began) in list(running.items()):
            if process.is_alive() and time.monotonic() - began < LIMIT:
                continue
            del running[name]
            done[name] = _collect(process, answer, time.monotonic() - began)
            left = len(jobs) - len(done)
            print(f"[{left:3d} left] {name}: {_short(done[name])}", file=sys.stderr, flush=True)
    return done


def _launch(job: Job, logs: Path) -> tuple[Any, Path, float]:
    answer = logs / f"{job.name.replace(' ', '.')}.json"
    answer.unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(target=_child, args=(job, answer))
    process.start()
    return process, answer, time.monotonic()


def _child(job: Job, answer: Path) -> None:
    """In the forked process: everything that is printed goes to the log beside the answer."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))
    with open(answer.with_suffix(".log"), "w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            facts = job.work()
        except Exception as error:
            traceback.print_exc()
            facts = {"broken": f"{type(error).__name__}: {error}"}
        sys.stdout.flush()
        sys.stderr.flush()
    answer.write_text(json.dumps(facts))


def _collect(process: Any, answer: Path, seconds: float) -> dict[str, Any]:
    if process.is_alive():
        os.killpg(process.pid, 9)
    process.join()
    if answer.exists():
        facts: dict[str, Any] = json.loads(answer.read_text())
    else:
        facts = {"broken": f"no answer after {seconds:.0f} s (exit code {process.exitcode})"}
    return facts


def _short(facts: dict[str, Any]) -> str:
    said = facts.get("broken") or facts.get("error") or "done"
    return f"{said.splitlines()[0][:150]}" + (f", {facts['seconds']} s of CPU time" if "seconds" in facts else "")


def _write(scores: list[zoo_score.Score], text: str, args: argparse.Namespace, *, whole: bool, seconds: float) -> None:
    import benchlib

    from yolo_nanfix.files import write_json, write_text

    header = benchlib.header()
    if args.json:
        write_json(args.json, {"header": header, "scores": [zoo_score.as_dict(line) for line in scores]})
    if whole:
        note = "Written by `python scripts/zoo.py`; what the columns mean is in [README.md](README.md)."
        write_text(BOARD, f"# Scoreboard of the zoo\n\n{note}\n\n{header}; {seconds / 60:.0f} minutes.\n\n{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
