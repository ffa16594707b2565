"""Kill `fix` and `undo` at random moments: afterwards undo gives every byte, mode and time back.

python scripts/fix_kill_test.py [--kills 60] [--files 300] [--seed 0] [--whole] [--links]

Each round lints a faulty dataset, fixes it in a process of its own, ends that within the time which an undisturbed fix
takes by SIGKILL, SIGTERM, SIGHUP or SIGINT, and takes it back; in every second round the undo is killed, too, and
asked again. It fails at the first file that is not as it was: bytes, permission bits, time of change, or a file too
many. With `--whole` the fix is one of the whole set, which rewrites every label file under one finding. With `--links`
labels and quarantine are links out of the dataset, which the fix may follow; what else lies there must stay.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

CHILD = """
import signal, sys, time
from yolo_nanfix import api
from yolo_nanfix.errors import UsageError
action, root, outside = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)
report = api.lint(root, settings=False) if action == "fix" else None
if report is not None:  # what is imported late is there before the time counts
    api.fix(report, unsafe=True, diff=True, outside=outside == "True")
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
if report is not None:
    api.fix(report, unsafe=True, outside=outside == "True")
else:
    try:
        assert not api.undo(root, outside=outside == "True").kept
    except UsageError:
        print("nothing to undo", flush=True)
print(time.perf_counter() - began, flush=True)
"""
FAULTY = (
    b"\xef\xbb\xbf0 0.5 0.5 0.2 0.2\r\n0 0.5 0.5 0.2 0.2\r\n",
    b"0 0.5 0.5 0.2 1.005\n",
    b"1 nan 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2",
    b"0,0.5,0.5,0.2,0.2\n# checked\n",
    b"0 inf 0.5 0.2 0.2\n",
)
"""Labels of which each is fixed in another way; the last sort goes to quarantine with its image."""
FROM_ONE = (
    b"1 0.5 0.5 0.2 0.2\r\n2 0.3 0.5 0.2 0.2\r\n",
    b"\xef\xbb\xbf2  0.5 0.5 0.2 0.2",
    b"1.0 0.5 0.5 0.1 0.1\n\n",
)
"""Labels of a set whose classes are counted from 1."""


SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Ended(NamedTuple):
    """How a process went: whether it was killed, what it printed, and for how long it worked (seconds)."""

    killed: bool
    said: list[str]


def make(root: Path, files: int, rng: random.Random, labels: tuple[bytes, ...] = FAULTY) -> None:
    """A faulty dataset: labels, and every tenth image truncated, misnamed, empty or with bytes behind its end."""
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    jpeg, png = (_encode(pixels, form) for form in ("JPEG", "PNG"))
    spoilt = (png, jpeg + b"behind the end", b"", png[:-20])
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a, b]\n")
    for i in range(files):
        split = "val" if i % 5 == 1 else "train"
        image = root / "images" / split / f"{i:05d}.jpg"
        image.write_bytes(spoilt[i // 10 % len(spoilt)] if i % 10 == 0 else jpeg)
        label = root / "labels" / split / f"{i:05d}.txt"
        label.write_bytes(labels[i % len(labels)] * (1 + i % 7))
        for file in (image, label):
            file.chmod(rng.choice((0o600, 0o640, 0o664, 0o755)))
            os.utime(file, ns=(time.time_ns(), rng.randrange(1, time.time_ns())))


def link(root: Path) -> None:
    """Labels of val and the quarantine are links out of the dataset, and labels of train one that stays in it."""
    elsewhere = root.parent / "elsewhere"
    (elsewhere / "quarantine").mkdir(parents=True)
    (elsewhere / "mine.txt").write_bytes(FAULTY[0])
    (root / "labels/val").rename(elsewhere / "val")
    (root / "labels/val").symlink_to(elsewhere / "val")
    (root / "labels/train").rename(root / "labels/all")
    (root / "labels/train").symlink_to("all")
    root.with_name(f"{root.name}-quarantine").symlink_to(elsewhere / "quarantine")


def _encode(pixels: np.ndarray, form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, mode and time of change of every file below a folder."""
    return {str(p): (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def run(action: str, root: Path, home: Path, after: float | None, by: signal.Signals, *, outside: bool) -> Ended:
    """Fix or undo in a process of its own, and end that so many seconds after it began; None: let it end."""
    environment = {**os.environ, "XDG_DATA_HOME": str(home)}
    command = [sys.executable, "-c", CHILD, action, str(root), str(outside)]
    quiet = None if after is None else subprocess.DEVNULL
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True, env=environment) as child:
        assert child.stdout is not None and child.stdin is not None
        if child.stdout.readline() != "ready\n":
            raise SystemExit(f"{action} did not begin")
        child.stdin.write("go\n")
        child.stdin.flush()
        if after is not None:
            time.sleep(after)
            child.send_signal(by)
        said = child.stdout.read().split("\n")
        code = child.wait()
    if after is None and code:
        raise SystemExit(f"{action} failed with {code}")
    return Ended(code != 0, said)


def rounds(
    folder: Path, kills: int, files: int, seed: int, *, whole: bool = False, links: bool = False
) -> Counter[str]:
    """Kill so many times; count in which state the kills found the dataset.

    Args:
        folder: for all that is needed.
        kills: so many.
        files: images of the dataset.
        seed: of moments and signals.
        whole: the fix is one of the whole set.
        links: the fix follows links out of the dataset.

    Raises:
        SystemExit: something was not as before.
    """
    rng, seen = random.Random(seed), Counter[str]()
    root, home = folder / "set", folder / "home"
    make(root, files, rng, FROM_ONE if whole else FAULTY)
    if links:
        link(root)
    before = state(folder)

    def one(action: str, after: float | None) -> Ended:
        by = rng.choice(SIGNALS)
        ended = run(action, root, home, after, by, outside=links)
        seen[by.name] += ended.killed
        return ended

    took = {action: float(one(action, None).said[-2]) for action in ("fix", "undo")}
    _same(before, folder, "undisturbed")
    while seen["kills"] < kills:
        ended = one("fix", rng.uniform(0, took["fix"] * 1.05))
        now = {path: value for path, value in state(folder).items() if not path.startswith(str(home))}
        changed = sum(before.get(path) != value for path, value in now.items())
        seen["kills"] += ended.killed
        seen["fix killed" if ended.killed else "fix ended first"] += 1
        if ended.killed:
            seen["before the first change" if not changed else "in the middle, or at the very end"] += 1
        if seen["rounds"] % 2 and seen["kills"] < kills:
            undone = one("undo", rng.uniform(0, took["undo"] * 1.05))
            seen["kills"] += undone.killed
            seen["undo killed"] += undone.killed
        one("undo", None)
        _same(before, folder, f"round {seen['rounds']}")
        seen["rounds"] += 1
    return seen


def _same(before: dict[str, tuple[bytes, int, int]], folder: Path, when: str) -> None:
    """End the program unless every file is as it was, and none is new."""
    now = {p: v for p, v in state(folder).items() if not p.startswith(str(folder / "home"))}
    if now != before:
        odd = sorted(set(now.items()) ^ set(before.items()))
        raise SystemExit(f"{when}: {len(odd)} differences, the first: {odd[0][0]}")


def main() -> int:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--links", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = rounds(Path(folder), args.kills, args.files, args.seed, whole=args.whole, links=args.links)
    print(", ".join(f"{name}: {count}" for name, count in seen.items()))
    print("after every kill undo gave all bytes, modes and times back")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
