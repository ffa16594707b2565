"""End lint, handoff and train by SIGTERM, SIGHUP, SIGINT and SIGKILL at random moments, and look at what they leave.

    python scripts/signal_runs.py [--kills 40] [--seed 0] [--only lint handoff train] [--keep FOLDER]

After each: the exit code is as documented, no process is left after two seconds, no byte of the dataset has changed,
every checkpoint loads, every JSON is whole, nothing half-written is there (after SIGKILL: once the next run has
started), and the next run works. A train that had a checkpoint leaves its report and page, too, unless by SIGKILL.
Prints a table; exit code 1 on any miss.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import processes
from make_datasets import make_dataset, plant

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)
WHAT = ("lint", "handoff", "train")
SHARES = {"lint": 0.3, "handoff": 0.3, "train": 0.4}
IMAGES = {"lint": 1200, "handoff": 300, "train": 24}
ORPHANS = 2.0
"""Seconds after which no process of an ended command may be left."""
HANGS = 20.0
"""Seconds after which a command that was asked to end hangs."""
HALF = (".tmp", ".old", ".saving", ".stripping", ".part")
NOT_OURS = ("torchinductor_", "pymp-")
"""What torch and Python leave in the folder for temporary files; torch's cache is there after any end."""


@dataclass
class Place:
    """A dataset and everything that a command writes: all of it lies in one folder."""

    base: Path
    what: str
    data: Path
    before: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0

    def words(self, number: int) -> list[str]:
        """The command line; `number` tells train runs apart."""
        if self.what == "lint":
            form = ["--output-format", "json", "--output-file", str(self.base / "out" / "f.json")]
            return ["lint", str(self.data), "--deep", "--jobs", "2", *form]
        if self.what == "handoff":
            return ["handoff", str(self.data), str(self.base / "out" / "given"), "--to", "coco", "--overwrite"]
        small = ["imgsz=64", "batch=4", "nbs=4", "workers=2", "device=cpu", "plots=False", "pretrained=False"]
        where = [f"project={self.base / 'out'}", f"name=run{number}", "exist_ok=True", "model=yolov8n.yaml", "epochs=3"]
        return ["train", str(self.data), *small, *where]

    def start(self, words: list[str]) -> subprocess.Popen[bytes]:
        """Start a command as the leader of a session of its own."""
        with open(self.base / "log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "yolo_nanfix", *words],
                stdout=log,
                stderr=log,
                env=environment(self.base),
                start_new_session=True,
            )

    def half_written(self) -> list[str]:
        """What is there under a name that only unfinished work has."""
        shared = [path for path in Path("/dev/shm").glob("*") if path.owner() == Path.home().owner()]
        found = [path for folder in ("out", "cache", "tmp") for path in (self.base / folder).rglob("*")]
        odd = [path for path in found if path.suffix in HALF or ".nanfix-" in path.name]
        temporary = [p for p in (self.base / "tmp").iterdir() if not p.name.startswith(NOT_OURS)]
        return [str(path) for path in (*odd, *temporary, *(p for p in shared if p.name.startswith("torch_")))]


def environment(base: Path) -> dict[str, str]:
    """Nothing outside of the folder is written, nothing is fetched."""
    quiet = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    places = {"TMPDIR": base / "tmp", "YOLO_CONFIG_DIR": base / "config", "YOLO_NANFIX_CACHE": base / "cache"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **quiet, **{name: str(at) for name, at in places.items()}, "PYTHONPATH": path}


def make(base: Path, what: str, images: int = 0) -> Place:
    """A dataset with a few faults."""
    for name in ("tmp", "config", "cache", "out"):
        (base / name).mkdir(parents=True)
    images = images or IMAGES[what]
    data = make_dataset(base / "set", n_train=images, n_val=8, size=(64, 64), seed=1)
    if what != "train":
        plant(data.parent, "truncated_jpeg", index=3)
    return Place(base, what, data, content(data.parent))


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset with its bytes, Ultralytics' own label caches aside."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".cache"}


def wanted(sent: signal.Signals) -> int:
    """The exit code that `subprocess` tells."""
    return -sent if sent is signal.SIGKILL else 128 + sent


def end(place: Place, sent: signal.Signals, number: int, moment: float) -> tuple[str, list[str], float]:
    """Start the command, send the signal at a moment (seconds); how it ended, what is wrong, and how long it took."""
    process = place.start(place.words(number))
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(sent)
    began = time.monotonic()
    try:
        code = process.wait(timeout=HANGS)
    except subprocess.TimeoutExpired:
        process.kill()
        return "hung", [f"hangs {HANGS:g} s after {sent.name}"], HANGS
    took = time.monotonic() - began
    wrong = [] if processes.gone(process.pid, ORPHANS) else [f"left alive: {processes.alive(process.pid)}"]
    if code in (0, 1):
        return "ended first", wrong, took
    if code == -sent and sent is not signal.SIGKILL and not (place.base / "log").stat().st_size:
        return "before it began", wrong, took  # Python itself was not up yet, and nothing was said
    if code != wanted(sent):
        tail = (place.base / "log").read_text(errors="replace").strip().splitlines()[-1:]
        wrong.append(f"exit code {code} in place of {wanted(sent)}: {tail}")
    return "ended by it", wrong, took


def look(place: Place, sent: signal.Signals, how: str) -> list[str]:
    """What is wrong with the files that are left."""
    wrong = [] if content(place.data.parent) == place.before else ["the dataset has changed"]
    if sent is not signal.SIGKILL and (half := place.half_written()):
        wrong.append(f"half-written: {half}")
    for path in (place.base / "out").rglob("*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            wrong.append(f"{path} is not whole: {error}")
    if place.what == "train":
        wrong += _run_folders(place, sent, how)
    return wrong


def _run_folders(place: Place, sent: signal.Signals, how: str) -> list[str]:
    from kill_test import defect

    wrong = []
    for run in (place.base / "out").iterdir():
        checkpoints = list((run / "weights").glob("*.pt"))
        wrong += [f"{path}: {problem}" for path in checkpoints if (problem := defect(path))]
        if checkpoints and sent is not signal.SIGKILL and how == "ended by it":
            report = run / "yolo-nanfix.json"
            told = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
            if (told.get("outcome"), told.get("signal")) not in (("interrupted", sent.name), ("finished", None)):
                wrong.append(f"{report} tells {told.get('outcome')} by {told.get('signal')}")
            if not (run / "yolo-nanfix.html").exists():
                wrong.append(f"{run} has no page")
    return wrong


def again(place: Place, number: int) -> list[str]:
    """The next run: it works and clears what a killed one left."""
    words = place.words(number)
    if place.what == "train":
        last = place.base / "out" / f"run{number}" / "weights" / "last.pt"
        state = last.parents[1] / "yolo-nanfix-state.json"
        unfinished = last.exists() and state.exists()
        words = ["train", str(place.data), f"model={last}", "resume=True"] if unfinished else [*words, "epochs=1"]
        words = [word for word in words if word != "epochs=3"]
    process = place.start(words)
    code = process.wait()
    if code not in (0, 1):
        tail = (place.base / "log").read_text(errors="replace").strip().splitlines()[-1:]
        return [f"the next run ends with {code}: {tail}"]
    return [f"after the next run: {half}"] if (half := place.half_written()) else []


def campaign(base: Path, what: str, kills: int, dice: random.Random) -> list[tuple[str, str, str, list[str], float]]:
    """All kills of one command: command, signal, how it ended, what is wrong, seconds from the signal to the end."""
    place = make(base, what)
    for _ in range(2):  # the second time the system has Python's files at hand
        began = time.monotonic()
        place.start(place.words(0)).wait()
        place.seconds = time.monotonic() - began
        for name in ("out", "cache"):
            shutil.rmtree(base / name)
            (base / name).mkdir()
    rows = []
    for number in range(1, kills + 1):
        sent = SIGNALS[number % len(SIGNALS)]
        shutil.rmtree(base / "cache")
        (base / "cache").mkdir()
        how, wrong, took = end(place, sent, number, dice.uniform(0.05, 1.0) * place.seconds)
        wrong += look(place, sent, how)
        wrong += again(place, number)
        rows.append((what, sent.name, how, wrong, took))
        print(f"{what} {number}: {sent.name}, {how}, {took:.1f} s {'; '.join(wrong)}", file=sys.stderr, flush=True)
        if what == "train":
            shutil.rmtree(base / "out")
            (base / "out").mkdir()
    return rows


def main(argv: list[str] | None = None) -> int:
    """Run all kills and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, metavar="N", help="in all (default 40)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default 0)")
    parser.add_argument("--only", nargs="+", choices=WHAT, default=WHAT, help="these commands")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave everything in this folder")
    args = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory(prefix="signal-runs-") as folder:
        base, total = args.keep or Path(folder), sum(SHARES[what] for what in args.only)
        for what in args.only:
            kills = max(1, round(args.kills * SHARES[what] / total))
            rows += campaign(base / what, what, kills, random.Random(f"{args.seed} {what}"))
    print(f"{'command':<10}{'signal':<10}{'kills':>6}{'by it':>7}{'misses':>8}{'slowest end':>13}")
    for what in args.only:
        for sent in SIGNALS:
            some = [row for row in rows if row[:2] == (what, sent.name)]
            ended = Counter(row[2] for row in some)["ended by it"]
            slowest = max((row[4] for row in some if row[2] == "ended by it"), default=0.0)
            misses = sum(bool(row[3]) for row in some)
            print(f"{what:<10}{sent.name:<10}{len(some):>6}{ended:>7}{misses:>8}{slowest:>11.1f} s")
    print(f"{len(rows)} kills, {sum(bool(row[3]) for row in rows)} misses")
    return 1 if any(row[3] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
