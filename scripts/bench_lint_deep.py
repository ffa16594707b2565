"""The speed of lint's deep tier: decoding as it is done, whole runs, and cleanvision, in one interleaved run.

    python scripts/bench_lint_deep.py [--images 2000] [--rounds 5] [--peer PYTHON] [--peer-images 300]

The dataset is made here: seeded, textured JPEGs of 640x480, about 95 KiB a file, no two alike. All work in one thread;
times are CPU seconds, so that other work on the machine counts less. PYTHON is the interpreter of an environment in
which cleanvision is installed; it looks at the first `--peer-images` of the images, for it is slow. "bare decode" is
simplejpeg alone at an eighth of the size, on files in memory: what no check can be faster than.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import benchlib
import cv2
import numpy as np
import simplejpeg

from yolo_nanfix.linting.deep import look_all
from yolo_nanfix.linting.options import LintOptions
from yolo_nanfix.linting.rule import all_rules
from yolo_nanfix.linting.runner import run
from yolo_nanfix.linting.stamps import Stamp

THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
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


def decode(files: list[str]) -> None:
    """Header, decode, numbers and hashes of each image, as the deep tier asks for them."""
    for _ in look_all([(file, "jpg", Stamp(Path(file).stat().st_size, 0, 0, 0)) for file in files], 3):
        pass


def bare(contents: list[bytes]) -> None:
    for content in contents:
        simplejpeg.decode_jpeg(content, "GRAY", min_height=32, min_width=32, min_factor=1)


def measure(root: Path, files: list[str], rounds: int, peer: benchlib.Apart | None, peer_images: int) -> None:
    """Ask each in turn, after one round that does not count, and print the medians."""
    contents = [Path(file).read_bytes() for file in files]
    weight = sum(map(len, contents)) / len(files) / 1024
    print(f"{len(files)} JPEGs of 640x480, {weight:.0f} KiB each; CPU time, one thread")
    options = LintOptions(deep=True)
    tasks: dict[str, Callable[[], float]] = {
        "bare decode": lambda: benchlib.cpu(lambda: bare(contents)),
        "deep decode": lambda: benchlib.cpu(lambda: decode(files)),
        "yolo-nanfix lint --deep, whole": lambda: benchlib.cpu(lambda: run(root, options=options, jobs=1, cache=False)),
    }
    for task in tasks.values():
        task()
    images = dict.fromkeys(tasks, len(files))
    if peer is not None:
        name = "cleanvision {}, {} checks".format(*peer.said)
        tasks[name], images[name] = peer, peer_images
    each: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            each[name].append(task() / images[name])
    for name, spent in each.items():
        print(f"  {name}: {1 / np.median(spent):,.0f} images a second and core (best {1 / min(spent):,.0f})")
    for name in [name for name in tasks if name != "deep decode"]:
        print("  an image, " + benchlib.ratio(f"{name} / deep decode", each[name], each["deep decode"]))
    report = run(root, options=options, jobs=1, cache=False)
    asked = len(all_rules()) - len(report.skipped)
    print(f"  {asked} rules were asked; findings: {dict(report.by_code())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter of an environment with cleanvision")
    parser.add_argument("--peer-images", type=int, default=300)
    args = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":  # it is read when numpy is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | dict.fromkeys(THREADS, "1"))
    cv2.setNumThreads(1)
    benchlib.quiet()
    print(benchlib.header())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = make(root, args.images)
        looked_at = files[: args.peer_images]
        peer = benchlib.Apart(PEER.format(files=looked_at), args.peer) if args.peer else None
        try:
            measure(root, files, args.rounds, peer, len(looked_at))
        finally:
            if peer is not None:
                peer.close()


if __name__ == "__main__":
    main()
