"""Train on two and three processes with faults on some of them, and with some stopped, killed or hung: what is told?

    python scripts/ddp_runs.py [--jobs 2] [--only NAME ...]

Each case is one `yolo-nanfix train` on CPU processes over gloo (`cpu_ddp`). Cases of `FAULTS` go on after a fault on
one or several ranks in one step, which must be one event that names every rank, its images and cause, and cost one
micro-batch. Cases of `LOSSES` lose a rank, and must end in time with an error that names it, exit code 1, a report
that says so, and no process left. `healthy` must be bit for bit what it is without us. Prints a table; exit code 1
if anything is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EACH, BATCH = 8, 2
"""Images and batch size of each rank."""
LIMIT = 900
"""Seconds after which a run hangs."""
LEFT = 60
"""Seconds for processes to be gone after the command is."""
TRAIN = """
import sys
import cpu_ddp
from ultralytics.models.yolo import detect
detect.DetectionTrainer = cpu_ddp.CpuDdpTrainer
from yolo_nanfix.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
STOCK = """
import sys
import cpu_ddp
from ultralytics import YOLO
data, model, *pairs = sys.argv[1:]
YOLO(model, task="detect").train(trainer=cpu_ddp.CpuDdpTrainer, data=data, **cpu_ddp.arguments(pairs))
"""
SMALL = (
    *("imgsz=64", "workers=0", "plots=False", "pretrained=False", "optimizer=SGD", "lr0=0.01", "warmup_epochs=0"),
    *("mosaic=0.0", "close_mosaic=0", "hsv_h=0.0", "hsv_s=0.0", "hsv_v=0.0", "seed=0", "exist_ok=True"),
)


@dataclass(frozen=True)
class Fault:
    """Ranks that meet a fault in one step, and what is told of it.

    Attributes:
        plant: RANK:BATCH:KIND, apart by `;`.
        ranks: that the event must name.
        images: how many images must be suspected.
        causes: of the ranks, in their order.
        world, nbs: processes; nominal batch size, for accumulation.
        files: ranks whose image in batch 1 has NaN pixels on disk.
        dropped: micro-batches that it costs; none where only validation has it, which then is told once for each check.
    """

    plant: str
    ranks: tuple[int, ...]
    images: int
    causes: tuple[str, ...]
    world: int = 2
    nbs: int = 4
    files: tuple[int, ...] = ()
    dropped: int = 1


@dataclass(frozen=True)
class Loss:
    """How a run loses a rank, and what is told of it.

    Attributes:
        plant: as of `Fault`.
        lost: rank and how, as the report has it; none where the run is interrupted.
        send: a signal to the command itself, once it trains.
        world: processes.
        code: exit code.
        outcome: that the report gives.
        options: of the command.
    """

    plant: str
    lost: tuple[int, str] | None
    send: int = 0
    world: int = 2
    code: int = 1
    outcome: str = "stopped"
    options: tuple[str, ...] = ("--rank-timeout", "20", "--step-timeout", "30")


TWO, THREE = "0:1:{0};1:1:{1}", "0:1:{0};1:1:{1};2:1:{2}"
CODE = "definition"
FAULTS = {
    "bad image each": Fault("", (0, 1), 2, ("data", "data"), files=(0, 1)),
    "bad image each, three": Fault("", (0, 1, 2), 3, ("data",) * 3, world=3, nbs=6, files=(0, 1, 2)),
    "pixels each": Fault(TWO.format("pixel", "pixel"), (0, 1), 2, (CODE, CODE)),
    "pixels and box": Fault(TWO.format("box", "pixel"), (0, 1), 2, (CODE, CODE)),
    "image on disk and box": Fault("0:1:box", (0, 1), 2, (CODE, "data"), files=(1,)),
    "loss and gradient": Fault(TWO.format("pixel", "backward"), (0, 1), 1, (CODE, CODE)),
    "gradient each": Fault(TWO.format("backward", "backward"), (0, 1), 0, (CODE, CODE)),
    "three kinds": Fault(THREE.format("pixel", "backward", "box"), (0, 1, 2), 2, (CODE,) * 3, world=3, nbs=6),
    "one of three": Fault("1:1:pixel", (1,), 1, (CODE,), world=3, nbs=6),
    "last window": Fault("0:3:pixel;1:3:pixel", (0, 1), 2, (CODE, CODE), nbs=16),
    "validation": Fault("0:0:val;1:0:val", (0, 1), 2, ("", ""), dropped=0),
}
STOPS = {
    "killed": Loss("1:2:kill", (1, "gone")),
    "first killed": Loss("0:2:kill", (0, "gone")),
    "killed of three": Loss("1:2:kill", (1, "gone"), world=3),
    "stopped": Loss("1:2:stop", (1, "suspended")),
    "first stopped": Loss("0:2:stop", (0, "suspended")),
    "hung": Loss("1:2:hang", (1, "hung")),
    "first hung": Loss("0:2:hang", (0, "hung")),
    "exception": Loss("1:2:graphless", (1, "raised")),
    "exception of the first": Loss("0:2:graphless", (0, "raised"), outcome="failed"),
    "exception, three": Loss("2:2:graphless", (2, "raised"), world=3),
    "too many faults": Loss("0:0:pixel;1:1:pixel", None, options=("--max-bad-in-a-row", "2")),
    "killed in epoch 2": Loss("1:5:kill", (1, "gone")),
}
SIGNALS = {
    "command: SIGTERM": Loss("1:3:hang", None, send=signal.SIGTERM, code=143, outcome="interrupted"),
    "command: SIGINT": Loss("1:3:hang", None, send=signal.SIGINT, code=130, outcome="interrupted"),
    "command: SIGKILL": Loss("1:3:hang", None, send=signal.SIGKILL, code=-9, outcome="interrupted"),
}
LOSSES = {**STOPS, **SIGNALS}


@dataclass
class Ran:
    """How one run went: what is wrong, the report, what each rank came to, and the seconds it took."""

    wrong: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    ranks: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    told: str = ""


def dataset(folder: Path, world: int, files: tuple[int, ...]) -> Path:
    """A small set; the image that some ranks see first in their second batch has NaN pixels beside it."""
    import numpy as np
    import torch
    from make_datasets import make_dataset

    data = make_dataset(folder, n_train=EACH * world, n_val=4, size=(64, 64), seed=1)
    order = torch.randperm(EACH * world, generator=torch.Generator().manual_seed(0)).tolist()  # of epoch 1
    images = sorted((folder / "images" / "train").glob("*.jpg"))
    for rank in files:
        pixels = np.full((64, 64, 3), 100, np.float32)
        pixels[28:36, 28:36] = np.nan
        np.save(images[order[rank::world][BATCH]].with_suffix(".npy"), pixels)
    return Path(data)


def command(data: Path, folder: Path, world: int, nbs: int, *, stock: bool, limits: tuple[str, ...]) -> list[str]:
    """The command line of one run."""
    model = str(ROOT / "tests" / "tiny.yaml")
    pairs = (*SMALL, f"batch={BATCH * world}", f"nbs={nbs}", "epochs=2", f"project={folder}", "name=run")
    if stock:
        return [sys.executable, "-c", STOCK, str(data), model, *pairs]
    words = ("train", str(data), f"model={model}", *pairs, "--on-fatal", "ignore", *limits)
    return [sys.executable, "-c", TRAIN, *words]


def environment(folder: Path, world: int, plant: str) -> dict[str, str]:
    """Nothing outside the folder is written, nothing is fetched."""
    paths = [str(ROOT / "scripts"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    planted = {"DDP_WORLD": str(world), "DDP_REPORT": str(folder), "DDP_FAULT": plant}
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return {**kept, **quiet, **planted, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}


def train(
    folder: Path, world: int, nbs: int, plant: str = "", files: tuple[int, ...] = (), send: int = 0,
    *, stock: bool = False, limits: tuple[str, ...] = (),
) -> tuple[int, Ran]:  # fmt: skip
    """One run: its exit code, and what it left."""
    data = dataset(folder / "set", world, files)
    words, ran, began = command(data, folder, world, nbs, stock=stock, limits=limits), Ran(), time.monotonic()
    with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        process = subprocess.Popen(words, stdout=out, stderr=err, env=environment(folder, world, plant), cwd=folder)
        try:
            if send:
                while process.poll() is None and not (folder / "0.json").exists():
                    time.sleep(0.1)
                time.sleep(3)
                process.send_signal(send)
            code = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            ran.wrong.append(f"hangs for {LIMIT} s")
            process.kill()
            code = process.wait()
    ran.seconds = time.monotonic() - began
    ran.told = "\0".join((folder / name).read_text(errors="replace") for name in ("err", "out"))
    if left := still_there(folder):
        ran.wrong.append(f"{len(left)} processes left")
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    report = folder / "run" / "yolo-nanfix.json"
    ran.summary = json.loads(report.read_text()) if report.is_file() else {}
    ran.ranks = [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9].json"))]
    return code, ran


def still_there(folder: Path) -> list[int]:
    """Processes of a run that outlive its command, after some time to end."""
    until = time.monotonic() + LEFT
    while (left := living(folder)) and time.monotonic() < until:
        time.sleep(0.5)
    return left


def living(folder: Path) -> list[int]:
    """Processes in whose command line a folder stands."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


def judge_fault(case: Fault, folder: Path) -> Ran:
    """Run a case of `FAULTS`, and say what is wrong with it."""
    code, ran = train(folder, case.world, case.nbs, case.plant, case.files)
    wrong = ran.wrong
    if code or not ran.summary:
        wrong.append(f"exit code {code}")
        return ran
    guard = ran.summary["guard"]
    events = [event for event in guard["events"] if event["epoch"] == 1]
    if len({tuple(event["checks"]) for event in events}) != len(events) or (case.dropped and len(events) != 1):
        wrong.append(f"{len(events)} events, not one")
    if not events:
        wrong.append("no event")
        return ran
    parts = events[0]["ranks"]
    if tuple(part["rank"] for part in parts) != case.ranks:
        wrong.append(f"names ranks {[part['rank'] for part in parts]}")
    if sum(len(part["images"]) for part in parts) != case.images:
        wrong.append(f"names {sum(len(part['images']) for part in parts)} images, not {case.images}")
    if tuple(part["cause"] for part in parts) != case.causes:
        wrong.append(f"causes {', '.join(part['cause'] or 'none' for part in parts)}")
    there = {path.name for path in (folder / "run" / "incidents").glob("*")}
    if case.dropped and not all(
        part["incident"] in there and f"-rank{part['rank']}." in part["incident"] for part in parts
    ):
        wrong.append("incident files")
    epochs = 2 if case.files else 1  # what is on disk comes again
    if not len(case.files) <= guard["dropped_micro_batches"] <= epochs * max(1, len(case.files)) and case.files:
        wrong.append(f"{guard['dropped_micro_batches']} dropped")
    if not case.files and guard["dropped_micro_batches"] != case.dropped:
        wrong.append(f"{guard['dropped_micro_batches']} dropped, not {case.dropped}")
    page = (folder / "run" / "yolo-nanfix.html").read_text(encoding="utf-8")
    for rank in case.ranks:
        if f"rank {rank}: " not in page or f"rank {rank}: " not in ran.told:
            wrong.append(f"page or terminal do not name rank {rank}")
    same(ran)
    return ran


def same(ran: Ran) -> None:
    """All ranks must have come to the same finite weights."""
    if len({rank["sum"] for rank in ran.ranks}) != 1 or not all(rank["finite"] for rank in ran.ranks):
        ran.wrong.append("weights differ or are not finite")


def judge_loss(case: Loss, folder: Path) -> Ran:
    """Run a case of `LOSSES`, and say what is wrong with it."""
    limits = case.options if not case.send else ()
    code, ran = train(folder, case.world, 4, case.plant, send=case.send, limits=limits)
    wrong, summary = ran.wrong, ran.summary
    if code != case.code:
        wrong.append(f"exit code {code}, not {case.code}")
    if not summary:
        wrong.append("no report")
        return ran
    if summary["state"] != "failed" or summary["outcome"] != case.outcome:
        wrong.append(f"{summary['outcome']}, {summary['state']}")
    lost = [(one["rank"], one["how"]) for one in summary["ranks"]["lost"]]
    if lost != ([case.lost] if case.lost else []):
        wrong.append(f"lost {lost}")
    last = [stream.rpartition("yolo-nanfix")[2] for stream in ran.told.split("\0")]
    if case.lost and not any(f"rank {case.lost[0]} " in words for words in last):
        wrong.append("the last words do not name the rank")
    if not (folder / "run" / "yolo-nanfix.html").is_file():
        wrong.append("no page")
    return ran


def judge_healthy(folder: Path) -> Ran:
    """Without faults: bit for bit what it is without us, and no collective of ours."""
    (folder / "stock").mkdir()
    (folder / "ours").mkdir()
    code, stock = train(folder / "stock", 2, 4, stock=True)
    other, ran = train(folder / "ours", 2, 4)
    if code or other:
        ran.wrong.append(f"exit codes {code}, {other}")
        return ran
    if [rank["sum"] for rank in stock.ranks] != [rank["sum"] for rank in ran.ranks]:
        ran.wrong.append("weights are not stock's")
    if any(rank["gathered"] for rank in ran.ranks) or ran.summary["guard"]["events"]:
        ran.wrong.append("collectives or events")
    same(ran)
    return ran


def run(name: str, keep: Path | None) -> tuple[str, Ran]:
    """One case in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="ddp-", dir=keep))
    try:
        if name in FAULTS:
            return name, judge_fault(FAULTS[name], folder)
        return name, judge_loss(LOSSES[name], folder) if name in LOSSES else judge_healthy(folder)
    except Exception as error:
        return name, Ran([f"{type(error).__name__}: {error}"])
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--only", nargs="+", help="these cases alone")
    parser.add_argument("--keep", type=Path, help="keep the folders of the runs below this one")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind `&`, and then in the runs, too
    names = args.only or ["healthy", *FAULTS, *LOSSES]
    bad = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for name, ran in pool.map(lambda name: run(name, args.keep), names):
            bad += bool(ran.wrong)
            told = "; ".join(ran.wrong) or "as it must be"
            print(f"{name:<26} {ran.seconds:6.1f} s  {told}", flush=True)
    print(f"{len(names)} runs, {bad} not as they must be")
    return 1 if bad or not names else 0


if __name__ == "__main__":
    sys.exit(main())
