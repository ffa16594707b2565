"""What lint takes for files that are made to take all memory or time there is.

python scripts/lint_bounds.py [--only NAME ...] [--folder DIR] [--large]

Prints one line for each kind: exit code, CPU seconds, wall seconds, the most resident memory of all its processes
together, and the codes or the error that say so. Exits with 1 if one takes 1.5 GB or more, more than 60 CPU seconds, or
ends otherwise than with 0, 1 or 2. `--large` adds those that take minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

LIMIT_MB, LIMIT_SECONDS, WAIT = 1500, 60, 300
LABEL = "labels/train/0.txt"
YAML = "train: images/train\nval: images/val\nnames: [a, b]\n"


def healthy(root: Path) -> None:
    """Three images a split."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(i + 10 * (split == "val")).integers(0, 255, (64, 64, 3)).astype(np.uint8)
            cv2.imwrite(str(root / f"images/{split}/{i}.jpg"), pixels)
            (root / f"labels/{split}/{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text(YAML)


def label(text: str) -> Callable[[Path], None]:
    return lambda root: (root / LABEL).write_text(text) and None


def data(text: str) -> Callable[[Path], None]:
    return lambda root: (root / "data.yaml").write_text(text) and None


def aliases(root: Path) -> None:
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    levels = "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairs)
    (root / "data.yaml").write_text(f"a: &a [x,x,x,x,x,x,x,x,x]\n{levels}train: *i\n")


def listed(root: Path) -> None:
    with open(root / "train.txt", "w") as stream:
        for _ in range(105):
            stream.write("./images/train/0.jpg\n" * 100_000)
    (root / "data.yaml").write_text(YAML.replace("images/train", "train.txt"))


def boxes(count: int) -> str:
    values = np.random.default_rng(0).uniform(0.1, 0.4, (count, 4)).round(4)
    return "".join(f"0 {x + 0.2:g} {y + 0.2:g} {w:g} {h:g}\n" for x, y, w, h in values.tolist())


def star(corners: int) -> str:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    reach = 0.4 * (1 + 0.1 * np.sin(999 * angle))
    points = np.column_stack([0.5 + reach * np.cos(angle), 0.5 + reach * np.sin(angle)]).ravel()
    return "0 " + " ".join(f"{value:.3f}" for value in points) + "\n"


def picture(name: str, content: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / "images/train" / name).write_bytes(content)
        (root / "labels/train" / name).with_suffix(".txt").write_text("0 0.5 0.5 0.2 0.2\n")

    return change


def png(side: int, bits: int, *, whole: bool) -> bytes:
    """A PNG whose header says so many pixels a side; with all of them, or with none."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packer, row = zlib.compressobj(9), bytes(1 + side * 3 * bits // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side if whole else 0)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def array(root: Path) -> None:
    """A .npy of 120 GB, most of them a hole."""
    said = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 100000, 3), }".ljust(117) + b"\n"
    with open(root / "images/train/0.npy", "wb") as stream:
        stream.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(said)) + said)
        stream.truncate(128 + 12 * 10**10)


def coco(count: int) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with open(root / "coco.json", "w") as stream:
            images = json.dumps([{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(9999)])
            stream.write(f'{{"images": {images}, "categories": [{{"id": 1, "name": "a"}}], "annotations": [')
            for i in range(count):
                box = [round(i % 599 + 0.37, 2), round(i % 433 + 0.59, 2), 21.37, 33.21]
                entry = {"id": i + 1, "image_id": i % 9999, "category_id": 1, "bbox": box, "iscrowd": 0}
                stream.write(json.dumps(entry) + ("," if i < count - 1 else "]}"))

    return change


def padded(root: Path) -> None:
    """One of 600 MB, most of them a hole."""
    with open(root / "coco.json", "wb") as stream:
        stream.write(b'{"images": [], "annotations": [], "categories": []}')
        stream.truncate(600 << 20)


def outlines(images: int, megabytes: int) -> Callable[[Path], None]:
    """COCO with outlines of 25 corners, as its own instances_train2017.json has them, which has 450 MB."""

    def change(root: Path) -> None:
        angle = np.linspace(0, 2 * np.pi, 25, endpoint=False)
        with open(root / "coco.json", "w") as stream:
            known = json.dumps([{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(images)])
            stream.write(f'{{"images": {known}, "categories": [{{"id": 1, "name": "a"}}], "annotations": [')
            for i in range(megabytes * 2**20 // 470):
                reach, x, y = 20 + 20 * np.random.default_rng(i).random(25), 60 + i % 499, 60 + i % 347
                points = np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)]).round(2)
                low, side = points.min(axis=0), np.ptp(points, axis=0)
                entry = {"segmentation": [points.ravel().tolist()], "area": float(side.prod()), "iscrowd": 0}
                entry |= {"image_id": i % images, "bbox": [*low.tolist(), *side.round(2).tolist()], "category_id": 1}
                stream.write(("," if i else "") + json.dumps(entry | {"id": i + 1}))
            stream.write("]}")

    return change


def special(name: str, target: str | None) -> Callable[[Path], None]:
    """A link to a device or a file of the system, or a pipe, in the place of a file."""

    def change(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        if target is None:
            os.mkfifo(root / name)
        else:
            (root / name).symlink_to(target)
        if name == "train.txt":
            data(YAML.replace("images/train", name))(root)

    return change


BYTES = 20 << 20
KINDS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "healthy": (lambda root: None, ()),
    "aliases": (aliases, ()),
    "yaml-nested": (data("[" * 200_000), ()),
    "yaml-values": (data("names: [" + "a," * 4_000_000 + "]"), ()),
    "yaml-digits": (data(YAML + "nc: " + "9" * 5000), ()),
    "labels-20mb": (label("0 .5 .5 .1 .1\n" * (BYTES // 14)), ()),
    "labels-20mb-shortest": (label("0 0 0 0 0\n" * (BYTES // 10)), ()),
    "labels-20mb-no-numbers": (label("0 x\n" * (BYTES // 4)), ()),
    "labels-20mb-blank": (label("\n" * BYTES), ()),
    "labels-70mb": (label("0 .5 .5 .1 .1\n" * (70 * 2**20 // 14)), ()),
    "line-1.5mb": (label("0 " + "0.1 " * 375_000 + "\n"), ()),
    "polygon-80k": (label(star(80_000)), ("--task", "segment")),
    "polygon-100k": (label(star(100_000)), ("--task", "segment")),
    "boxes-50k": (label(boxes(50_000)), ()),
    "boxes-100k": (label(boxes(99_999)), ()),
    "list-10.5m": (listed, ()),
    "coco-100mb": (coco(930_000), ()),
    "coco-200mb": (coco(1_900_000), ()),
    "coco-600mb": (padded, ()),
    "coco-outlines-60mb": (outlines(9_999, 60), ()),
    "coco-outlines-one-image": (outlines(1, 60), ()),
    "coco-numbers": (lambda root: (root / "coco.json").write_text('{"images": [' + "[]," * 5_000_000) and None, ()),
    "coco-nested": (lambda root: (root / "coco.json").write_text('{"images": ' + "[" * 500_000) and None, ()),
    "png-60k": (picture("bomb.png", png(60_000, 8, whole=False)), ("--deep",)),
    "png-9k": (picture("bomb.png", png(9_400, 8, whole=True)), ("--deep",)),
    "png-13k": (picture("bomb.png", png(13_000, 16, whole=True)), ("--deep",)),
    "npy-120gb": (array, ()),
} | {
    f"{kind}-{name.rpartition('/')[2]}": (special(name, target), ("--deep",))
    for name in ("data.yaml", "train.txt", "images/train/0.jpg", "images/train/0.npy", LABEL, "classes.txt")
    for kind, target in (("pipe", None), ("zero", "/dev/zero"), ("proc", "/proc/self/environ"))
}
"""By name what is wrong, and the options of lint."""
LARGE: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "coco-outlines-450mb": (outlines(118_000, 450), ()),
    "labels-60mb-long-rows": (label(("0 " + "1 1 " * 250_000 + "\n") * 60), ()),
}


def processes(number: int) -> list[int]:
    """A process and all below it."""
    found = [number]
    try:
        for thread in Path(f"/proc/{number}/task").iterdir():
            text = (thread / "children").read_text()
            found += [below for child in text.split() for below in processes(int(child))]
    except OSError:  # it has ended
        pass
    return found


def resident(number: int) -> int:
    """Bytes of memory that a process has."""
    try:
        return int(Path(f"/proc/{number}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def measure(root: Path, options: tuple[str, ...]) -> tuple[int, float, float, float, str]:
    """Exit code (-9: killed after `WAIT` seconds), CPU and wall seconds, MB, and what was said."""
    target = root / "coco.json" if (root / "coco.json").exists() else root
    command = [sys.executable, "-m", "yolo_nanfix", "lint", str(target), "--json", "--no-cache", *options]
    before, begun, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    with tempfile.TemporaryFile() as out, subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident, processes(process.pid))))
            if time.monotonic() - begun > WAIT:
                for number in reversed(processes(process.pid)):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.02)
        out.seek(0)
        text = out.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    try:
        found = json.loads(text)
        said = found.get("error") or " ".join(sorted({finding["code"] for finding in found["findings"]}))
    except ValueError:
        said = "no answer"
    return process.returncode, spent, time.monotonic() - begun, peak / 2**20, said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these kinds only, by how their names begin")
    parser.add_argument("--folder", type=Path, help="where the files are written (default: the system's temp folder)")
    parser.add_argument("--large", action="store_true", help="also those that take minutes")
    args = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root = Path(folder, "set")
        for name, (change, options) in (KINDS | (LARGE if args.large else {})).items():
            if args.only and not name.startswith(tuple(args.only)):
                continue
            healthy(root)
            change(root)
            code, spent, wall, peak, said = measure(root, options)
            over = peak >= LIMIT_MB or spent > LIMIT_SECONDS or code not in (0, 1, 2)
            bad += over
            print(
                f"{'BAD ' if over else ''}{name:24} exit {code} {spent:6.1f} s CPU {wall:6.1f} s {peak:6.0f} MB  "
                f"{said[:160]}",
                flush=True,
            )
            shutil.rmtree(root)
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
