"""Record real trainings, healthy and divergent, and replay them through the guard's divergence sensors.

    python scripts/calibrate_divergence.py --weights FOLDER          record what is missing, then replay all
    python scripts/calibrate_divergence.py --replay                  replay what is recorded
    python scripts/calibrate_divergence.py --only "SGD 1" --jobs 2   those runs whose names hold the text

FOLDER holds yolov8n.pt, yolov8n-seg.pt and yolo11n-pose.pt, for the fine-tuned runs. Recordings are kept in --cache (in
the folder of temporary files unless said otherwise), one JSON a run. Prints a row a run: how it ended, its alarms, and
for those that ended as garbage at which optimizer step the first severe alarm came, and how far the weights had moved
from the start by then (as a share of their norm). Exit code 1 if a healthy run raised an alarm of any kind, or a run
that ended as garbage raised no severe one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import divergence_runs as runs
from divergence_runs import Spec

from yolo_nanfix.guard.divergence import Alarm, Divergence

NOTHING = 1e-3
"""Median of the last losses of labelled batches below which a detector's losses count as 0."""
ABSURD = 1e4
"""Validation losses above this are garbage whatever the twin's are."""


@dataclass(frozen=True)
class Replay:
    """What the sensors said of one recording.

    Attributes:
        alarms: how many of each kind, `!` after the severe.
        first: the first severe alarm, or None.
        step: optimizer steps taken when it came.
        moved: distance of the weights from the start then, as a share of their norm.
    """

    alarms: Counter[str]
    first: Alarm | None
    step: int
    moved: float


def replay(events: Sequence[Sequence[Any]], every: int, early: bool = False) -> Replay:
    """Give the events to a fresh `Divergence` in their order.

    Args:
        events: what `Recording` wrote down.
        every: steps between two measurements of the weights.
        early: measure them 5 and 10 steps after the start too.
    """
    sensor, alarms = Divergence(), Counter[str]()
    found: tuple[Alarm | None, int, float] = (None, 0, 0.0)
    step, moved = 0, 0.0
    for event in events:
        if event[0] == "loss":
            alarm = sensor.loss(event[1], event[2])
        elif event[0] == "step":
            step, moved = step + 1, event[2]
            alarm = sensor.step(event[1])
        else:
            measured = event[3] == every or (early and event[3] == step)
            alarm = sensor.ratio(event[4], 1.0, event[3]) if measured else None
        if alarm:
            alarms[alarm.kind + "!" * alarm.severe] += 1
            if alarm.severe and found[0] is None:
                found = alarm, step, moved
    return Replay(alarms, *found)


def garbage(recorded: dict[str, Any], twin: dict[str, Any] | None, strict: bool) -> str:
    """Why the run's end is garbage, or an empty text.

    Args:
        recorded: the run.
        twin: the healthy run beside it.
        strict: a mAP of 0 where the twin learns is garbage too. Not for a sweep: its runs are short, and a learning
            rate at the edge learns late (AdamW 0.01: mAP50 0.08 after 60 steps, 0.98 after 160).
    """
    losses = [e[1] for e in recorded["events"] if e[0] == "loss" and e[2] > 0][-8:]
    validation = {k: v for k, v in recorded["metrics"].items() if k.startswith("val/")}
    if not all(map(math.isfinite, losses)) or statistics.median(losses) < NOTHING:
        return "loss 0"
    if any(not abs(v) < ABSURD for v in validation.values()):
        return f"val loss {max(validation.values()):.2g}"
    if strict and quality(recorded) < 0.05 and twin is not None and quality(twin) >= 0.3:
        return f"mAP {quality(recorded):.2f}, twin {quality(twin):.2f}"
    return ""


def quality(recorded: dict[str, Any]) -> float:
    """mAP50 of the boxes at the end; a classifier's top 1 accuracy beyond chance."""
    metrics = recorded["metrics"]
    if "metrics/accuracy_top1" in metrics:
        return 2 * max(0.0, metrics["metrics/accuracy_top1"] - 0.5)
    return float(metrics.get("metrics/mAP50(B)", 0.0))


def twin(spec: Spec, specs: Sequence[Spec]) -> Spec | None:
    """The healthy run of the same task, start and optimizer."""

    def key(s: Spec) -> tuple[Any, ...]:
        return s.task, s.arguments.get("model"), s.arguments["optimizer"]

    return next((s for s in specs if s.expect == "healthy" and key(s) == key(spec)), None)


def place(cache: Path, spec: Spec) -> Path:
    """The file of a recording; another one as soon as anything of the run is changed."""
    return cache / "recordings" / f"{hashlib.sha256(repr(spec).encode()).hexdigest()[:16]}.json"


def _record(cache: Path, spec: Spec, weights: Path) -> str:
    runs.write(place(cache, spec), runs.record(cache, spec, weights))
    return spec.name


def record(cache: Path, specs: Sequence[Spec], weights: Path, jobs: int) -> None:
    """Train what has no recording yet."""
    missing = [s for s in specs if not place(cache, s).exists()]
    for spec in missing:
        runs.dataset(cache / "data", spec)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        work = [pool.submit(_record, cache, spec, weights) for spec in missing]
        for done, job in enumerate(as_completed(work), 1):
            print(f"  {done} of {len(missing)}: {job.result()}", file=sys.stderr)


def row(spec: Spec, recorded: dict[str, Any], result: Replay, why: str) -> str:
    """One line of the table."""
    names = ", ".join(f"{kind} x{count}" for kind, count in sorted(result.alarms.items())) or "-"
    steps = sum(e[0] == "step" for e in recorded["events"])
    found = f"step {result.step}, moved {result.moved:.2g}" if result.first else "-"
    end = why or (f"learns {quality(recorded):.2f}" if spec.expect != "divergent" else f"mAP {quality(recorded):.2f}")
    return f"| {spec.name} | {spec.expect} | {steps} | {end} | {found} | {names} |"


def report(cache: Path, specs: Sequence[Spec], every: int, early: bool) -> int:
    """Print the table and the sums; the exit code."""
    recorded = {s.name: json.loads(place(cache, s).read_text()) for s in specs if place(cache, s).exists()}
    print("| run | meant | steps | end | first severe alarm | alarms |\n|---|---|---|---|---|---|")
    wrong, late, counts = [], [], Counter[str]()
    for spec in specs:
        if spec.name not in recorded:
            continue
        run, other = recorded[spec.name], twin(spec, specs)
        result = replay(run["events"], every, early)
        why = garbage(run, recorded.get(other.name) if other else None, spec.expect == "divergent")
        print(row(spec, run, result, why))
        counts["garbage" if why else spec.expect] += 1
        if spec.expect == "healthy" and result.alarms:
            wrong.append(f"false alarm: {spec.name}")
        if why and result.first is None:
            wrong.append(f"missed: {spec.name}")
        if why and result.first is not None:
            late.append(result.step)
    schedule = f"every {every} steps" + (", and 5 and 10 steps after the start" if early else "")
    print(f"\n{len(recorded)} of {len(specs)} runs recorded; {dict(counts)}; weights measured {schedule}")
    if late:
        print(f"first severe alarm of the garbage: median step {statistics.median(late):g}, latest {max(late)}")
    print("\n".join(wrong) or "no false alarm, nothing missed")
    return 1 if wrong else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Record and replay; 2 when nothing matches."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="folder of the pretrained weights", metavar="FOLDER")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "yolo-nanfix-divergence")
    parser.add_argument("--only", default="", help="runs whose names hold this text", metavar="TEXT")
    parser.add_argument("--replay", action="store_true", help="train nothing")
    parser.add_argument("--every", type=int, choices=runs.SNAPSHOTS, default=50, help="steps between two measurements")
    parser.add_argument("--early", action="store_true", help="measure also 5 and 10 steps after the start")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time (default 1)")
    arguments = parser.parse_args(argv)
    specs = [s for s in runs.grid() if arguments.only in s.name]
    if not specs or not (arguments.replay or arguments.weights):
        print("error: no run matches, or neither --weights nor --replay was given", file=sys.stderr)
        return 2
    if not arguments.replay:
        record(arguments.cache.resolve(), specs, arguments.weights.resolve(), arguments.jobs)
    return report(arguments.cache.resolve(), specs, arguments.every, arguments.early)


if __name__ == "__main__":
    sys.exit(main())
