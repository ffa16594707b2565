"""What lint remembers, damaged: the next lint must give what one without memory gives."""

from __future__ import annotations

import os
import random
from pathlib import Path

import fuzz_sets
from fuzz_core import Box, Case, put
from fuzz_damage import damaged

FAULTY = "0 0.5 0.5 0.2 3\n1 0.5 nan 0.1 0.1\n0 0.5 0.5 0.2 3\n"


def make(box: Box, rng: random.Random) -> Case:
    """One case: lint, damage, lint again; and a lint that remembers nothing."""
    fuzz_sets.make(box.case, rng.choice(("detect", "segment")))
    fuzz_sets.make(box.case / "other", "detect")
    put(box.case, {"labels/train/a.txt": FAULTY})
    lint = ["lint", "data.yaml", "--json", *(["--deep"] if rng.random() < 0.3 else [])]
    other = ["lint", "data.yaml", "--json", "--task", "segment"]
    beside = ["lint", "other/data.yaml", "--json"]
    again = [*lint, "--no-cache"]
    commands = [lint, other, beside, lint, again]
    return Case(commands, before={3: lambda: damage(box.home / ".cache", rng)}, same=(3, 4))


def damage(home: Path, rng: random.Random) -> None:
    """Damage some of what is remembered, or put one file in the place of another."""
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.suffix != ".json")
    for file in rng.sample(files, min(len(files), rng.randint(1, len(files) or 1))):
        way = rng.randrange(10)
        if way < 6:
            file.write_bytes(damaged(file.read_bytes(), rng))
        elif way == 6:
            file.write_bytes(rng.choice([other for other in files if other.is_file()]).read_bytes())
        elif way == 7:
            file.unlink()
            os.mkfifo(file)
            files.remove(file)
        elif way == 8:
            file.unlink()
            rng.choice((file.mkdir, lambda: file.symlink_to("/dev/zero")))()  # noqa: B023 - called at once
            files.remove(file)
        else:
            file.chmod(0)
