"""The speed of lint: against Ultralytics' own scan and, where it is installed, panlabel, in one interleaved run.

    python scripts/bench_lint.py [--images 2000] [--rounds 7] [--again 100000] [--profile]

The dataset is made here: textured JPEGs of 640x480 with 15 boxes each, about 95 KiB a file. Every tool reads it with
one thread, in a process of its own; times are CPU seconds of that process, so that other work on the machine counts
less. In each turn a tool is asked as often as takes half a second. What Python takes to start and to import is not
counted; panlabel, a program, is started anew each time.

`--again` makes a second set of small images and lints it a second time, with nothing and with one file changed; each of
these runs is a process of its own, start included. Ultralytics, whose work grows with the number of images, is given
10 000 such images. `bench_lint_deep.py` measures the deep tier.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import benchlib
import cv2
import numpy as np

for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = "1"
os.environ |= {"YOLO_VERBOSE": "False", "YOLO_OFFLINE": "1"}
BOXES = 15
TURN = 0.5
"""CPU seconds that a tool works before it is the next one's turn: a fast one is asked several times."""


def make(root: Path, count: int, size: tuple[int, int], quality: int) -> Path:
    """A dataset of `count` textured images of (height, width), a tenth of them for validation; every file differs."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.6), None, 0, 255, cv2.NORM_MINMAX)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
    shifted = [np.roll(texture, (7 * k, 11 * k), (0, 1)) for k in range(32)]
    files = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for image in shifted]
    for i in range(count):
        split = "train" if i % 10 else "val"
        data = files[i % 32]
        comment = b"\xff\xfe\x00\x0a" + b"%08d" % i  # a comment of 8 bytes: each file is one of its own
        (root / "images" / split / f"{i:06d}.jpg").write_bytes(data[:2] + comment + data[2:])
        boxes = np.concatenate([random.uniform(0.2, 0.8, (BOXES, 2)), random.uniform(0.05, 0.3, (BOXES, 2))], axis=1)
        rows = (f"{k % 3} " + " ".join(f"{v:.6f}" for v in box) for k, box in enumerate(boxes))
        (root / "labels" / split / f"{i:06d}.txt").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [a, b, c]\n")
    return root


OURS = """
from yolo_nanfix.linting.runner import run
def task():
    run({data!r}, jobs=1, cache=False)
"""
STOCK = """
from pathlib import Path
from ultralytics.data import dataset
from ultralytics.data.utils import check_det_dataset
dataset.NUM_THREADS = 1
data = check_det_dataset({data!r})
def task():
    for cache in Path({data!r}).parent.joinpath("labels").glob("*.cache"):
        cache.unlink()
    for split in ("train", "val"):
        dataset.YOLODataset(data[split], data=data, task="detect", imgsz=640)
"""


def panlabel(root: Path) -> Callable[[], float] | None:
    program = shutil.which("panlabel")
    if program is None:
        return None
    command = [program, "validate", "--format", "yolo", str(root)]
    return lambda: benchlib.cpu(lambda: subprocess.run(command, capture_output=True))


def turn(task: Callable[[], float]) -> float:
    """The mean of as many tries as take half a second."""
    tries: list[float] = []
    while sum(tries) < TURN:
        tries.append(task())
    return sum(tries) / len(tries)


def cold(folder: Path, count: int, rounds: int, profile: bool) -> None:
    root = make(folder / "cold", count, (480, 640), 77)
    weight = sum(f.stat().st_size for f in (root / "images").rglob("*.jpg")) / count / 1024
    print(f"{count} JPEGs of 640x480, {weight:.0f} KiB and {BOXES} boxes each; CPU time, one process")
    data = str(root / "data.yaml")
    apart = {
        "yolo-nanfix": benchlib.Apart(OURS.format(data=data)),
        "Ultralytics": benchlib.Apart(STOCK.format(data=data)),
    }
    tasks: dict[str, Callable[[], float]] = dict(apart)
    if (peer := panlabel(root)) is not None:
        tasks["panlabel"] = peer
    for task in tasks.values():
        task()  # imports, and the files in the page cache
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            times[name].append(turn(task))
    for process in apart.values():
        process.close()
    for name, spent in times.items():
        print(f"  {name}: {count / np.median(spent):,.0f} images a second and core (best {count / min(spent):,.0f})")
        if name != "yolo-nanfix":
            print("  " + benchlib.ratio(f"{name} / yolo-nanfix", spent, times["yolo-nanfix"]))
    if profile:
        show_profile(data)


def show_profile(data: str) -> None:
    """Where our time goes."""
    from yolo_nanfix.linting.runner import run

    run(data, jobs=1, cache=False)
    watch = cProfile.Profile()
    watch.runcall(run, data, jobs=1, cache=False)
    pstats.Stats(watch).sort_stats("tottime").print_stats(25)


AGAIN = "from yolo_nanfix.linting.runner import run; run({data!r})"
STOCK_AGAIN = """
from ultralytics.data import dataset
from ultralytics.data.utils import check_det_dataset
data = check_det_dataset({data!r})
for split in ("train", "val"):
    dataset.YOLODataset(data[split], data=data, task="detect", imgsz=640)
"""


STOCK_IMAGES = 10_000


def small(root: Path, count: int) -> tuple[str, Path]:
    """A dataset of small images: its data.yaml, and one of its label files."""
    made = make(root, count, (48, 64), 90)
    return str(made / "data.yaml"), min((made / "labels" / "train").iterdir())


def again(folder: Path, count: int, rounds: int) -> None:
    data, faulty = small(folder / "again", count)
    fewer = min(count, STOCK_IMAGES)
    stock_data, stock_faulty = small(folder / "stock", fewer)
    environment = {**os.environ, "YOLO_NANFIX_CACHE": str(folder / "cache")}

    def process(code: str, data: str) -> tuple[float, float]:
        command = [sys.executable, "-c", code.format(data=data)]
        began = time.perf_counter()
        used = benchlib.cpu(lambda: subprocess.run(command, env=environment, check=True))
        return time.perf_counter() - began, used

    print(f"{count} images, linted again; whole processes")
    kinds = {
        "yolo-nanfix, nothing changed": (AGAIN, data, None),
        "yolo-nanfix, one label file changed": (AGAIN, data, faulty),
        f"Ultralytics, {fewer} images, nothing changed": (STOCK_AGAIN, stock_data, None),
        f"Ultralytics, {fewer} images, one label file changed": (STOCK_AGAIN, stock_data, stock_faulty),
    }
    for code, where in ((AGAIN, data), (STOCK_AGAIN, stock_data)):
        process(code, where)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for turn in range(rounds):
        for name, (code, where, changed) in kinds.items():
            if changed is not None:
                changed.write_text(f"0 0.5 0.5 0.2 {0.1 + turn / 100:.2f}\n" * (2 + turn))
            spent[name].append(process(code, where))
    for name, pairs in spent.items():
        wall, used = np.median(pairs, axis=0)
        print(f"  {name}: {wall:.2f} s (best {min(w for w, _ in pairs):.2f} s), {used:.2f} s of CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--again", type=int, default=0, metavar="N", help="images of the second set (default: none)")
    parser.add_argument("--profile", action="store_true", help="where the rest of our time goes")
    args = parser.parse_args()
    benchlib.quiet()
    print(benchlib.header())
    with tempfile.TemporaryDirectory() as folder:
        cold(Path(folder), args.images, args.rounds, args.profile)
        if args.again:
            again(Path(folder), args.again, max(1, args.rounds // 2))


if __name__ == "__main__":
    main()
