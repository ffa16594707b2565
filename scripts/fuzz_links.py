"""Datasets and run folders full of links out of them, pipes, devices and files that are no images, at random.

Each is linted in every form, handed over and drawn; nothing of what lies outside may be in any of it, and nothing
outside may change. The marker texts and pictures are harmless.

python scripts/fuzz_links.py [--rounds N] [--seed S]
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FORMS = ("text", "full", "concise", "json", "jsonl", "csv", "sarif", "github", "gitlab", "junit", "html")
TOOLS = ("cvat", "label-studio", "coco", "csv")
SECRET = "zqSecretqz"
"""A word that stands in each text outside, and nowhere else."""
MAGENTA = (255, 0, 255)
"""The colour of each picture outside, and of no other one."""
ROWS = ("0 0.5 0.5 0.2 0.2\n", "1 0.9 0.5 0.4 0.25\n", "0 0.5 0.5 x 0.2\n", "0 0.5 0.5 0.2\n", "")
_URI = re.compile(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)")


def outside(folder: Path, rng: random.Random) -> list[Path]:
    """Make the files that must not get out: texts, pictures, label files, lists, YAML, and folders of them."""
    found = []
    for place in (folder, folder / "images", folder / "labels", folder / "deep" / "images"):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("a", "b"):
            pixels = np.full((48, 64, 3), MAGENTA, np.uint8)
            (place / f"{name}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
            (place / f"{name}.txt").write_text(f"{SECRET} {rng.random()} {SECRET}, 0 0\n" * 3)
            (place / f"{name}.yaml").write_text(f"{SECRET}: [{SECRET}]\nnames: [{SECRET}]\n")
            (place / f"{name}.csv").write_text(f"epoch,{SECRET}\n1,2\n")
            found += [place / f"{name}{suffix}" for suffix in (".jpg", ".txt", ".yaml", ".csv")]
    return found


def dataset(folder: Path, secrets: list[Path], rng: random.Random) -> Path:
    """Make a dataset of some own images, and of traps."""
    for split in ("train", "val"):
        for number in range(rng.randint(1, 4)):
            image = folder / "images" / split / f"{split}{number}.jpg"
            label = folder / "labels" / split / f"{split}{number}.txt"
            for file in (image, label):
                file.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(cv2.imencode(".jpg", _noise(rng))[1].tobytes())
            label.write_text(rng.choice(ROWS))
        for number in range(rng.randint(0, 5)):
            _trap(
                folder / "images" / split / f"trap{number}{rng.choice(('.jpg', '.png', '.tif', '.bmp'))}", secrets, rng
            )
            _trap(folder / "labels" / split / f"trap{number}.txt", secrets, rng)
        if rng.random() < 0.4:
            _link(folder / "images" / split / "more", rng.choice(secrets).parent, rng)
    for name in ("classes.txt", "obj.names", "labels/train/classes.txt"):
        if rng.random() < 0.3:
            _link(folder / name, rng.choice(secrets), rng)
    lines = [str(rng.choice(secrets)) for _ in range(3)] + ["./images/val/val0.jpg", "../../../../../etc/hostname"]
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    val = rng.choice(("images/val", "list.txt", "[images/val, list.txt]"))
    (folder / "data.yaml").write_text(f"train: images/train\nval: {val}\nnames: [cat, dog]\n")
    if rng.random() < 0.2:
        (folder / "data.yaml").unlink()
        return folder
    return rng.choice((folder, folder / "data.yaml"))


def run_folder(folder: Path, report: object, secrets: list[Path], rng: random.Random) -> Path:
    """Make a run folder that names and links to what it must not show."""
    folder.mkdir(exist_ok=True)
    there = rng.choice(secrets)
    event = {"epoch": 1, "checks": ["input"], "detail": str(there), "sources": [{"file": str(there), "suspect": "nan"}]}
    summary = {"outcome": "finished", "lint": report, "guard": {"events": [event]}, "paths": {"page": str(there)}}
    (folder / "yolo-nanfix.json").write_text(json.dumps(summary))
    (folder / "incidents").mkdir(exist_ok=True)
    for name in ("results.csv", "args.yaml", "yolo-nanfix.csv", "incidents/a.safetensors"):
        _trap(folder / name, secrets, rng)
    return folder


def leaks(written: str | bytes, secrets: list[Path]) -> list[str]:
    """What of the outside is in something that was written."""
    data = written.encode("utf-8", "surrogateescape") if isinstance(written, str) else written
    found = ["text"] if SECRET.encode() in data else []
    found += [f"bytes of {one.name}" for one in secrets if one.suffix == ".jpg" and one.read_bytes() in data]
    pictures = [base64.b64decode(uri) for uri in _URI.findall(data.decode("utf-8", "replace"))]
    pictures += [data] if data.startswith(b"\xff\xd8\xff") else []
    for picture in pictures:
        pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        if pixels is not None and (np.abs(pixels.astype(int) - MAGENTA).max(axis=2) < 40).mean() > 0.5:
            found.append("a picture")
    return found


def one(folder: Path, rng: random.Random) -> list[str]:
    """One round in an empty folder; gives what went wrong."""
    from yolo_nanfix.cli.main import main

    secrets = outside(folder / "home", rng)
    before = {file: file.read_bytes() for file in secrets}
    data = str(dataset(folder / "set", secrets, rng))
    wrong, report = [], None

    def call(*words: str) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(words))
        if code not in (0, 1, 2):
            wrong.append(f"{' '.join(words)}: exit code {code}: {err.getvalue()[-300:]}")
        wrong.extend(f"{' '.join(words)}: {leak}" for leak in leaks(out.getvalue() + err.getvalue(), secrets))
        return out.getvalue()

    for form in FORMS:
        said = call("lint", data, "--output-format", form, *(["--deep"] if rng.random() < 0.2 else []))
        if form == "json" and said.startswith("{"):
            report = json.loads(said)
    to = rng.choice(TOOLS)
    more = [word for word in ("--link", "--unlabelled") if rng.random() < 0.3]
    call("handoff", data, str(folder / "out"), "--to", to, *more)
    run = run_folder(folder / "run", report if isinstance(report, dict) and "data" in report else None, secrets, rng)
    call("report", str(run))
    for file in (*(folder / "out").rglob("*"), run / "yolo-nanfix.html"):
        if file.is_file():
            wrong += [f"{file.relative_to(folder)} ({to}): {leak}" for leak in leaks(file.read_bytes(), secrets)]
    wrong += [f"{file} was changed" for file, content in before.items() if file.read_bytes() != content]
    return wrong


def main(words: list[str] | None = None) -> int:
    """Run so many rounds; 1 if anything got out, or changed, or ended in a fault of ours."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(words)
    bad, slowest = 0, 0.0
    with tempfile.TemporaryDirectory() as place:
        os.environ.setdefault("YOLO_NANFIX_CACHE", f"{place}/cache")
        for number in range(args.rounds):
            folder = Path(place) / str(number)
            folder.mkdir()
            begun = time.monotonic()
            wrong = one(folder, random.Random(args.seed * 1_000_003 + number))
            slowest = max(slowest, time.monotonic() - begun)
            bad += bool(wrong)
            for line in wrong:
                print(f"seed {args.seed}, round {number}: {line}", flush=True)
            shutil.rmtree(folder)
    print(f"{args.rounds} rounds, {bad} with something wrong; the slowest took {slowest:.1f} s")
    return 1 if bad else 0


def _noise(rng: random.Random) -> NDArray[np.uint8]:
    grey = np.frombuffer(rng.randbytes(48 * 64), np.uint8).reshape(48, 64)
    return np.repeat(grey[..., None], 3, axis=2)


def _trap(file: Path, secrets: list[Path], rng: random.Random) -> None:
    """Something that is no file of the dataset's own, or no image."""
    file.unlink(missing_ok=True)
    kind = rng.randrange(7)
    if kind < 3:
        _link(file, rng.choice(secrets), rng)
    elif kind == 3:
        _link(file, Path(rng.choice(("/proc/self/environ", "/dev/zero", "/dev/null", "/etc", "/nowhere"))), rng)
    elif kind == 4:
        os.mkfifo(file)
    elif kind == 5:
        file.write_bytes(rng.choice((b"<html></html>", b"", b"%!PS-Adobe", b"P3 1 1 255 0 0 0", rng.randbytes(99))))


def _link(file: Path, target: Path, rng: random.Random) -> None:
    """A link, sometimes by way of another one, absolute or relative."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink() or file.exists():
        return
    if rng.random() < 0.3:
        between = file.with_name(f".{file.name}.between")
        between.unlink(missing_ok=True)
        between.symlink_to(target)
        file.symlink_to(between.name)
    else:
        file.symlink_to(target if rng.random() < 0.5 else os.path.relpath(target, file.parent))


if __name__ == "__main__":
    sys.exit(main())
