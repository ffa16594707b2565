"""Kill `fix` and `undo` with SIGKILL at random moments: afterwards undo gives every byte, mode and time back.

python scripts/fix_kill_test.py [--kills 60] [--files 300] [--seed 0] [--whole]

Each round lints a sick dataset, fixes it in a process of its own, kills that within the time which an undisturbed fix
takes, and takes it back; in every second round the undo is killed, too, and asked again. It fails at the first file
that is not as it was: bytes, permission bits, time of change, or a file too many. With `--whole` the fix is one of the
whole set, which rewrites every label file under one finding.
"""

from __future__ import annotations

import argparse
import io
import os
import random
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
import sys, time
import yolo_nanfix
from yolo_nanfix.errors import UsageError
action, root = sys.argv[1:]
report = yolo_nanfix.lint(root, settings=False) if action == "fix" else None
from yolo_nanfix import mending
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
if report is not None:
    yolo_nanfix.fix(report, unsafe=True)
else:
    try:
        assert not yolo_nanfix.undo(root).kept
    except UsageError:
        print("nothing to undo", flush=True)
print(time.perf_counter() - began, flush=True)
"""
SICK = (
    b"\xef\xbb\xbf0 0.5 0.5 0.2 0.2\r\n0 0.5 0.5 0.2 0.2\r\n",
    b"0 0.5 0.5 0.2 1.005\n",
    b"1 nan 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2",
    b"0,0.5,0.5,0.2,0.2\n# checked\n",
    b"0 inf 0.5 0.2 0.2\n",
)
"""Labels of which each is mended in another way; the last sort goes to quarantine with its image."""
FROM_ONE = (
    b"1 0.5 0.5 0.2 0.2\r\n2 0.3 0.5 0.2 0.2\r\n",
    b"\xef\xbb\xbf2  0.5 0.5 0.2 0.2",
    b"1.0 0.5 0.5 0.1 0.1\n\n",
)
"""Labels of a set whose classes are counted from 1."""


class Ended(NamedTuple):
    """How a process went: whether it was killed, what it printed, and for how long it worked (seconds)."""

    killed: bool
    said: list[str]


def make(root: Path, files: int, rng: random.Random, labels: tuple[bytes, ...] = SICK) -> None:
    """A sick dataset: labels, and every tenth image truncated, misnamed, empty or with bytes behind its end."""
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


def _encode(pixels: np.ndarray, form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, mode and time of change of every file below a folder."""
    return {str(p): (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def run(action: str, root: Path, home: Path, after: float | None) -> Ended:
    """Fix or undo in a process of its own, and kill that so many seconds after it began; None: let it end."""
    environment = {**os.environ, "XDG_DATA_HOME": str(home)}
    command = [sys.executable, "-c", CHILD, action, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None and child.stdin is not None
        if child.stdout.readline() != "ready\n":
            raise SystemExit(f"{action} did not begin")
        child.stdin.write("go\n")
        child.stdin.flush()
        if after is not None:
            time.sleep(after)
            child.kill()
        said = child.stdout.read().split("\n")
        code = child.wait()
    if after is None and code:
        raise SystemExit(f"{action} failed with {code}")
    return Ended(code != 0, said)


def rounds(folder: Path, kills: int, files: int, seed: int, *, whole: bool = False) -> Counter[str]:
    """Kill so many times; count in which state the kills found the dataset. `whole`: the fix is one of the whole set.

    Raises:
        SystemExit: something was not as before.
    """
    rng, seen = random.Random(seed), Counter[str]()
    root, home = folder / "set", folder / "home"
    make(root, files, rng, FROM_ONE if whole else SICK)
    before = state(folder / "set")
    took = {action: float(run(action, root, home, None).said[-2]) for action in ("fix", "undo")}
    _same(before, folder, "undisturbed")
    while seen["kills"] < kills:
        ended = run("fix", root, home, rng.uniform(0, took["fix"] * 1.05))
        now = {path: value for path, value in state(folder).items() if not path.startswith(str(home))}
        changed = sum(before.get(path) != value for path, value in now.items())
        seen["kills"] += ended.killed
        seen["fix killed" if ended.killed else "fix ended first"] += 1
        if ended.killed:
            seen["before the first change" if not changed else "in the middle, or at the very end"] += 1
        if seen["rounds"] % 2 and seen["kills"] < kills:
            undone = run("undo", root, home, rng.uniform(0, took["undo"] * 1.05))
            seen["kills"] += undone.killed
            seen["undo killed"] += undone.killed
        run("undo", root, home, None)
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
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = rounds(Path(folder), args.kills, args.files, args.seed, whole=args.whole)
    print(", ".join(f"{name}: {count}" for name, count in seen.items()))
    print("after every kill undo gave all bytes, modes and times back")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
