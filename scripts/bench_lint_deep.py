"""The speed of lint's deep tier: bare decoding, whole runs, and cleanvision, in one interleaved run.

    python scripts/bench_lint_deep.py [--images 2000] [--rounds 5] [--peer PYTHON] [--peer-images 300]

The dataset is made here: seeded, textured JPEGs of 640x480, about 95 KiB a file, no two alike. Each works in one thread
of a process of its own; times are CPU seconds, so that other work on the machine counts less. PYTHON is the interpreter
of an environment in which cleanvision is installed; it looks at the first `--peer-images` of the images, for it is
slow. "bare decode" is simplejpeg alone at an eighth of the size, on files in memory: what no check can be faster than.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import benchlib
import cv2
import numpy as np

THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
BARE = """
import glob, simplejpeg
files = sorted(glob.glob({root!r} + "/images/*/*.jpg"))
contents = [open(file, "rb").read() for file in files]
def task():
    for content in contents:
        simplejpeg.decode_jpeg(content, "GRAY", min_height=32, min_width=32, min_factor=1)
"""
OURS = """
import cv2
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.runner import run
cv2.setNumThreads(1)
def task():
    return run({root!r}, options=LintOptions(deep=True), jobs=1, cache=False)
report = task()
said = [len(all_rules()) - len(report.skipped), report.by_code()]
"""
PEER = """
import warnings
warnings.simplefilter("ignore")
from importlib.metadata import version
from cleanvision import Imagelab
files = {files!r}
def look(files):
    lab = Imagelab(filepaths=files)
    lab.find_issues(n_jobs=1, verbose=False)
    return lab
def task():
    look(files)
said = [version("cleanvision"), len(look(files[:20]).list_default_issue_types())]
"""


def make(root: Path, count: int) -> list[str]:
    """A dataset of `count` images, a tenth of them for validation; returns the image files."""
    random = np.random.default_rng(0)
    noise = random.normal(0, 13, (600, 800, 3)).astype(np.float32)
    files = []
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
    for i in range(count):
        shapes = cv2.resize(random.random((12, 16, 3)).astype(np.float32), (640, 480), interpolation=cv2.INTER_CUBIC)
        y, x = (int(v) for v in random.integers(0, (120, 160)))
        pixels = np.clip(shapes * 210 + 20 + noise[y : y + 480, x : x + 640], 0, 255).astype(np.uint8)
        split = "train" if i % 10 else "val"
        file = root / "images" / split / f"{i:05d}.jpg"
        file.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
        (root / "labels" / split / f"{i:05d}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        files.append(str(file))
    (root / "data.yaml").write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [a]\n")
    return files


def measure(root: Path, files: list[str], rounds: int, peer: tuple[str, list[str]] | None) -> None:
    """Ask each in turn, after one round that does not count, and print the medians."""
    weight = sum(Path(file).stat().st_size for file in files) / len(files) / 1024
    print(f"{len(files)} JPEGs of 640x480, {weight:.0f} KiB each; CPU time, one thread")
    ours = benchlib.Apart(OURS.format(root=str(root)))
    tasks = {"yolo-nanfix lint --deep": ours, "bare decode": benchlib.Apart(BARE.format(root=str(root)))}
    images = dict.fromkeys(tasks, len(files))
    if peer is not None:
        python, looked_at = peer
        process = benchlib.Apart(PEER.format(files=looked_at), python)
        name = "cleanvision {}, {} checks".format(*process.said)
        tasks[name], images[name] = process, len(looked_at)
    for task in tasks.values():
        task()
    each: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            each[name].append(task() / images[name])
    for task in tasks.values():
        task.close()
    first, *others = tasks
    for name, spent in each.items():
        print(f"  {name}: {1 / np.median(spent):,.0f} images a second and core (best {1 / min(spent):,.0f})")
    for name in others:
        print("  an image, " + benchlib.ratio(f"{name} / {first}", each[name], each[first]))
    print("  {} rules were asked; findings: {}".format(*ours.said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter of an environment with cleanvision")
    parser.add_argument("--peer-images", type=int, default=300)
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))  # for the processes that are started
    benchlib.quiet()
    print(benchlib.header())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = make(root, args.images)
        measure(root, files, args.rounds, (args.peer, files[: args.peer_images]) if args.peer else None)


if __name__ == "__main__":
    main()
