"""How right the verdicts of whole faulty trainings are: scripts/injected_runs.py, each run in a process of its own.

    python scripts/bench_runs.py [--n 70] [--jobs 2] [--kind KIND ...] [--seed 0] [--keep FOLDER]

Each run trains a small model under `patch()` with one planted fault. Its first verdict must name the cause and what is
asked besides (operation, module, parameter, setting, images); weights must end finite, no innocent image may be left
out, and the run must not be called healthy where every step was lost. Prints what is wrong, and the confusion matrix.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import benchlib
import healthy_runs
import injected_runs
import processes
from small_sets import small_set

from yolo_nanfix.verdicts import Cause

LIMIT = 300
FORKED = "import bench_runs, sys; bench_runs.alone(sys.argv[1], int(sys.argv[2]), sys.argv[3], forked=True)"


def alone(kind: str, seed: int, folder: str, forked: bool = False) -> None:
    """One faulty run in this process, or in one whose ultralytics is a changed copy; the result goes to a file."""
    injection, place = injected_runs.inject(kind, seed), Path(folder)
    if injection.fork and not forked:
        _in_fork(injection.fork, kind, seed, place)
        return
    import torch

    import yolo_nanfix

    torch.set_num_threads(1)
    benchlib.quiet()
    task = injection.spec.task
    data = small_set(place / f"set-{task}", task, n_train=injection.spec.images, n_val=2)
    if injection.files:
        injection.files(data if data.is_dir() else data.parent)
    finite: list[bool] = []

    def look(trainer: Any) -> None:
        finite.append(all(bool(p.isfinite().all()) for p in trainer.model.parameters()))

    with yolo_nanfix.patched():
        found = healthy_runs.run(injection.spec, data, place / "run", {**injection.on, "on_train_end": look})
    summary = place / "run" / "yolo-nanfix.json"
    found["summary"] = json.loads(summary.read_text()) if summary.exists() else None
    found["finite"] = finite[-1] if finite else None
    (place / "result.json").write_text(json.dumps(found))


def _in_fork(fork: tuple[str, str, str, str], kind: str, seed: int, place: Path) -> None:
    import ultralytics

    file, old, new, layout = fork
    site = place / {"folder": "mine", "own root": "repository", "site-packages": "lib/python3/site-packages"}[layout]
    ignored = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(Path(ultralytics.__file__).parent, site / "ultralytics", ignore=ignored)
    if file:
        text = (site / "ultralytics" / file).read_text()
        if old not in text:
            raise RuntimeError(f"{file} of this release does not hold: {old}")
        (site / "ultralytics" / file).write_text(text.replace(old, new, 1))
    root, scripts = benchlib.ROOT, Path(__file__).parent
    paths = [str(site), str(root), str(scripts)] if layout != "own root" else ["", str(root), str(scripts)]
    where = site if layout == "own root" else place
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", FORKED, kind, str(seed), str(place)]
    ended = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)
    if ended.returncode:
        (place / "failed.txt").write_text(ended.stdout + ended.stderr)


def judge(kind: str, seed: int, place: Path) -> tuple[str, list[str]]:
    """The cause that a run's first verdict gave, and what is wrong with the run's end."""
    path = place / "result.json"
    if not path.exists():
        return "none", [f"the run left no result; see {place}"]
    found, injection = json.loads(path.read_text()), injected_runs.inject(kind, seed)
    last = found["error"].strip().splitlines()[-1] if found["error"] else ""
    if found["summary"] is None:
        return "none", [f"no report of the guard: {last}"]
    guard = found["summary"]["guard"]
    wrong = injection.answer.wrong(guard)
    if last and "GuardStop" not in found["error"] and "PoisonedState" not in found["error"]:
        wrong.append(f"ended with {last}")
    if found["finite"] is False:
        wrong.append("the weights end with values that are not finite")
    if guard["dropped_micro_batches"] == guard["micro_batches"] and found["summary"]["healthy"]:
        wrong.append("healthy, although every micro-batch was dropped")
    if guard["verdicts"]:
        return guard["verdicts"][0]["cause"], wrong
    named_in_events = injection.answer.left_out and guard["events"] and not wrong
    return (injection.answer.causes[0].value if named_in_events else "none"), wrong


def confusion(answers: list[tuple[str, str]]) -> str:
    """A table of what was planted (rows) against what the first verdicts say (columns)."""
    counts = Counter(answers)
    names = [name for name in (*(c.value for c in Cause), "none") if any(name in pair for pair in counts)]
    lines = [f"{'planted / verdict':<18}" + "".join(f"{name[:14]:>16}" for name in names)]
    for planted in names:
        cells = "".join(f"{counts[planted, said] or '.':>16}" for said in names)
        lines.append(f"{planted:<18}{cells}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2 * len(injected_runs.KINDS), help="runs (default: two of each kind)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--kind", nargs="+", choices=list(injected_runs.KINDS), help="only these kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the runs in this folder")
    args = parser.parse_args()
    os.environ.setdefault("YOLO_OFFLINE", "1")
    kinds = itertools.cycle(args.kind or injected_runs.KINDS)
    count = 2 * len(args.kind) if args.kind and args.n == parser.get_default("n") else args.n
    work = [(next(kinds), args.seed + number) for number in range(count)]
    answers, wrong = [], 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("YOLO_CONFIG_DIR", folder)
        where = args.keep or Path(folder)
        places = {job: where / f"{job[0]}-{job[1]}" for job in work}
        for place in places.values():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        for job in processes.each(
            [(job, alone, (*job, str(place))) for job, place in places.items()], args.jobs, LIMIT
        ):
            cause, faults = judge(*job, places[job])
            planted = injected_runs.inject(*job).answer.causes
            answers.append((cause if cause in planted else planted[0].value, cause))
            wrong += bool(faults)
            print(f"{job[0]:<24} seed {job[1]:<4} {'exact' if not faults else '; '.join(faults)}", flush=True)
    print(f"\n{benchlib.header()}\nexact: {len(work) - wrong} of {len(work)} ({1 - wrong / len(work):.1%})\n")
    print(confusion(answers))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
