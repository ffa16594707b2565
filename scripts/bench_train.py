"""The cost of `yolo-nanfix train` as a whole against stock Ultralytics: start-up, lint, patches, guard, report, page.

    python scripts/bench_train.py DATA_YAML [--rounds 3] [--model yolov8n.yaml] [--epochs 3] [--imgsz 320] [--parts]

Both are commands in processes of their own, taken in turns (stock, ours, ours, stock, ...), each on a fresh copy of the
dataset with empty caches. What is compared is the CPU time of the command and of all its children (loaders). With
`--parts`, one run of ours by itself, and how much of it each part of ours takes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import benchlib
import yaml

STOCK = """
import json, sys
sys.argv = ["yolo", "detect", "train", *json.loads(sys.argv[1])]
if {fix}:  # torchvision does not fit torch here: stock would not train at all
    import yolo_nanfix
    yolo_nanfix.patch("torchvision-operators-missing", guard=False)
from ultralytics.cfg import entrypoint
entrypoint()
"""
OURS = """
import json, sys
from yolo_nanfix.cli.main import main
sys.exit(main(["train", *json.loads(sys.argv[1])]))
"""
PARTS = """
import json, resource, sys
def now():
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in used)
spent = {}
def timed(owner, name, label):
    made = getattr(owner, name)
    def call(*args, **kwargs):
        began, inner = now(), sum(spent.values())
        try:
            return made(*args, **kwargs)
        finally:
            spent[label] = spent.get(label, 0.0) + now() - began - (sum(spent.values()) - inner)
    setattr(owner, name, call)
began = now()
from yolo_nanfix.cli.main import main
from yolo_nanfix import api, pages, run_listener, runs, training
from yolo_nanfix.patching import engine
spent["import yolo_nanfix"] = now() - began
began = now()
import torch
spent["import torch (stock's, too)"] = now() - began
began = now()
import ultralytics, ultralytics.engine.trainer
spent["import ultralytics (stock's, too)"] = now() - began
timed(api, "lint", "lint")
timed(runs, "_show", "pictures of the dataset for the page")
timed(engine, "apply", "patch()")
timed(training, "start", "training, with the guard")
timed(run_listener, "write_report", "report")
timed(pages, "at_the_end", "page of the run")
code = main(["train", *json.loads(sys.argv[1])])
spent["the rest"] = now() - sum(spent.values())
sys.__stderr__.write("PARTS " + json.dumps(spent) + "\\n")
sys.exit(code)
"""


def fits() -> bool:
    """Whether the installed torchvision can be used with the installed torch."""
    code = "import torch, torchvision; torch.ops.torchvision.nms"
    return not subprocess.run([sys.executable, "-c", code], capture_output=True).returncode


def command(code: str, arguments: Sequence[str], folder: Path) -> tuple[float, str]:
    """Run it with caches of its own; CPU seconds, and what it said.

    Raises:
        SystemExit: it failed.
    """
    caches = {name: str(folder / "caches") for name in ("YOLO_CONFIG_DIR", "YOLO_NANFIX_CACHE", "MPLCONFIGDIR")}
    paths = os.pathsep.join([str(benchlib.ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **caches, "PYTHONPATH": paths, "YOLO_AUTOINSTALL": "false"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is compiled is kept, as everywhere
    before = _children()
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(list(arguments))], env=environment, capture_output=True, text=True
    )
    spent = _children() - before
    if done.returncode:
        raise SystemExit(f"it ended with exit code {done.returncode}:\n{done.stdout[-1500:]}{done.stderr[-3000:]}")
    return spent, done.stderr


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def once(arm: str, args: argparse.Namespace) -> tuple[float, str]:
    """One training on a fresh copy of the dataset."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = Path(args.data).resolve().parent
        shutil.copytree(source, folder / "set", ignore=shutil.ignore_patterns("*.cache"))
        data = folder / "set" / Path(args.data).name
        settings: dict[str, Any] = yaml.safe_load(data.read_text())
        data.write_text(yaml.safe_dump({**settings, "path": str(folder / "set")}))
        values = {"model": args.model, "epochs": args.epochs, "imgsz": args.imgsz, "batch": args.batch, "device": "cpu"}
        values |= {"project": folder, "name": "run", "seed": 0, "plots": args.plots, "workers": args.workers}
        texts = [f"{key}={value}" for key, value in values.items()]
        code = {"stock": STOCK.format(fix=not fits()), "ours": OURS, "parts": PARTS}[arm]
        return command(code, [f"data={data}" if arm == "stock" else str(data), *texts], folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA_YAML")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs (default 3)")
    parser.add_argument("--model", default="yolov8n.yaml")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plots", action="store_true", help="let Ultralytics draw its plots, in both")
    parser.add_argument("--parts", action="store_true", help="where the time of one run of ours goes")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("YOLO_OFFLINE", "1")
    if args.parts:
        total, said = once("parts", args)
        (line,) = [row for row in said.splitlines() if row.startswith("PARTS ")]
        print(benchlib.header())
        for name, seconds in json.loads(line.removeprefix("PARTS ")).items():
            print(f"  {name:<40}{seconds:8.2f} s {seconds / total:8.2%}")
        return 0
    spent: dict[str, list[float]] = {"stock": [], "ours": []}
    for number in range(args.rounds):
        for arm in ("stock", "ours") if number % 2 == 0 else ("ours", "stock"):
            spent[arm].append(once(arm, args)[0])
        print(f"round {number + 1}: ours {spent['ours'][-1]:.1f} s, stock {spent['stock'][-1]:.1f} s", flush=True)
    print(benchlib.header())
    print(benchlib.ratio(f"yolo-nanfix train / stock, {args.epochs} epochs", spent["ours"], spent["stock"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
