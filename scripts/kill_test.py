"""Kill a training run with faults in its data again and again, and look at every checkpoint that it leaves.

    python scripts/kill_test.py [--kills 30] [--jobs 2] [--seed 0] [--epochs 12] [--stock]

Each job trains YOLOv8n on a small generated set in which one image has NaN pixels, saves every epoch, and is killed
by SIGKILL: in turn at a random moment, as soon as a file in its weights folder changes, a moment after that, and
while the finished run strips its checkpoints.
After each kill every `.pt` there must load, be finite and not be zeros. The run then goes on from last.pt (or starts
anew without one) and is killed again; the last time it may finish. `--stock` does the same without the guard. Exit
code 1 if a checkpoint was unreadable, not finite or zeroed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from make_datasets import make_dataset, plant

ROOT = Path(__file__).resolve().parents[1]
AIMS = ("any moment", "as a file changes", "just after a change", "at the end")
IMAGES, BATCH = 12, 4
ATTEMPTS = 3
"""How many runs a kill may take: some end by themselves before the moment comes, stock ones by their NaN."""
TRAIN = """
import sys
from pathlib import Path
import torch
import yolo_nanfix
how, data, run, epochs = sys.argv[1:]
torch.set_num_threads(1)
yolo_nanfix.patch(*(["torchvision-operators-missing"] if how == "stock" else []))
from ultralytics import YOLO
last, batches = Path(run) / "weights" / "last.pt", open(Path(run).with_suffix(".batches"), "ab", buffering=0)
done = torch.load(last, weights_only=False)["epoch"] + 1 if last.exists() else 0  # 0 too if it is stripped already
resume = 0 < done < int(epochs)  # Ultralytics refuses to resume a run that is complete
model = YOLO(str(last) if resume else "yolov8n.yaml")
model.add_callback("on_train_batch_end", lambda trainer: batches.write(b"."))
small = {"imgsz": 64, "batch": 4, "nbs": 4, "workers": 0, "device": "cpu", "mosaic": 0.0, "close_mosaic": 0}
float_pixels = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
saving = {"save_period": 1, "plots": False, "pretrained": False, "optimizer": "AdamW", "lr0": 0.001}
place = {"project": str(Path(run).parent), "name": Path(run).name, "exist_ok": True}
if resume:
    model.train(resume=True)
else:
    model.train(data=data, epochs=int(epochs), **small, **float_pixels, **saving, **place)
"""


@dataclass
class Tally:
    """What one job saw: how each attempt ended, and what was wrong with files, by kind."""

    kills: int = 0
    finished: int = 0
    failed: list[str] = field(default_factory=list)
    looked_at: int = 0
    defects: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.kills += other.kills
        self.finished += other.finished
        self.looked_at += other.looked_at
        self.failed += other.failed
        self.defects += other.defects


def environment(folder: Path) -> dict[str, str]:
    """Nothing outside the folder is written, nothing is fetched."""
    quiet = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **quiet, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def defect(path: Path) -> str | None:
    """Why a checkpoint is of no use, or None: unreadable, not finite, or 99 % zeros."""
    import torch

    try:
        saved = torch.load(path, map_location="cpu", weights_only=False)
        weights = (saved.get("ema") or saved["model"]).state_dict()
    except Exception as error:  # whatever a torn file makes torch raise
        return f"unreadable ({type(error).__name__})"
    floating = [v for v in weights.values() if v.is_floating_point()]
    optimizer = (saved["optimizer"] or {}).get("state", {}) if saved.get("optimizer") else {}
    states = [v for state in optimizer.values() for v in state.values() if isinstance(v, torch.Tensor)]
    if not all(bool(v.isfinite().all()) for v in (*floating, *states) if v.is_floating_point()):
        return "not finite"
    zeros = sum(int((v == 0).sum()) for v in floating)
    return "zeroed" if zeros > 0.99 * sum(v.numel() for v in floating) else None


def stamps(weights: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file under the weights folder, hidden ones too."""
    found = {}
    for path in weights.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:  # moved away while we look
            continue
        found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def kill_one(process: subprocess.Popen[bytes], run: Path, aim: str, epochs: int, dice: random.Random) -> bool:
    """Wait for the moment and kill; False if the process ended by itself before."""
    batches, log = run.with_suffix(".batches"), run.with_suffix(".log")
    wanted = dice.randint(1, max(1, epochs * IMAGES // BATCH // 2)) if aim == AIMS[0] else 1
    wait(process, lambda: batches.exists() and batches.stat().st_size >= wanted)
    if aim == AIMS[3]:
        wait(process, lambda: b"epochs completed in" in log.read_bytes(), pause=0.005)
    elif aim != AIMS[0]:
        before = stamps(run / "weights")
        wait(process, lambda: stamps(run / "weights") != before, pause=0.0005)
    until = time.monotonic() + {AIMS[0]: 0.3, AIMS[1]: 0.0, AIMS[2]: 0.05, AIMS[3]: 0.5}[aim] * dice.random()
    wait(process, lambda: time.monotonic() >= until, pause=0.001)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], pause: float = 0.02) -> None:
    """Until it is so, or the process has ended."""
    while process.poll() is None and not ready():
        time.sleep(pause)


def attempt(how: str, data: Path, run: Path, epochs: int) -> subprocess.Popen[bytes]:
    """Start or resume the run."""
    run.with_suffix(".batches").unlink(missing_ok=True)
    words = [sys.executable, "-c", TRAIN, how, str(data), str(run), str(epochs)]
    log = open(run.with_suffix(".log"), "wb")  # noqa: SIM115 - the child keeps it
    with log:
        return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment(run.parent))


def look(run: Path, when: str, tally: Tally) -> None:
    """Check every checkpoint; a defective one is named once and then moved away, so that the next resume can start."""
    for path in sorted((run / "weights").glob("*.pt")):
        tally.looked_at += 1
        if problem := defect(path):
            tally.defects.append(f"{when}: {path.name} {problem}")
            path.unlink()


def job(how: str, folder: Path, kills: int, epochs: int, seed: int) -> Tally:
    """Kill one run `kills` times, resuming in between, and let it finish."""
    dice, tally = random.Random(seed), Tally()
    data = make_dataset(folder / "set", n_train=IMAGES, n_val=4, size=(64, 64), seed=seed)
    plant(data.parent, "nan_pixels", index=5)
    run, aims = folder / "run", dice.sample(AIMS, len(AIMS))
    for number in range(ATTEMPTS * kills):
        if tally.kills == kills:
            break
        process = attempt(how, data, run, epochs)
        aim = aims[number % len(AIMS)]
        if kill_one(process, run, aim, epochs, dice):
            tally.kills += 1
            look(run, f"kill {tally.kills} of job {seed}, {aim}", tally)
        else:
            ended(process, run, tally)
    ended(attempt(how, data, run, epochs), run, tally)
    return tally


def ended(process: subprocess.Popen[bytes], run: Path, tally: Tally) -> None:
    """An attempt that came to its own end: look at what it leaves, then let the next one start anew."""
    if process.wait() == 0:
        tally.finished += 1
    else:
        lines = run.with_suffix(".log").read_text(errors="replace").strip().splitlines()
        tally.failed.append(lines[-1] if lines else f"exit code {process.returncode}")
    look(run, "end of a run", tally)
    shutil.rmtree(run, ignore_errors=True)


def campaign(how: str, kills: int, jobs: int, epochs: int, seed: int) -> Tally:
    """All jobs, side by side."""
    total = Tally()
    shares = [kills // jobs + (i < kills % jobs) for i in range(jobs)]
    with tempfile.TemporaryDirectory(prefix="kill-test-") as folder, ThreadPoolExecutor(jobs) as pool:
        places = [Path(folder) / str(i) for i in range(jobs)]
        for place in places:
            place.mkdir()
        tasks = [
            pool.submit(job, how, place, share, epochs, seed + i)
            for i, (place, share) in enumerate(zip(places, shares, strict=True))
        ]
        for task in tasks:
            total.add(task.result())
    return total


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, metavar="N", help="in all (default 30)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs side by side (default 2)")
    parser.add_argument("--epochs", type=int, default=12, metavar="N", help="of each run (default 12)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of data and moments (default 0)")
    parser.add_argument("--stock", action="store_true", help="the same without patches and guard")
    args = parser.parse_args(argv)
    if min(args.kills, args.jobs, args.epochs) < 1:
        parser.error("--kills, --jobs and --epochs must be at least 1")
    how = "stock" if args.stock else "guarded"
    began = time.monotonic()
    tally = campaign(how, args.kills, min(args.jobs, args.kills), args.epochs, args.seed)
    print(f"{'':<34}{how:>10}")
    rows = {
        "kills (SIGKILL)": tally.kills,
        "runs that came to their end": tally.finished,
        "runs that ended with an error": len(tally.failed),
        "checkpoints looked at": tally.looked_at,
        **{kind: sum(f" {kind}" in d for d in tally.defects) for kind in ("unreadable", "not finite", "zeroed")},
    }
    for name, count in rows.items():
        print(f"{name:<34}{count:>10}")
    print(f"{'seconds':<34}{time.monotonic() - began:>10.0f}")
    for line in (*tally.defects, *(f"ended with: {error}" for error in tally.failed)):
        print(f"  {line}")
    return 1 if tally.defects or tally.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
