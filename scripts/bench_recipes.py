"""Recipes against stock on one set: what each reaches, in how much CPU time, and what a trial would have chosen.

    python scripts/bench_recipes.py data.yaml [--model yolov8n.pt] [--imgsz 128] [--epochs 20] [--seeds 5]
        [--recipes frozen,small] [--trial-minutes 10]

The arms train in turn, each training in a process of its own under the guard; CPU seconds are those of that process.
Of each arm is shown, over the seeds: mAP50-95 after the last epoch, CPU seconds of a training, and the share of stock's
CPU time after which it first reaches what stock ends with (mean over the seeds; `-` where it does not). With
`--trial-minutes` a trial chooses a recipe first, and its cost is printed.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from pathlib import Path

import benchlib

METRIC = "metrics/mAP50-95(B)"


def curve(folder: Path) -> list[float]:
    """mAP50-95 by epoch."""
    with (folder / "run" / "results.csv").open(newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    return [float(row[METRIC]) for row in rows]


def share(values: list[float], seconds: float, goal: float, stock_seconds: float) -> float | None:
    """When a curve first reaches the goal, as a share of stock's CPU time; epochs take equally long."""
    reached = next((number for number, value in enumerate(values, 1) if value >= goal), None)
    return None if reached is None else reached / len(values) * seconds / stock_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="yolov8n.pt")
    parser.add_argument("--imgsz", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipes", default="frozen,small,gradual,far-domain")
    parser.add_argument("--trial-minutes", type=float)
    parser.add_argument("--out", type=Path, help="where the runs are kept (default: a temporary folder)")
    args = parser.parse_args()
    benchlib.quiet()
    print(benchlib.header())
    from yolo_nanfix import api, finetuning
    from yolo_nanfix.finetune.repeats import Repeat, train_once

    given = {"model": args.model, "imgsz": args.imgsz, "batch": 16, "workers": 0, "device": "cpu"}
    names = ["stock", *args.recipes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        out = (args.out or Path(folder)).resolve()
        if args.trial_minutes:
            plan = api.plan(args.data, **given)
            tried = finetuning.trial(plan, args.trial_minutes, recipes=names, out=out / "trial")
            print(f"trial: {tried.ending.value}, {tried.recipe}; best {tried.best}; {tried.seconds:.0f} s of CPU")
        done: dict[str, list[tuple[list[float], float]]] = {name: [] for name in names}
        for seed in range(args.seeds):
            for name in names:
                arguments = {**given, "epochs": args.epochs, "seed": seed}
                repeat = Repeat(name, f"seed{seed}", args.data.resolve(), args.data, arguments, ("--recipe", name))
                trained = train_once(repeat, out / "arms")
                done[name].append((curve(trained.folder), trained.seconds))
        print(f"{args.data}: imgsz {args.imgsz}, {args.epochs} epochs, {args.seeds} seeds")
        for name in names:
            last = [values[-1] for values, _ in done[name]]
            seconds = statistics.mean(spent for _, spent in done[name])
            pairs = zip(done[name], done["stock"], strict=True)
            shares = [share(values, spent, stock[-1], ours) for (values, spent), (stock, ours) in pairs]
            reached = [one for one in shares if one is not None]
            mean = f"{statistics.mean(reached):.2f}" if len(reached) == len(shares) else "-"
            ends = ", ".join(f"{value:.3f}" for value in last)
            print(
                f"  {name:<14} mAP50-95 {statistics.mean(last):.3f} ({ends})  {seconds:.0f} s  reaches stock at {mean}"
            )


if __name__ == "__main__":
    main()
