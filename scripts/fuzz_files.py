"""What may stand in the place of a file: links, devices, pipes, folders, nothing, much too much."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

from fuzz_core import Box
from fuzz_damage import damaged

NAMES = (
    *("a b.txt", "-n", "--fix", "a\nb", "\x1b[31mred", "名前", "a\u202eb", "'; touch owned", "$(touch owned)", "%s"),
    *(".hidden", "con", "nul.txt", "x" * 250, "<b>", "=1+1", "a\udcffb", "{x}", "*", "?", "\\", "a:b", "é", "é"),
)


def odd(file: Path, rng: random.Random, box: Box) -> None:
    """Put something else in the place of a file, or beside it."""
    rng.choice(_WAYS)(file, rng, box)


def _gone(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


def _fifo(file: Path, rng: random.Random, box: Box) -> None:
    _gone(file)
    os.mkfifo(file)


def _device(file: Path, rng: random.Random, box: Box) -> None:
    _gone(file)
    file.symlink_to(rng.choice(("/dev/zero", "/dev/full", "/dev/random", "/dev/tty", "/proc/self/mem", "/proc/kmsg")))


def _outside(file: Path, rng: random.Random, box: Box) -> None:
    _gone(file)
    file.symlink_to(box.outside / rng.choice(("secret.txt", "images/a.jpg", "labels/a.txt", "nowhere", "labels")))


def _loop(file: Path, rng: random.Random, box: Box) -> None:
    _gone(file)
    file.symlink_to(rng.choice((file.name, ".", "..", "../..")))


def _folder(file: Path, rng: random.Random, box: Box) -> None:
    _gone(file)
    file.mkdir()
    if rng.random() < 0.5:
        (file / "inside.txt").write_text("0 0.5 0.5 0.1 0.1\n")


def _sparse(file: Path, rng: random.Random, box: Box) -> None:
    _gone(file)
    with file.open("wb") as stream:
        stream.truncate(rng.choice((1 << 20, 100 << 20, 5 << 30)))


def _damaged(file: Path, rng: random.Random, box: Box) -> None:
    if file.is_file():
        file.write_bytes(damaged(file.read_bytes(), rng))


def _empty(file: Path, rng: random.Random, box: Box) -> None:
    _gone(file)
    if rng.random() < 0.7:
        file.write_bytes(rng.choice((b"", b"\n", b"\0", b" ", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\0" * 4096)))


def _renamed(file: Path, rng: random.Random, box: Box) -> None:
    other = file.with_name(rng.choice(NAMES)[: 250 - len(file.suffix)] + rng.choice(("", file.suffix)))
    if file.exists() and not other.exists():
        shutil.copy(file, other) if file.is_file() and rng.random() < 0.5 else shutil.move(file, other)


def _dated(file: Path, rng: random.Random, box: Box) -> None:
    if file.exists():
        times = (0, 1, -1, 2**31, 2**33, 4_000_000_000)
        os.utime(file, (rng.choice(times), rng.choice(times)))


def _locked(file: Path, rng: random.Random, box: Box) -> None:
    if file.exists():
        file.chmod(rng.choice((0o000, 0o400, 0o444, 0o777, 0o4755)))


def _linked(file: Path, rng: random.Random, box: Box) -> None:
    if file.is_file() and not file.is_symlink() and not file.with_name(f"hard{file.suffix}").exists():
        os.link(file, file.with_name(f"hard{file.suffix}"))


_WAYS = (
    *(_fifo, _device, _outside, _loop, _folder, _sparse, _damaged, _damaged, _damaged, _empty, _renamed),
    *(_dated, _locked, _linked),
)
